from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from flows.collect import collect_movies
from settings import get_settings
from tasks.catalogue import list_partitions, read_catalogue
from tasks.store import FolderStore
from tasks.tmdb import TokenRefused

START, END = date(2019, 1, 1), date(2020, 12, 31)


@pytest.fixture
def store(environment: Path, prefect_api: None) -> FolderStore:
    return FolderStore(environment / "store")


def use(patch: pytest.MonkeyPatch, url: str, token: str = "t") -> None:
    for name, value in {"TMDB_BASE_URL": url, "TMDB_API_TOKEN": token, "TMDB_RATE": "1000"}.items():
        patch.setenv(name, value)
    get_settings.cache_clear()


def files(store: FolderStore) -> dict[str, bytes]:
    return {key: store.read(key) for key in store.keys("")}


def test_it_collects_every_movie_once_and_a_second_run_asks_nothing(
    store: FolderStore, bodies: list[dict[str, Any]], serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {b["id"] for b in bodies if START.isoformat() <= b["release_date"] <= END.isoformat()}
    with serve(bodies, token="t") as url:
        use(monkeypatch, url)
        first = collect_movies(START, END)
        before = files(store)
        second = collect_movies(START, END)
    assert set(read_catalogue(store, "tmdb")["id"]) == wanted
    assert first["movies"] == second["movies"] == len(wanted)
    assert first["requests"] > len(wanted)
    assert second["requests"] == 0
    assert files(store) == before
    assert all(p.complete for p in list_partitions(store, "tmdb"))


def test_faults_lose_and_double_nothing(
    store: FolderStore, bodies: list[dict[str, Any]], serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.tmdb.random.uniform", lambda *_: 0.01)
    wanted = {b["id"] for b in bodies if "2019-01-01" <= b["release_date"] <= "2019-12-31"}
    with serve(bodies, faults=0.05) as url:
        use(monkeypatch, url)
        collected = collect_movies(START, date(2019, 12, 31))
    assert set(read_catalogue(store, "tmdb")["id"]) == wanted
    assert collected["incomplete"] == 0


def test_the_vote_floor_holds_for_movies_that_are_out(
    store: FolderStore, bodies: list[dict[str, Any]], serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(bodies) as url:
        use(monkeypatch, url)
        collect_movies(START, date(2019, 12, 31), min_votes=300)
    movies = read_catalogue(store, "tmdb")
    assert len(movies)
    assert (movies["vote_count"] >= 300).all()


def test_a_lost_partition_is_read_again(
    store: FolderStore, bodies: list[dict[str, Any]], serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(bodies) as url:
        use(monkeypatch, url)
        collect_movies(START, END)
        lost = list_partitions(store, "tmdb")[0]
        store.delete(f"{lost.key}.json")
        again = collect_movies(START, END)
    assert again["requests"] > lost.rows
    assert lost.window in {p.window for p in list_partitions(store, "tmdb")}


def test_a_refused_token_ends_the_run_and_writes_nothing(
    store: FolderStore, bodies: list[dict[str, Any]], serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(bodies[:5], token="right") as url:
        use(monkeypatch, url, token="wrong")
        with pytest.raises(TokenRefused, match="TMDB_API_TOKEN"):
            collect_movies.with_options(retries=0)(START, START)
    assert files(store) == {}


def test_a_movie_of_another_shape_is_refused_and_counted(
    store: FolderStore, bodies: list[dict[str, Any]], serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = next(b for b in bodies if b["release_date"].startswith("2019"))
    broken = [b if b is not odd else b | {"runtime": "long"} for b in bodies]
    with serve(broken) as url:
        use(monkeypatch, url)
        collect_movies(START, date(2019, 12, 31))
    (partition,) = list_partitions(store, "tmdb")
    assert len(partition.refused) == 1
    assert str(odd["id"]) in partition.refused[0]
    assert partition.complete
    assert odd["id"] not in set(read_catalogue(store, "tmdb")["id"])
