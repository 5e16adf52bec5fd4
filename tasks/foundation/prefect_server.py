"""Prefect's own server, which runs inside this process where PREFECT_API_URL names none: its database and its start.

Knows no flow. Prefect gives the start 30 s, and two that start at once trip over each other in a new database.
"""

from __future__ import annotations

import asyncio
import itertools
from contextlib import AbstractContextManager, ExitStack
from typing import Any

from asgi_lifespan import LifespanManager
from prefect.client import base
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL, PREFECT_API_URL

from settings import get_settings
from tasks.foundation.starting import SPEAK, alone, still, tell, too_long

OWN_SERVER = "Prefect's own server"


def wait_for_prefect() -> None:
    """Where no Prefect server is named: make the database of Prefect's own, and give its start the time it needs."""
    if not PREFECT_API_URL.value():
        base.LifespanManager = _PatientStart  # type: ignore[attr-defined, assignment]
        with _one_start():
            asyncio.run(_migrate())


def _one_start() -> AbstractContextManager[None]:
    """Let one start at a time write into the database of Prefect's own server: two that do trip over each other."""
    return alone("Prefect's database", PREFECT_API_DATABASE_CONNECTION_URL.value())


class _PatientStart(LifespanManager):
    """Starts Prefect's own server, inside this process, and says so where it takes long: Prefect gives it 30 s."""

    def __init__(self, app: Any, **_: Any) -> None:
        self._most = get_settings().start_seconds
        super().__init__(app, startup_timeout=self._most, shutdown_timeout=self._most)

    async def startup(self) -> None:
        speaking = asyncio.create_task(self._speak())
        try:
            with ExitStack() as held:
                await asyncio.to_thread(held.enter_context, _one_start())
                await super().startup()
        except TimeoutError:
            raise TimeoutError(
                f"{too_long(OWN_SERVER, self._most)}. Or start a server that stays, with make ui, and export "
                "PREFECT_API_URL=http://127.0.0.1:4200/api"
            ) from None
        finally:
            speaking.cancel()

    async def _speak(self) -> None:
        for times in itertools.count(1):
            await asyncio.sleep(SPEAK)
            tell(still(OWN_SERVER, times * SPEAK, self._most))


async def _migrate() -> None:
    """Bring the database of Prefect's own server to its newest tables, which takes long on a new one."""
    # Slow, and only needed where no server is named.
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from prefect.server.database.alembic_commands import alembic_config
    from prefect.server.database.dependencies import provide_database_interface

    database = provide_database_interface()
    if database.database_config.is_inmemory():
        return  # made by whoever opens it
    scripts = ScriptDirectory.from_config(alembic_config())  # type: ignore[no-untyped-call]
    scripts.version_locations = [str(database.orm.versions_dir)]
    async with (await database.engine()).connect() as connection:
        present = await connection.run_sync(lambda c: MigrationContext.configure(c).get_current_heads())
    if present != tuple(scripts.get_heads()):
        tell("Making Prefect's database, once: up to a minute or two")
        await database.create_db()  # type: ignore[no-untyped-call]
