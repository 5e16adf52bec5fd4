"""Collection for more than a day, through the flows and over HTTP: what moves, overlaps, fails and heals meanwhile."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa
from conftest import serving_app
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from flows.collect import collect_movies
from models.movie import MAX_BUDGET
from sample import tmdb_server
from serving.tables import MOVIES
from settings import get_settings
from tasks.data.catalogue import list_partitions, open_catalogue, read_catalogue
from tasks.data.tmdb import TokenRefused
from tasks.foundation.store import FolderStore
from tasks.learning.loading import read_movies

Answer = Callable[[Request], Response | None]
YEAR = (date(2019, 1, 1), date(2019, 12, 31))


def movie(number: int, day: str, **changes: Any) -> dict[str, Any]:
    """A body with all its facts; ratings differ, as the contract asks."""
    return {
        "id": number, "imdb_id": None, "title": f"Movie {number}", "original_title": f"Movie {number}",
        "overview": "A plain synopsis.", "tagline": "", "genres": [{"id": 18, "name": "Drama"}], "release_date": day,
        "original_language": "en", "spoken_languages": [], "runtime": 100, "budget": 0, "revenue": 0,
        "production_companies": [{"id": 3, "name": "Three"}], "production_countries": [], "belongs_to_collection": None,
        "credits": {
            "cast": [{"id": 1, "name": "One", "order": 0}],
            "crew": [{"id": 2, "name": "Two", "job": "Director"}],
        },
        "vote_average": 5.0 + number % 40 / 10, "vote_count": 100, "popularity": 1.0, "status": "Released",
        "poster_path": None, "adult": False, "video": False,
    } | changes  # fmt: skip


class World:
    """TMDB over HTTP, of whose answers a test may change some, and the flow as of any day."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.bodies: dict[int, dict[str, Any]] = {}
        self.changed: list[int] | None = None
        self.answer: Answer = lambda request: None
        self.asked: Counter[str] = Counter()
        self._patch = patch

    def set(self, *bodies: dict[str, Any]) -> None:
        self.bodies |= {body["id"]: body for body in bodies}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        request = Request(scope)
        self.asked[scope["path"]] += 1
        response = self.answer(request)
        if response is None and scope["path"].endswith("/movie/changes") and self.changed is not None:
            rows = [{"id": number, "adult": False} for number in self.changed]
            body = {"page": 1, "results": rows, "total_pages": 1, "total_results": len(rows)}
            response = JSONResponse(body)
        inner: Callable[..., Awaitable[None]] = response or tmdb_server.app(  # type: ignore[assignment]
            tmdb_server.Catalogue(self.bodies.values())
        )
        await inner(scope, receive, send)

    def collect(self, day: str, *span: date, **options: Any) -> dict[str, int]:
        self._patch.setattr("flows.collect.day_of_run", lambda: date.fromisoformat(day))
        self.asked.clear()
        return collect_movies(*span, **options)

    def asked_for_movies(self) -> int:
        return sum(count for path, count in self.asked.items() if path.rpartition("/")[2].isdigit())


@pytest.fixture
def store(environment: Path, prefect_api: None) -> FolderStore:
    return FolderStore(environment / "store")


@pytest.fixture
def tmdb(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> Any:
    world = World(monkeypatch)
    monkeypatch.setattr("tasks.data.tmdb.random.uniform", lambda *_: 0.01)
    with serving_app(world) as url:
        for name, value in {"TMDB_BASE_URL": url, "TMDB_API_TOKEN": "t", "TMDB_RATE": "1000"}.items():
            monkeypatch.setenv(name, value)
        get_settings.cache_clear()
        yield world


def learned(day: str) -> dict[int, float]:
    movies = read_movies("tmdb", date.fromisoformat(day))
    assert movies["id"].is_unique
    return dict(zip(movies["id"], movies["vote_average"], strict=True))


def test_ranges_that_overlap_on_one_day_lose_no_movie(tmdb: World) -> None:
    tmdb.set(movie(1, "2018-06-01"), movie(2, "2019-06-01"), movie(3, "2020-06-01"))
    tmdb.collect("2026-06-30", date(2018, 1, 1), date(2019, 12, 31))
    tmdb.collect("2026-06-30", date(2019, 1, 1), date(2020, 12, 31))
    tmdb.collect("2026-06-30", date(2018, 1, 1), date(2020, 12, 31), min_votes=0)
    assert sorted(learned("2026-06-30")) == [1, 2, 3]


def test_a_backfill_and_the_daily_run_on_one_day_leave_the_newest_record(tmdb: World) -> None:
    tmdb.set(*(movie(n, f"2019-0{n}-01") for n in range(1, 10)), movie(10, "2026-05-01"))
    tmdb.changed = []
    tmdb.collect("2026-06-01")
    tmdb.collect("2026-06-10", *YEAR)
    tmdb.set(movie(3, "2019-03-01", vote_average=9.5))
    tmdb.changed = [3]
    tmdb.collect("2026-06-10")
    tmdb.collect("2026-06-11", *YEAR)
    assert tmdb.asked_for_movies() == 0  # read yesterday
    assert learned("2026-06-12") == {n: 5.0 + n / 10 for n in range(1, 11)} | {3: 9.5}


def test_a_first_daily_run_reads_the_history_that_training_needs_and_the_next_only_what_moved(
    tmdb: World, store: FolderStore
) -> None:
    tmdb.changed = []
    tmdb.set(*(movie(year, f"{year}-05-01") for year in range(2000, 2026)), movie(1, "2026-12-01", vote_count=0))
    tmdb.collect("2026-06-01")
    assert set(read_catalogue(store, "tmdb")["id"]) == {*range(2006, 2026), 1}
    tmdb.collect("2026-06-02")
    assert tmdb.asked_for_movies() <= 2
    tmdb.collect("2026-06-03", date(1990, 1, 1), date(2001, 12, 31))
    assert set(read_catalogue(store, "tmdb")["id"]) == {*range(2000, 2002), *range(2006, 2026), 1}
    # What was once collected is kept up, or the age limit would take it.
    for day in ("2026-09-01", "2026-12-01", "2027-02-01"):
        tmdb.collect(day)
    assert {2000, 2001} <= set(read_catalogue(store, "tmdb")["id"])
    assert min(p.logical_date for p in list_partitions(store, "tmdb")) >= date(2026, 8, 5)


def test_a_day_that_is_mostly_movies_to_come_is_learned_from(tmdb: World) -> None:
    nothing = {"runtime": 0, "vote_count": 0, "vote_average": 0.0, "credits": {"cast": [], "crew": []}, "overview": ""}
    rated = [movie(n, f"2025-11-{n % 28 + 1:02}") for n in range(1, 101)]
    tmdb.set(*rated, *(movie(n, "2026-03-01", **nothing) for n in range(1000, 1200)))
    tmdb.collect("2025-12-03", date(2025, 11, 1), date(2026, 12, 31))
    assert learned("2025-12-03") == {body["id"]: body["vote_average"] for body in rated}


@pytest.mark.parametrize(
    "absurd",
    [{"budget": 15_000_000_000}, {"release_date": "2999-01-01"}, {"vote_count": 20_000_000}, {"runtime": 10**9}],
)
def test_one_absurd_record_costs_itself(tmdb: World, store: FolderStore, absurd: dict[str, Any]) -> None:
    good = [movie(n, "2019-01-15") for n in range(2, 151)]
    tmdb.set(*good, movie(1, "2019-01-15") | absurd)
    if "release_date" in absurd:  # the list names it, the movie itself says otherwise
        tmdb.set(movie(1, "2019-01-15"))
        tmdb.answer = lambda r: JSONResponse(movie(1, "2999-01-01")) if r.url.path.endswith("/movie/1") else None
    tmdb.collect("2026-06-30", *YEAR)
    assert {body["id"] for body in good} <= set(learned("2026-06-30"))
    assert not any(batch.violations for batch in open_catalogue(store, "tmdb").batches)
    kept = read_catalogue(store, "tmdb")
    assert not (kept["budget"] > MAX_BUDGET).any()
    (partition,) = list_partitions(store, "tmdb")
    assert "1" in partition.refused.keys() | partition.lost.keys()
    assert len(store.keys("tmdb/quarantine/")) == 1


def test_what_was_refused_and_healed_is_asked_again_and_nothing_else(tmdb: World, store: FolderStore) -> None:
    tmdb.set(*(movie(n, "2019-01-15") for n in range(1, 30)))
    tmdb.answer = lambda r: JSONResponse({}) if r.url.path.endswith("/movie/7") else None
    assert tmdb.collect("2026-06-01", *YEAR)["refused"] == 1
    before = list_partitions(store, "tmdb")
    tmdb.answer = lambda r: None
    tmdb.collect("2026-06-02", *YEAR)
    assert tmdb.asked_for_movies() == 1
    assert 7 in set(read_catalogue(store, "tmdb")["id"])
    (partition,) = list_partitions(store, "tmdb")
    assert (partition.logical_date, partition.rows, partition.refused) == (before[0].logical_date, 29, {})
    assert tmdb.collect("2026-06-03", *YEAR)["requests"] == 0


def test_a_movie_refused_among_the_changes_is_asked_again_the_next_day(tmdb: World, store: FolderStore) -> None:
    tmdb.set(*(movie(n, "2019-01-15") for n in range(1, 6)))
    tmdb.changed = []
    tmdb.collect("2026-06-01")
    tmdb.changed = [3]
    tmdb.answer = lambda r: JSONResponse({"success": False}) if r.url.path.endswith("/movie/3") else None
    tmdb.collect("2026-06-03")
    tmdb.answer, tmdb.changed = lambda r: None, []
    tmdb.set(movie(3, "2019-01-15", vote_average=9.5))
    tmdb.collect("2026-06-04")
    assert learned("2026-06-05")[3] == 9.5
    tmdb.collect("2026-06-05")
    assert tmdb.asked_for_movies() == 0


def test_a_total_that_never_adds_up_costs_pages_and_stays_reported(tmdb: World) -> None:
    tmdb.set(*(movie(n, "2019-01-15") for n in range(1, 29)))

    def one_more(request: Request) -> Response | None:
        if not request.url.path.endswith("/discover/movie"):
            return None
        rows = [{"id": n} for n in range(1, 29)]
        page = int(request.query_params["page"])
        return JSONResponse({"page": page, "results": rows[(page - 1) * 20 : page * 20], "total_results": 29})

    tmdb.answer = one_more
    assert tmdb.collect("2026-06-01", *YEAR)["incomplete"] == 1
    again = tmdb.collect("2026-06-01", *YEAR)
    assert again["incomplete"] == 1
    assert tmdb.asked_for_movies() == 0
    assert again["requests"] == sum(tmdb.asked.values()) == 2


def test_more_changes_than_a_query_holds_are_read_day_by_day(tmdb: World, store: FolderStore) -> None:
    tmdb.set(*(movie(n, "2019-01-15") for n in range(1, 6)))
    tmdb.changed = []
    tmdb.collect("2026-06-01")
    ranges: list[tuple[str, str]] = []

    def changes(request: Request) -> Response | None:
        if not request.url.path.endswith("/movie/changes"):
            return None
        asked, page = request.query_params, int(request.query_params["page"])
        ranges.append((asked["start_date"], asked["end_date"]))
        if page > 500:
            return JSONResponse({"success": False, "status_code": 22, "status_message": "Invalid page"}, 400)
        days = (date.fromisoformat(asked["end_date"]) - date.fromisoformat(asked["start_date"])).days + 1
        return JSONResponse({"page": page, "results": [{"id": 3}] if page == 1 else [], "total_results": days * 5000})

    tmdb.answer = changes
    tmdb.set(movie(3, "2019-01-15", vote_average=9.5))
    tmdb.collect("2026-06-15")
    assert learned("2026-06-16")[3] == 9.5
    assert ("2026-06-01", "2026-06-14") in ranges
    assert ("2026-06-07", "2026-06-07") in ranges
    assert "changes_2026-06-07_2026-06-07" in {p.slice for p in list_partitions(store, "tmdb")}


def test_a_merged_id_is_one_movie(tmdb: World, store: FolderStore) -> None:
    tmdb.set(movie(1, "2019-01-15"), movie(2, "2019-01-15"))
    tmdb.answer = lambda r: JSONResponse(movie(2, "2019-01-15")) if r.url.path.endswith("/movie/1") else None
    tmdb.collect("2026-06-01", *YEAR)
    assert list(learned("2026-06-02")) == [2]
    (partition,) = list_partitions(store, "tmdb")
    assert (partition.gone, partition.complete) == ([1], True)


def test_an_id_that_was_gone_comes_back(tmdb: World, store: FolderStore) -> None:
    tmdb.set(movie(1, "2026-05-15"), movie(2, "2026-05-15"))
    tmdb.answer = lambda r: JSONResponse({"success": False}, 404) if r.url.path.endswith("/movie/1") else None
    tmdb.collect("2026-06-01", date(2026, 5, 1), date(2026, 5, 31))
    tmdb.answer = lambda r: None
    tmdb.collect("2026-06-02", date(2026, 5, 1), date(2026, 5, 31))
    assert tmdb.asked["/3/movie/1"] == 0  # it answered 404 yesterday
    for day in ("2026-06-09", "2026-06-17"):
        tmdb.collect(day, date(2026, 5, 1), date(2026, 5, 31))
    assert set(read_catalogue(store, "tmdb")["id"]) == {1, 2}


def test_an_id_that_was_gone_comes_back_where_its_window_is_read_every_day(tmdb: World, store: FolderStore) -> None:
    tmdb.changed = []
    tmdb.set(movie(1, "2026-06-02"), movie(2, "2026-06-02"))
    tmdb.answer = lambda r: JSONResponse({"success": False}, 404) if r.url.path.endswith("/movie/1") else None
    span = (date(2026, 6, 1), date(2026, 6, 2))
    tmdb.collect("2026-06-02", *span)
    tmdb.answer = lambda r: None
    for day in range(3, 10):
        tmdb.collect(f"2026-06-{day:02}", *span)
    assert set(read_catalogue(store, "tmdb")["id"]) == {1, 2}


def test_a_damaged_partition_that_lacks_a_movie_is_read_anew(tmdb: World, store: FolderStore) -> None:
    tmdb.set(*(movie(n, "2019-01-15") for n in range(1, 6)))
    tmdb.answer = lambda r: JSONResponse({}) if r.url.path.endswith("/movie/3") else None
    tmdb.collect("2026-06-01", *YEAR)
    (partition,) = list_partitions(store, "tmdb")
    store.write(partition.data_key, b"torn")
    tmdb.answer = lambda r: None
    tmdb.collect("2026-06-02", *YEAR)
    assert set(read_catalogue(store, "tmdb")["id"]) == set(range(1, 6))


def test_what_is_too_old_goes_though_nothing_can_be_collected(tmdb: World, store: FolderStore) -> None:
    tmdb.set(movie(1, "2019-01-15"))
    tmdb.collect("2025-01-01", *YEAR)
    tmdb.answer = lambda r: JSONResponse({"success": False, "status_code": 7}, 401)
    with pytest.raises(TokenRefused):
        tmdb.collect("2026-06-01", *YEAR)
    assert store.keys("tmdb/movies/") == []


def test_the_warehouse_gets_what_an_earlier_run_could_not_give_it(
    tmdb: World, environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmdb.set(*(movie(n, "2019-01-15") for n in range(1, 22)))
    good = f"sqlite:///{environment}/warehouse.db"
    for url in ("sqlite:////nonexistent/dir/w.db", good):
        monkeypatch.setenv("WAREHOUSE_URL", url)
        get_settings.cache_clear()
        with nullcontext() if url == good else pytest.raises(FileNotFoundError, match="WAREHOUSE_URL"):
            tmdb.collect("2026-06-01", *YEAR)
    assert tmdb.asked_for_movies() == 0
    with sa.create_engine(good).connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(MOVIES)).scalar_one() == 21


def test_stray_and_torn_files_stop_no_flow(tmdb: World, store: FolderStore) -> None:
    tmdb.set(*(movie(n, "2019-01-15") for n in range(1, 6)))
    tmdb.collect("2026-06-01", *YEAR)
    (partition,) = list_partitions(store, "tmdb")
    folder = "tmdb/movies/2026-06-01"
    for name, data in {
        f"{folder}/._2016-01-01_2019-12-31_votes0.json": b"\x00\x05\x16\x07",
        f"{folder}/x.json": b"",
        f"{folder}/2019-01-01_2019-12-31_votes20 (1).json": store.read(partition.manifest_key),
        "tmdb/accepted.json": b"",
        "tmdb/sentiments.json": b"",
        "tmdb/sentiments/2026-06-01.json": b"",
        "tmdb/snapshot.json": b"",
    }.items():
        store.write(name, data)
    assert tmdb.collect("2026-06-02", *YEAR)["requests"] == 0
    assert len(learned("2026-06-03")) == 5
    store.write(partition.data_key, b"torn")
    store.write("tmdb/snapshot.json", b"")
    tmdb.collect("2026-06-02", *YEAR)  # read again
    assert len(learned("2026-06-03")) == 5


def test_weeks_of_days_end_as_one_day_would(tmdb: World, store: FolderStore) -> None:
    """Movies come, ratings move, days are missed, a day is run twice: at the end all is as TMDB has it."""
    tmdb.set(*(movie(n, f"2019-{n % 12 + 1:02}-15") for n in range(1, 40)))
    tmdb.changed = []
    for day in pd.date_range("2026-03-29", "2026-04-12"):
        number = day.day_of_year
        tmdb.set(movie(1000 + number, str(day.date()), vote_count=60))
        tmdb.set(movie(number % 39 + 1, f"2019-{(number % 39 + 1) % 12 + 1:02}-15", vote_average=number % 50 / 10 + 4))
        tmdb.changed = (
            [*range(1, 40), *(1000 + n for n in range(60, number + 1))] if number % 7 == 0 else [number % 39 + 1]
        )
        if day.day % 10 != 9:  # a day on which nothing ran
            for _ in range(1 + (day.day == 5)):
                tmdb.collect(str(day.date()))
    tmdb.changed = list(tmdb.bodies)
    tmdb.collect("2026-04-13")
    wanted = {n: b["vote_average"] for n, b in tmdb.bodies.items() if b["release_date"] < "2026-04-14"}
    assert learned("2026-04-14") == pytest.approx(wanted)
    engine = sa.create_engine(get_settings().warehouse_url.get_secret_value())
    with engine.connect() as connection:
        rows = connection.execute(sa.select(MOVIES.c.id, MOVIES.c.vote_average)).all()
    assert {row.id for row in rows} == set(tmdb.bodies)
    assert json.loads(store.read("tmdb/snapshot.json"))["batches"]
