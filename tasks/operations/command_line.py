"""Run a flow from the shell with the parameters that it has as a function: `--name value`, `--help`."""

from __future__ import annotations

import argparse
import asyncio
import inspect
import itertools
import logging
import re
import types
import typing
import warnings
from contextlib import AbstractContextManager, ExitStack
from datetime import date
from typing import Any

from asgi_lifespan import LifespanManager
from prefect import Flow
from prefect.client import base
from prefect.logging.configuration import setup_logging
from prefect.logging.handlers import PrefectConsoleHandler
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL, PREFECT_API_URL
from prefect.utilities.callables import parameter_docstrings

from settings import get_settings
from tasks.foundation.starting import SPEAK, alone, still, tell, too_long

OWN_SERVER = "Prefect's own server"


def run_from_shell(flow: Flow[..., Any], argv: list[str] | None = None) -> Any:
    """Call `flow` with the options given on the command line and return its result."""
    _quiet_console()
    function = flow.fn
    text = inspect.getdoc(function) or ""
    parser = argparse.ArgumentParser(
        description=text.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    helps = parameter_docstrings(text)
    hints = typing.get_type_hints(function)
    for name, parameter in inspect.signature(function).parameters.items():
        kind, choices, many = _kind(hints[name])
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=kind if kind is not bool else _truth,
            choices=choices,
            nargs="*" if many else "?" if kind is bool else None,
            const=True if kind is bool else None,  # --adopt is --adopt true
            default=parameter.default,
            metavar=None if choices else kind.__name__.upper(),
            help=helps.get(name, ""),
        )
    options = vars(parser.parse_args(argv))
    wait_for_prefect()
    return flow(**options)


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


class _News(logging.Filter):
    """Pass what a person wants to read; the UI has the rest."""

    BOOKKEEPING = re.compile(
        r"^(Created (subflow|flow|task) run|Executing '|Finished in state Completed|Task run .* received)"
    )

    def filter(self, record: logging.LogRecord) -> bool:
        return not self.BOOKKEEPING.match(record.getMessage())


def _quiet_console() -> None:
    """Leave Prefect's book-keeping out of the terminal."""
    setup_logging()
    for handler in logging.getLogger().handlers:
        if isinstance(handler, PrefectConsoleHandler):
            handler.addFilter(_News())
    # Prefect's own migrations say this when they make its database.
    warnings.filterwarnings("ignore", message="Skipped unsupported reflection")


def _kind(hint: Any) -> tuple[Any, list[Any] | None, bool]:
    """Return the converter, the choices and whether several are taken, for a parameter's type."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        hint = next(h for h in typing.get_args(hint) if h is not types.NoneType)
    if typing.get_origin(hint) is list:
        kind, choices, _ = _kind(typing.get_args(hint)[0])
        return kind, choices, True
    if typing.get_origin(hint) is typing.Literal:
        return str, list(typing.get_args(hint)), False
    return (_day if hint is date else hint), None, False


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date like 2024-01-31") from None


def _truth(text: str) -> bool:
    if text.lower() in ("true", "yes", "1"):
        return True
    if text.lower() in ("false", "no", "0"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
