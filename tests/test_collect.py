from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import serving, serving_app

from flows.collect import collect_movies
from sample import tmdb_server
from settings import PROJECT, Settings, get_settings
from tasks.data.catalogue import list_partitions, read_catalogue
from tasks.data.collecting import TooManyRefused
from tasks.data.gaps import find_gaps
from tasks.data.tmdb import TokenRefused
from tasks.foundation.store import FolderStore

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
    monkeypatch.setattr("tasks.data.tmdb.random.uniform", lambda *_: 0.01)
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


@pytest.mark.parametrize("key", ["manifest_key", "data_key"])
def test_a_lost_partition_is_read_again(
    key: str,
    store: FolderStore,
    bodies: list[dict[str, Any]],
    serve: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serve(bodies) as url:
        use(monkeypatch, url)
        collect_movies(START, END)
        lost = list_partitions(store, "tmdb")[0]
        store.delete(getattr(lost, key))
        again = collect_movies(START, END)
    assert again["requests"] > lost.rows
    assert {b["id"] for b in bodies if "2019" <= b["release_date"] < "2021"} == set(read_catalogue(store, "tmdb")["id"])


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
    broken = [b if b is not odd else b | {"vote_average": "good"} for b in bodies]
    with serve(broken) as url:
        use(monkeypatch, url)
        collect_movies(START, date(2019, 12, 31))
    (partition,) = list_partitions(store, "tmdb")
    assert list(partition.refused) == [str(odd["id"])]
    assert "vote_average" in partition.refused[str(odd["id"])]
    assert partition.complete
    assert len(store.keys("tmdb/quarantine/")) == 1
    assert odd["id"] not in set(read_catalogue(store, "tmdb")["id"])


def test_a_source_that_changed_its_shape_stops_the_run(
    store: FolderStore, bodies: list[dict[str, Any]], serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = [b | {"vote_average": str(b["vote_average"])} if n % 4 == 0 else b for n, b in enumerate(bodies)]
    with serve(changed) as url:
        use(monkeypatch, url)
        with pytest.raises(TooManyRefused, match=r"vote_average.*quarantine"):
            collect_movies(START, END)
        collect_movies(START, END, max_refused=0.5)


def test_full_days_are_cut_by_genre(
    store: FolderStore, bodies: list[dict[str, Any]], serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.data.collecting.WINDOW_MOVIES", 15)
    monkeypatch.setattr("tasks.data.collecting.MAX_RESULTS", 40)
    monkeypatch.setattr("tasks.data.tmdb.MAX_RESULTS", 40)
    crowded = [b | {"release_date": "2020-01-01"} for b in bodies[:300]]
    with serve(crowded) as url:
        use(monkeypatch, url)
        collected = collect_movies(date(2019, 12, 1), date(2020, 2, 1))
    partitions = list_partitions(store, "tmdb")
    assert any("with" in p.slice for p in partitions)
    assert max(p.rows for p in partitions) <= 40
    assert set(read_catalogue(store, "tmdb")["id"]) == {b["id"] for b in crowded}
    assert sum(p.rows for p in partitions) == 300
    assert collected["incomplete"] == 0


def run_on(day: str, monkeypatch: pytest.MonkeyPatch, **options: Any) -> dict[str, int]:
    """Run the daily flow as of a logical date."""
    monkeypatch.setattr("flows.collect.day_of_run", lambda: date.fromisoformat(day))
    return collect_movies(**options)


def test_a_day_is_caught_up_and_a_day_run_twice_changes_nothing(
    store: FolderStore, bodies: list[dict[str, Any]], serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ran on the 1st, not on the 2nd to the 19th; the run of the 20th reads the changes of all those days."""
    # The stand-in counts movies as changed on the day of their release.
    touched = next(b for b in bodies if "2026-05-03" <= b["release_date"] <= "2026-05-18")
    old = bodies[0] | {"release_date": "2025-03-03", "id": 77}
    with serve([*bodies, old]) as url:
        use(monkeypatch, url)
        run_on("2026-05-01", monkeypatch)
        first = set(read_catalogue(store, "tmdb")["id"])
        run_on("2026-05-20", monkeypatch)
        changes = [p for p in list_partitions(store, "tmdb") if p.slice.startswith("changes_")]
        before = files(store)
        again = run_on("2026-05-20", monkeypatch)
        assert files(store) == before
        assert again["requests"] == 0
        run_on("2026-05-21", monkeypatch)
    assert [(str(p.start), str(p.end)) for p in changes] == [("2026-05-01", "2026-05-14"), ("2026-05-15", "2026-05-20")]
    assert touched["id"] in first
    report = find_gaps("tmdb", list_partitions(store, "tmdb"), date(2026, 5, 21))
    assert report.days_without_run == [(date(2026, 5, 2), date(2026, 5, 19))]
    assert report.days_not_caught_up == []
    assert report.missing_release_dates == []
    assert 77 in set(read_catalogue(store, "tmdb")["id"])


def test_records_that_are_too_old_go(
    store: FolderStore, bodies: list[dict[str, Any]], serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(bodies) as url:
        use(monkeypatch, url)
        run_on("2025-01-01", monkeypatch, start=START, end=END)
        run_on("2025-08-01", monkeypatch, start=date(2020, 1, 1), end=END)
    left = read_catalogue(store, "tmdb")
    assert left["release_date"].min() >= pd.Timestamp("2020-01-01")
    assert {str(p.logical_date) for p in list_partitions(store, "tmdb")} == {"2025-08-01"}


def test_a_day_to_come_makes_nothing_old(
    store: FolderStore, bodies: list[dict[str, Any]], serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(bodies) as url:
        use(monkeypatch, url)
        run_on(str(date.today()), monkeypatch, start=START, end=END)
        monkeypatch.undo()
        use(monkeypatch, url)
        collect_movies(START, END, as_of=date.today() + timedelta(days=400))
    assert str(date.today()) in {str(p.logical_date) for p in list_partitions(store, "tmdb")}


def collector(folder: Path, url: str, prefect_home: Path, *options: str) -> subprocess.Popen[bytes]:
    """Start the collector in a process of its own."""
    environment = os.environ | {name.upper(): "" for name in Settings.model_fields}
    environment |= {"TMDB_BASE_URL": url, "TMDB_API_TOKEN": "t", "TMDB_RATE": "400", "STORE_URI": str(folder)}
    environment |= {"WAREHOUSE_URL": f"sqlite:///{folder}.db", "PREFECT_HOME": str(prefect_home)}
    command = [sys.executable, "-m", "flows.collect", *options]
    return subprocess.Popen(command, cwd=PROJECT, env=environment, stderr=subprocess.DEVNULL)


def test_two_backfills_at_once_leave_what_one_would(tmp_path: Path, bodies: list[dict[str, Any]]) -> None:
    with serving(bodies, latency=0.01) as url:
        both = [
            collector(tmp_path / "store", url, tmp_path / f"prefect{n}", "--start", "2018-01-01", "--end", end)
            for n, end in enumerate(("2020-12-31", "2021-12-31"))
        ]
        assert [process.wait(120) for process in both] == [0, 0]
    movies = read_catalogue(FolderStore(tmp_path / "store"), "tmdb")
    assert set(movies["id"]) == {b["id"] for b in bodies if "2018" <= b["release_date"] < "2022"}


def test_a_killed_day_goes_on_where_it_was_and_ends_the_same(
    tmp_path: Path, bodies: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill -9 in the middle of a window; the next run repeats that window at most."""
    app = tmdb_server.app(tmdb_server.Catalogue(bodies), latency=0.02)
    options = ["--start", "2018-01-01", "--end", "2021-12-31"]

    def command(folder: Path, url: str) -> subprocess.Popen[bytes]:
        return collector(folder, url, tmp_path / "prefect", *options)

    with serving_app(app) as url:
        whole = command(tmp_path / "whole", url)
        assert whole.wait(120) == 0
        asked_by_one = app.requests  # type: ignore[attr-defined]
        killed = command(tmp_path / "killed", url)
        deadline = time.monotonic() + 60
        while app.requests < asked_by_one * 1.55:  # type: ignore[attr-defined]
            assert killed.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        killed.kill()
        killed.wait()
        there = {p.slice for p in list_partitions(FolderStore(tmp_path / "killed"), "tmdb")}
        at_kill = app.requests  # type: ignore[attr-defined]
        assert command(tmp_path / "killed", url).wait(120) == 0
        asked_again = app.requests - at_kill  # type: ignore[attr-defined]
    one, two = (FolderStore(tmp_path / name) for name in ("whole", "killed"))
    assert there
    repeated = (at_kill - asked_by_one) + asked_again - asked_by_one
    largest = max(p.requests for p in list_partitions(one, "tmdb"))
    planning = 20
    assert repeated <= largest + planning
    drop = ["fetched_at"]
    pd.testing.assert_frame_equal(
        read_catalogue(one, "tmdb").drop(columns=drop), read_catalogue(two, "tmdb").drop(columns=drop)
    )
