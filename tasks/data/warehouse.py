"""The catalogue as a table, for people who ask in SQL: mirrored into `WAREHOUSE_URL` by idempotent upsert.

A record replaces an older one of the same movie and never a newer one, so the order of runs does not matter and a day
that is mirrored twice leaves the same rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import Any

import sqlalchemy as sa
from prefect import task
from sqlalchemy.dialects import postgresql, sqlite

from serving.tables import MOVIES
from settings import get_settings, without_secrets
from tasks.data.catalogue import open_catalogue
from tasks.foundation.retrying import RETRIED
from tasks.foundation.run_log import log
from tasks.foundation.store import Store, open_store
from tasks.foundation.warehouse import connect

ROWS_AT_ONCE = 500


@task(name="mirror into the warehouse", task_run_name="mirror {source}", **RETRIED)
def mirror(source: str) -> int:
    """Bring the table to what the store has of a source, whatever earlier runs left undone; return the rows changed."""
    engine = connect()
    try:
        changed = bring_up_to_date(engine, open_store(get_settings().store_uri), source)
    finally:
        engine.dispose()
    log().info("%d rows changed in %s", changed, without_secrets(get_settings().warehouse_url.get_secret_value()))
    return changed


def bring_up_to_date(engine: sa.Engine, store: Store, source: str) -> int:
    """Upsert the records that are missing or older in the table, and remove movies that the store has no more."""
    try:
        records = open_catalogue(store, source).newest_records()
    except FileNotFoundError:
        return remove(engine, source)
    with engine.connect() as connection:
        there = {
            row.id: row.fetched_at if row.fetched_at.tzinfo else row.fetched_at.replace(tzinfo=UTC)
            for row in connection.execute(sa.select(MOVIES.c.id, MOVIES.c.fetched_at).where(MOVIES.c.source == source))
        }
    ids, read = records["id"].to_pylist(), records["fetched_at"].to_pylist()
    behind = [n for n, (i, at) in enumerate(zip(ids, read, strict=True)) if i not in there or there[i] < at]
    surplus = sorted(there.keys() - set(ids))
    for first in range(0, len(behind), ROWS_AT_ONCE):
        upsert(engine, source, records.take(behind[first : first + ROWS_AT_ONCE]).to_pylist())
    for first in range(0, len(surplus), ROWS_AT_ONCE):
        remove(engine, source, surplus[first : first + ROWS_AT_ONCE])
    return len(behind) + len(surplus)


def upsert(engine: sa.Engine, source: str, records: list[dict[str, Any]]) -> int:
    """Insert records, or replace those that are not newer; all of them or none."""
    insert = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
    statement = insert(MOVIES)
    keys = ("source", "id")
    statement = statement.on_conflict_do_update(
        index_elements=list(keys),
        set_={c.name: statement.excluded[c.name] for c in MOVIES.columns if c.name not in keys},
        where=statement.excluded.fetched_at >= MOVIES.c.fetched_at,
    )
    with engine.begin() as connection:
        for first in range(0, len(records), ROWS_AT_ONCE):
            connection.execute(statement, [{"source": source, **r} for r in records[first : first + ROWS_AT_ONCE]])
    return len(records)


def remove(engine: sa.Engine, source: str, ids: Sequence[int] | None = None) -> int:
    """Remove movies of a source, all of them by default; return how many."""
    which = MOVIES.c.source == source
    if ids is not None:
        which &= MOVIES.c.id.in_(ids)
    with engine.begin() as connection:
        return int(connection.execute(sa.delete(MOVIES).where(which)).rowcount)
