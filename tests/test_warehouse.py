"""The mirror of the catalogue, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from models.body import record
from serving.tables import MOVIES
from settings import get_settings
from tasks.data.catalogue import purge
from tasks.data.partitions import movie_table, write_partition
from tasks.data.warehouse import bring_up_to_date, connect, remove, upsert
from tasks.foundation.clock import now
from tasks.foundation.store import FolderStore, Store


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, environment: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sa.Engine]:
    if request.param == "postgresql":
        monkeypatch.setenv("WAREHOUSE_URL", request.getfixturevalue("postgres"))
        get_settings.cache_clear()
    engine = connect()
    assert engine.dialect.name == request.param
    remove(engine, "tmdb")
    yield engine
    engine.dispose()


def rows(engine: sa.Engine) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(sa.select(MOVIES).order_by(MOVIES.c.id)).mappings()]


def test_twice_the_same_day_leaves_the_same_rows(engine: sa.Engine, bodies: list[dict[str, Any]]) -> None:
    records = [record(body, now()) for body in bodies[:1200]]
    assert upsert(engine, "tmdb", records) == 1200
    first = rows(engine)
    upsert(engine, "tmdb", records)
    assert rows(engine) == first
    assert len(first) == 1200
    assert first[0]["title"] == bodies[0]["title"]
    assert first[0]["cast"] == records[0]["cast"]
    assert first[0]["release_date"].isoformat() == bodies[0]["release_date"]


def test_a_newer_record_replaces_an_older_one_whatever_the_order(
    engine: sa.Engine, bodies: list[dict[str, Any]]
) -> None:
    old = record(bodies[0], now())
    new = record(bodies[0] | {"vote_average": 1.5}, now() + timedelta(days=1))
    for order in ([old], [new], [old]):
        upsert(engine, "tmdb", order)
    assert [row["vote_average"] for row in rows(engine)] == [1.5]


def test_removing_a_source_leaves_the_others(engine: sa.Engine, bodies: list[dict[str, Any]]) -> None:
    upsert(engine, "tmdb", [record(bodies[0], now())])
    upsert(engine, "imdb", [record(bodies[0], now())])
    assert remove(engine, "tmdb") == 1
    assert [row["source"] for row in rows(engine)] == ["imdb"]
    remove(engine, "imdb")


def test_all_records_or_none(engine: sa.Engine, bodies: list[dict[str, Any]]) -> None:
    records = [record(body, now()) for body in bodies[:600]]
    with pytest.raises(sa.exc.IntegrityError):
        upsert(engine, "tmdb", [*records, records[0] | {"id": 1, "title": None}])
    assert rows(engine) == []


def write(store: Store, bodies: list[dict[str, Any]], day: date) -> None:
    facts: dict[str, Any] = {"source": "tmdb", "logical_date": day, "slice": "all", "requests": 1}
    facts |= {"start": date(2005, 1, 1), "end": date(2026, 12, 31), "expected": len(bodies)}
    late = timedelta(seconds=day.toordinal())
    write_partition(store, movie_table([record(body, now() + late) for body in bodies]), **facts)


def test_the_mirror_catches_up_whatever_earlier_runs_left_undone(
    engine: sa.Engine, bodies: list[dict[str, Any]], tmp_path: Path
) -> None:
    """A run that was killed, or met a warehouse that was down, mirrored nothing of what it had read."""
    store = FolderStore(tmp_path / "store")
    write(store, bodies[:30], date(2026, 1, 1))
    write(store, [bodies[0] | {"vote_average": 1.5}, *bodies[30:40]], date(2026, 1, 2))
    upsert(engine, "tmdb", [record(bodies[0], now()), record(bodies[50], now())])  # an old record, and a movie too many
    assert bring_up_to_date(engine, store, "tmdb") == 41
    assert [row["id"] for row in rows(engine)] == sorted(body["id"] for body in bodies[:40])
    assert next(row for row in rows(engine) if row["id"] == bodies[0]["id"])["vote_average"] == 1.5
    assert bring_up_to_date(engine, store, "tmdb") == 0
    purge(store, "tmdb")
    assert bring_up_to_date(engine, store, "tmdb") == 40
    assert rows(engine) == []
