"""TMDB's terms: what is filled in every place is gone from every place, by age and altogether."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from prefect import flow
from prefect.artifacts import create_table_artifact

from models.body import record
from serving.tables import MOVIES, PREDICTIONS, UPCOMING
from settings import get_settings
from tasks.data.catalogue import fold
from tasks.data.partitions import movie_table, write_partition
from tasks.data.purging import PLACES, purge
from tasks.data.warehouse import connect, upsert
from tasks.foundation.store import Store, open_store

OLD, NEW, CUT = date(2026, 1, 1), date(2026, 6, 1), date(2026, 3, 1)


@pytest.fixture
def engine(environment: Path, prefect_api: None) -> Any:
    engine = connect()
    yield engine
    engine.dispose()


def fill(store: Store, engine: sa.Engine, bodies: list[dict[str, Any]], day: date) -> None:
    """Put content of TMDB's into every place where it can lie, as the flows do, as of a day."""
    at = datetime.combine(day, datetime.min.time(), UTC)
    facts: dict[str, Any] = {"source": "tmdb", "logical_date": day, "slice": f"slice{day}", "requests": 1}
    facts |= {"start": date(2005, 1, 1), "end": date(2026, 12, 31), "expected": 4, "refused": {"7": "movie 7: title"}}
    write_partition(store, movie_table([record(body, at) for body in bodies]), {"7": json.dumps(bodies[0])}, **facts)
    store.write(f"tmdb/upcoming/{day}.parquet", bodies[0]["title"].encode())
    store.write(f"tmdb/sentiments/{day}.json", b"{}")
    fold(store, "tmdb")
    upsert(engine, "tmdb", [record(body, at) for body in bodies])
    coming = {"source": "tmdb", "as_of": day, "id": 1, "title": bodies[0]["title"], "release_date": day, "genres": []}
    coming |= {"rating": 6.0, "low": 5.0, "high": 7.0, "reasons": [], "model": {}}
    asked = {"id": f"p{day}", "at": at, "route": "predict", "model": "m", "version": "v1", "sha256": "", "level": 0.9}
    asked |= {"rating": 6.0, "low": 5.0, "high": 7.0, "movie": json.dumps({"title": bodies[0]["title"]})}
    with engine.begin() as connection:
        connection.execute(UPCOMING.insert(), [coming])
        connection.execute(PREDICTIONS.insert(), [asked])


def count(engine: sa.Engine) -> dict[str, int]:
    with engine.connect() as connection:
        return {
            "movies": connection.execute(sa.select(sa.func.count()).select_from(MOVIES)).scalar_one(),
            "upcoming": connection.execute(sa.select(sa.func.count()).select_from(UPCOMING)).scalar_one(),
            "predictions": connection.execute(sa.select(sa.func.count()).select_from(PREDICTIONS)).scalar_one(),
            "movies in predictions": connection.execute(
                sa.select(sa.func.count()).select_from(PREDICTIONS).where(PREDICTIONS.c.movie != "{}")
            ).scalar_one(),
        }


def test_by_age_all_that_is_too_old_goes_and_the_rest_stays(engine: sa.Engine, bodies: list[dict[str, Any]]) -> None:
    store = open_store(get_settings().store_uri)
    fill(store, engine, bodies[:4], OLD)
    fill(store, engine, bodies[4:8], NEW)
    removed = purge("tmdb", CUT)
    assert [key for key in store.keys("tmdb/") if str(OLD) in key] == []
    assert {key.split("/")[1] for key in store.keys("tmdb/") if str(NEW) in key} == {
        *("movies", "quarantine", "upcoming", "sentiments")
    }
    kept = b"".join(store.read(key) for key in store.keys("tmdb/"))
    assert bodies[0]["title"].encode() not in kept
    assert count(engine) == {"movies": 4, "upcoming": 1, "predictions": 2, "movies in predictions": 1}
    assert all(removed[name] for name in PLACES if name != "Prefect's artifacts"), removed
    assert not any(purge("tmdb", CUT).values())


def test_altogether_nothing_of_tmdb_is_left_anywhere_and_other_sources_stay(
    engine: sa.Engine, bodies: list[dict[str, Any]]
) -> None:
    store = open_store(get_settings().store_uri)
    fill(store, engine, bodies[:4], NEW)
    store.write("tmdb/sentiments.json", b"{}")  # as an earlier version wrote it
    store.write("sample/movies/x", b"")
    upsert(engine, "imdb", [record(bodies[0], datetime.now(UTC))])

    @flow
    def show() -> None:
        create_table_artifact(key="upcoming-tmdb", table=[{"movie": bodies[0]["title"]}])

    show()
    removed = purge("tmdb")
    assert all(removed.values()), removed
    assert store.keys("") == ["sample/movies/x"]
    assert count(engine) == {"movies": 1, "upcoming": 0, "predictions": 1, "movies in predictions": 0}
    assert not any(purge("tmdb").values())
