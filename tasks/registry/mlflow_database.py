"""MLflow's database, where MLFLOW_TRACKING_URI names one: made by whoever comes first, while the others wait for it.

MLflow makes its tables in some fifty steps, each for good, and takes no lock: two that start at once trip over each
other, and after a start that was killed each later one fails. So all of Premiere's starts come through here first. What
was left half made is told in one line, and nothing is removed.

    python -m tasks.registry.mlflow_database        before MLflow's own server is started on it
"""

from __future__ import annotations

import logging
import sys
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from settings import get_settings, make_room, without_secrets
from tasks.foundation.starting import alone, tell

LOCKED = 60  # seconds that SQLite waits for a lock
FILLED = ("workspaces",)  # MLflow's own steps put a row there
STILL = 5.0  # seconds without a step, after which nobody is making the tables any more


class RegistryAway(RuntimeError):
    """MLflow does not answer, or its database cannot be used as it is."""


@dataclass(frozen=True)
class _State:
    """How far MLflow's tables are: those that are there, those that are missing, the version and the one to reach."""

    present: frozenset[str]
    missing: frozenset[str]
    version: str | None
    newest: str
    older: bool

    @property
    def ready(self) -> bool:
        return not self.missing and self.version == self.newest

    @property
    def new(self) -> bool:
        return not self.present and self.version is None


@lru_cache
def make_ready(uri: str) -> None:
    """Make MLflow's tables in a new database, or wait while another process does; once a process.

    The address of a server needs nothing. A database that does not answer is left to MLflow, which waits for it. Raises
    RegistryAway, with what to do, for one that was left half made, is of another version, or is somebody else's.
    """
    if uri.startswith("http"):
        return
    options: dict[str, Any] = {"connect_args": {"timeout": LOCKED}} if uri.startswith("sqlite") else {}
    engine = sa.create_engine(make_room(uri, "MLFLOW_TRACKING_URI"), poolclass=sa.NullPool, **options)
    try:
        state = _look(engine)
    except DBAPIError:
        return
    if not state.ready:
        with alone(f"MLflow's database {without_secrets(uri)}", str(engine.url)):
            _make(engine, uri)


def _make(engine: sa.Engine, uri: str) -> None:
    """Make what is missing where nothing can be lost by it: MLflow goes on from some of its steps, not from all."""
    from mlflow.store.db.utils import _initialize_tables

    state = _settled(engine)
    if state.ready:
        return
    rows = _rows(engine, state)
    if rows or not state.older:
        raise RegistryAway(_remedy(state, rows, uri))
    tell("Making MLflow's database, once: up to a minute or two")
    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    try:
        _initialize_tables(engine)  # type: ignore[no-untyped-call]
    except Exception as error:
        if state.new:
            why = str(error).splitlines()[0]
            raise RegistryAway(f"MLflow's tables cannot be made in {without_secrets(uri)}: {why}") from None
        raise RegistryAway(_remedy(_look(engine), rows, uri)) from None


def _look(engine: sa.Engine) -> _State:
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from mlflow.store.db.base_sql_model import Base
    from mlflow.store.db.utils import _get_alembic_config
    from mlflow.store.tracking.dbmodels.initial_models import Base as First

    scripts = ScriptDirectory.from_config(_get_alembic_config(""))  # type: ignore[no-untyped-call]
    with engine.connect() as connection:
        found = set(sa.inspect(connection).get_table_names())
        heads = MigrationContext.configure(connection).get_current_heads()
    wanted = set(Base.metadata.tables)
    known = {script.revision for script in scripts.walk_revisions()}
    return _State(
        present=frozenset(found & (wanted | set(First.metadata.tables))),
        missing=frozenset(wanted - found),
        version=heads[0] if heads else None,
        newest=str(scripts.get_current_head()),
        older=set(heads) <= known - {scripts.get_current_head()},
    )


def _settled(engine: sa.Engine) -> _State:
    """Return how far the tables are once that stands still: an MLflow that somebody started by hand may be at them."""
    state, since = _look(engine), time.monotonic()
    while not (state.new or state.ready) and time.monotonic() - since < STILL:
        time.sleep(min(0.5, STILL))
        if (now := _look(engine)) != state:
            state, since = now, time.monotonic()
    return state


def _rows(engine: sa.Engine, state: _State) -> int:
    with engine.connect() as connection:
        names = sorted(state.present - set(FILLED))
        counts = [sa.select(sa.func.count()).select_from(sa.table(name)) for name in names]
        return sum(connection.execute(count).scalar_one() for count in counts)


def _remedy(state: _State, rows: int, uri: str) -> str:
    """Say in one line what is wrong with a database and what to do."""
    shown = without_secrets(uri)
    file = shown.removeprefix("sqlite:///") if shown.startswith("sqlite") else ""
    if not state.older and state.version != state.newest:
        return (
            f"MLflow's database {shown} is at version {state.version}, which this MLflow does not know: it is a newer "
            "MLflow's, or another program's. Let MLFLOW_TRACKING_URI name a database of its own"
        )
    total = len(state.present | state.missing)
    wrong = (
        f"MLflow's database {shown} is half made: {len(state.present)} of {total} tables are there, at version "
        f"{state.version or 'none'} of {state.newest}, because a start of MLflow was ended while it made them"
        if state.missing or state.version is None
        else f"MLflow's database {shown} is of an older MLflow: at version {state.version} of {state.newest}"
    )
    if not rows:
        remove = f"remove the file {file}" if file else "drop this database and create it anew (dropdb, createdb)"
        return f"{wrong}. No table holds a row, so nothing is lost: {remove}, and start again"
    keep = f"copy the file {file} away" if file else "back it up (pg_dump)"
    return (
        f"{wrong}. Its tables hold records ({rows} rows), so nothing is removed: {keep}, then bring it up to date with "
        "`mlflow db upgrade` and its address; where that fails, restore a backup of before, or let MLFLOW_TRACKING_URI "
        "name another"
    )


def main() -> None:
    """Make or check the database that MLFLOW_TRACKING_URI names, if it names one."""
    try:
        make_ready(get_settings().mlflow_tracking_uri.get_secret_value())
    except (RuntimeError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
