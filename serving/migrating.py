"""Bring the warehouse to the tables of this code, by Alembic's revisions in `serving/migrations/versions`.

Knows nothing of rows. A database of before revisions has the tables already and is taken over as it is; one that newer
code made is used as it is, so that an older service can come back. Which revision a database is of stands in a table of
our own: MLflow, Optuna and Prefect call theirs `alembic_version`, and may share the database.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from serving.tables import METADATA, SECONDS
from settings import without_secrets

MIGRATIONS = Path(__file__).parent / "migrations"
REVISION = sa.table("warehouse_revision", sa.column("version_num"))
NOT_ALLOWED = "42501"  # PostgreSQL: insufficient privilege
log = logging.getLogger("premiere")
_one_at_a_time = threading.Lock()  # Alembic holds what it works on in module globals
_told: set[str] = set()  # what was warned of, once a process


def migrate(engine: sa.Engine) -> None:
    """Bring a database's tables up to date, beside others that do the same; where they are, it costs one query.

    Raises what SQLAlchemy raises where the database does not answer, or is at it elsewhere for longer than an answer
    may take.
    """
    known, where = revisions(), without_secrets(str(engine.url))
    found = _whole(engine)
    if found == known[-1]:
        return
    try:
        if found is None or found in known:
            found = _upgrade(engine, known, where)
    except sa.exc.ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) != NOT_ALLOWED:
            raise
        _warn_once(f"{where} is used as it is: its user may not bring it to revision {known[-1]}; let its owner do it")
        return
    if found and found not in known:
        _warn_once(f"{where} is used as it is: its revision {found} is newer than this code's, {known[-1]}")


def revisions() -> list[str]:
    """Return the revisions of this code, the oldest first; Alembic, which costs 10 MB, is not asked for that."""
    return sorted(path.stem.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def _warn_once(words: str) -> None:
    if words not in _told:
        _told.add(words)
        log.warning("%s", words)


def _whole(engine: sa.Engine) -> str | None:
    """Return the revision of a database that has all tables, or None."""
    tables_are_there = [sa.not_(sa.exists().select_from(table).where(sa.false())) for table in METADATA.sorted_tables]
    with engine.connect() as connection:
        try:
            found = connection.execute(sa.select(REVISION.c.version_num).where(*tables_are_there)).scalar()
        except (sa.exc.OperationalError, sa.exc.ProgrammingError):  # no such table
            return None
    return None if found is None else str(found)


def _upgrade(engine: sa.Engine, known: list[str], where: str) -> str | None:
    """Bring the tables to the newest known revision; return the one of before."""
    # Only needed where there is something to do.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with _one_at_a_time, alone(engine) as connection:
        there = sa.inspect(connection).get_table_names()
        found = connection.execute(sa.select(REVISION.c.version_num)).scalar() if REVISION.name in there else None
        missing = ", ".join(sorted(METADATA.tables.keys() - set(there)))
        if found is None or found in known[:-1]:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            # A new database is nothing that anybody has to be told of.
            level = logging.WARNING if there else logging.INFO
            log.log(level, "%s was brought from revision %s to %s", where, found or "none", known[-1])
        elif found == known[-1] and missing:
            METADATA.create_all(connection)
            log.warning("%s lacked tables that are made anew: %s", where, missing)
        return found


@contextmanager
def alone(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Yield a connection in a transaction that holds whole changes of tables, and that one process has at a time."""
    if engine.dialect.name == "sqlite":
        # Left to itself the driver begins no transaction before a change of tables.
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection, connection.begin():
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
    else:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{SECONDS}s'")
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(REVISION.name))))
            yield connection
