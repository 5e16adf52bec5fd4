from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from datetime import date
from typing import Any

import httpx
import pytest
from conftest import SHARED

from models.body import BadRecord, record
from tasks import tmdb
from tasks.slices import Changes, Slice
from tasks.tmdb import RateLimiter, Reading, TmdbClient, TmdbError, TokenRefused, gather, now

TOKEN = "secret-token"
Handler = Callable[[httpx.Request], httpx.Response]


def ask(handler: Handler, path: str = "/movie/1") -> tuple[Any, TmdbClient]:
    async def run() -> tuple[Any, TmdbClient]:
        limiter = RateLimiter(10_000)
        async with TmdbClient("http://tmdb.test/3", TOKEN, limiter, httpx.MockTransport(handler)) as client:
            return await client.get(path), client

    return asyncio.run(run())


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tmdb.random, "uniform", lambda *_: 0.0)


def answers(*responses: httpx.Response | Exception) -> Handler:
    """Give one answer after the other; the last for ever."""
    left = list(responses)

    def handler(request: httpx.Request) -> httpx.Response:
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        assert TOKEN not in str(request.url)
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return handler


OK = httpx.Response(200, json={"id": 1})


@pytest.mark.parametrize(
    "fault",
    [
        httpx.Response(500),
        httpx.Response(503, text="<html>"),
        httpx.Response(429, json={"status_code": 25}),
        httpx.Response(200, text="<html>Bad gateway</html>"),
        httpx.Response(200, text='{"page": 1, "resu'),
        httpx.Response(200, json=[]),
        httpx.ReadTimeout("slow"),
        httpx.ConnectError("refused"),
        httpx.RemoteProtocolError("cut"),
    ],
)
def test_what_passes_is_tried_again(fault: httpx.Response | Exception) -> None:
    body, client = ask(answers(fault, fault, OK))
    assert body == {"id": 1}
    assert client.tally.requests == 3
    assert client.tally.retries.total() == 2


def test_what_stays_ends_after_a_bounded_number_of_attempts() -> None:
    with pytest.raises(TmdbError, match="503") as failure:
        ask(answers(httpx.Response(503)))
    assert str(tmdb.ATTEMPTS) in str(failure.value)
    assert TOKEN not in str(failure.value)


def test_retry_after_is_honoured() -> None:
    start = time.monotonic()
    ask(answers(httpx.Response(429, headers={"Retry-After": "1"}), OK))
    assert time.monotonic() - start >= 1


def test_a_refused_token_fails_at_once_and_says_what_to_set() -> None:
    calls = []

    def refuse(request: httpx.Request) -> httpx.Response:
        calls.append(request)
        return httpx.Response(401, json={"status_code": 7})

    with pytest.raises(TokenRefused, match="TMDB_API_TOKEN"):
        ask(refuse)
    assert len(calls) == 1


def test_404_is_no_error_and_400_is() -> None:
    assert ask(answers(httpx.Response(404)))[0] is None
    with pytest.raises(TmdbError, match="400"):
        ask(answers(httpx.Response(400, json={"status_code": 22})))


def test_the_limiter_spaces_requests_evenly() -> None:
    async def run() -> float:
        limiter = RateLimiter(200)
        start = time.monotonic()
        await asyncio.gather(*(limiter.wait() for _ in range(41)))
        return time.monotonic() - start

    assert asyncio.run(run()) >= 40 / 200


def test_gather_keeps_the_order_and_raises_the_first_failure() -> None:
    async def double(n: int) -> int:
        await asyncio.sleep(0.01 * (5 - n))
        if n == 4:
            raise ValueError("four")
        return 2 * n

    assert asyncio.run(gather(double, range(4))) == [0, 2, 4, 6]
    with pytest.raises(ValueError, match="four"):
        asyncio.run(gather(double, range(6)))


def read(
    handler: Handler, piece: Slice | Changes, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> tuple[Reading, TmdbClient]:
    async def run() -> tuple[Reading, TmdbClient]:
        async with TmdbClient("http://t/3", TOKEN, RateLimiter(1e4), httpx.MockTransport(handler)) as client:
            return await client.read(piece, **options), client

    monkeypatch.setattr(tmdb, "PAGE_SIZE", 2)
    return asyncio.run(run())


def moving(pages: dict[int, list[list[int]]], total: int, gone: set[int] = frozenset()) -> Handler:  # type: ignore[assignment]
    """Answer each reading of a page with its next content, the last for ever."""

    def handler(request: httpx.Request) -> httpx.Response:
        if "/discover" not in request.url.path and "changes" not in request.url.path:
            movie_id = int(request.url.path.rsplit("/", 1)[1])
            assert request.url.params["append_to_response"] == "credits,keywords,release_dates"
            return (
                httpx.Response(404)
                if movie_id in gone
                else httpx.Response(200, json={"id": movie_id, "title": "x", "vote_count": 0, "vote_average": 0.0})
            )
        readings = pages[int(request.url.params["page"])]
        rows = readings.pop(0) if len(readings) > 1 else readings[0]
        return httpx.Response(200, json={"total_results": total, "results": [{"id": i} for i in rows]})

    return handler


def ids(reading: Reading) -> list[int]:
    return sorted(movie["id"] for movie in reading.records)


DAY = Slice(date(2020, 1, 1), date(2020, 1, 1), 20)


def test_rows_that_move_between_pages_are_neither_lost_nor_doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Page 2 repeats a row of page 1 on the first reading, and names the third on the second."""
    reading, client = read(moving({1: [[1, 2]], 2: [[2], [3]]}, 3), DAY, monkeypatch)
    assert ids(reading) == [1, 2, 3]
    assert reading.expected == 3
    assert client.tally.requests == 4 + 3  # two pages twice, and each movie once


def test_a_slice_that_never_adds_up_is_read_a_bounded_number_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, client = read(moving({1: [[1, 2]], 2: [[2]]}, 3), DAY, monkeypatch)
    assert ids(reading) == [1, 2]
    assert reading.expected == 3
    assert client.tally.requests == 2 * tmdb.READINGS + 2


def test_ids_that_answer_404_are_counted_and_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, _ = read(moving({1: [[1, 2]]}, 2, gone={2}), DAY, monkeypatch)
    assert (ids(reading), reading.gone) == ([1], {2})
    again, client = read(moving({1: [[1, 2]]}, 2, gone={2}), DAY, monkeypatch, skip={2})
    assert (ids(again), again.gone) == ([1], {2})
    assert client.tally.requests == 2


def test_changes_bring_only_the_movies_that_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    piece = Changes(date(2020, 1, 1), date(2020, 1, 2))
    reading, client = read(moving({1: [[1, 2, 3]]}, 3), piece, monkeypatch, only={2, 9})
    assert ids(reading) == [2]
    assert (reading.expected, client.tally.requests) == (1, 2)


def test_a_slice_over_10000_says_that_it_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TmdbError, match="cannot be cut"):
        read(moving({1: [[1]]}, 10_001), DAY, monkeypatch)


@pytest.mark.parametrize("answer", [httpx.Response(404), httpx.Response(200, json={"results": []})])
def test_a_list_that_is_none_is_an_error_and_not_nothing(
    answer: httpx.Response, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TmdbError, match=r"TMDB_BASE_URL|list of ids"):
        read(lambda _: answer, DAY, monkeypatch)


def test_coded_missing_values_become_missing() -> None:
    body = {"id": 5, "title": "x", "overview": "", "tagline": "", "budget": 0, "runtime": 0, "revenue": 0}
    body |= {"release_date": "", "vote_count": 0, "vote_average": 0.0, "imdb_id": "", "belongs_to_collection": None}
    read = record(body, now())
    for name in ("overview", "tagline", "budget", "runtime", "revenue", "release_date", "vote_average", "imdb_id"):
        assert read[name] is None
    assert read["cast"] == read["genres"] == []


BROKEN: list[dict[str, Any]] = [
    {"title": None},
    {"title": ""},
    {"vote_count": "many"},
    {"vote_count": -1},
    {"vote_average": 11.0},
    {"release_date": "soon"},
    {"release_date": "1066-10-14"},
    {"runtime": "long"},
    {"budget": -5},
    {"genres": [1]},
    {"credits": {"cast": [{"id": 1}]}},
]


@pytest.mark.parametrize("change", BROKEN)
def test_a_body_of_another_shape_is_refused_by_id_and_field(change: dict[str, Any]) -> None:
    body = {"id": 5, "title": "x", "vote_count": 3, "vote_average": 5.0} | change
    with pytest.raises(BadRecord, match=f"movie 5: {next(iter(change))}"):
        record(body, now())


@pytest.mark.shared
def test_a_recorded_movie_is_read_right() -> None:
    recorded = SHARED / "tmdb-api" / "recorded" / "movie-550-appended-2025-09.json"
    read = record(json.loads(recorded.read_text()), now())
    assert read["title"] == "Fight Club"
    assert [p["name"] for p in read["directors"]] == ["David Fincher"]
    assert read["cast"][0]["name"] == "Edward Norton"
    assert read["genres"] == ["Drama", "Thriller"]
    assert read["budget"] == 63_000_000
    assert {"id": "US", "name": "United States of America"} in read["production_countries"]
