"""What gates training: the store's contract."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from prefect import flow

from models.body import record
from settings import get_settings
from tasks.data.partitions import movie_table, write_partition
from tasks.foundation.clock import now
from tasks.foundation.store import Store, open_store
from tasks.learning.loading import (
    ContractBroken,
    accept_catalogue,
    accepted_key,
    load_movies,
    read_movies,
    split,
)


@pytest.fixture
def store(environment: Path, prefect_api: None) -> Store:
    return open_store(get_settings().store_uri)


def write(store: Store, bodies: list[dict[str, Any]], day: str) -> None:
    facts: dict[str, Any] = {"source": "tmdb", "logical_date": date.fromisoformat(day), "slice": "all", "requests": 1}
    facts |= {"start": date(2005, 1, 1), "end": date(2026, 12, 31), "expected": len(bodies)}
    write_partition(store, movie_table([record(body, now()) for body in bodies]), **facts)


@flow
def load() -> pd.DataFrame:
    accept_catalogue.with_options(retries=0)("tmdb", date(2026, 7, 1))
    return load_movies.with_options(retries=0)("tmdb", date(2026, 7, 1))


def test_a_bad_batch_is_left_out_and_the_good_data_stays(store: Store, bodies: list[dict[str, Any]]) -> None:
    write(store, bodies[:500], "2026-01-01")
    write(store, [b | {"credits": {"cast": [], "crew": []}} for b in bodies[:500]], "2026-01-02")
    write(store, bodies[500:600], "2026-01-03")
    movies = load()
    assert len(movies) == 600
    assert all(len(cast) for cast in movies["cast"])


def test_where_every_batch_is_bad_the_rule_is_named(store: Store, bodies: list[dict[str, Any]]) -> None:
    write(store, [b | {"vote_average": 6.0} for b in bodies[:500]], "2026-01-01")
    with pytest.raises(ContractBroken, match="ratings differ"):
        load()


def test_a_catalogue_that_shrank_is_refused_and_says_how_to_accept_it(
    store: Store, bodies: list[dict[str, Any]]
) -> None:
    write(store, bodies[:500], "2026-01-01")
    load()
    assert json.loads(store.read(accepted_key("tmdb"))) == {"rows": 500}
    for key in store.keys("tmdb/movies/"):
        store.delete(key)
    write(store, bodies[:300], "2026-01-02")
    with pytest.raises(ContractBroken, match=accepted_key("tmdb")):
        load()
    store.delete(accepted_key("tmdb"))
    assert len(load()) == 300


def test_one_definition_of_what_is_learned_serves_the_gate_and_writes_nothing(
    store: Store, bodies: list[dict[str, Any]]
) -> None:
    write(store, bodies[:500], "2026-01-01")
    before = store.keys("")
    read = read_movies("tmdb", date(2026, 7, 1))
    assert store.keys("") == before
    pd.testing.assert_frame_equal(read, load())


def test_a_history_that_is_too_short_names_what_to_run(rated: pd.DataFrame) -> None:
    for movies in (rated.tail(100), rated.head(0)):
        with pytest.raises(ValueError, match=r"collect-movies/backfill.*python -m flows\.collect"):
            split(movies)
