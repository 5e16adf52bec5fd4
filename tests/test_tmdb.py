from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from conftest import SHARED

from tasks import tmdb
from tasks.tmdb import BadRecord, RateLimiter, TmdbClient, TmdbError, TokenRefused, filters, gather, now, record

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


def test_what_adds_up_only_on_a_second_reading_is_read_twice() -> None:
    """Rows move between pages: page 2 repeats a row of page 1 on the first reading."""
    pages = {1: [[1, 2], [1, 2]], 2: [[2], [3]]}

    def handler(request: httpx.Request) -> httpx.Response:
        rows = pages[int(request.url.params["page"])].pop(0)
        return httpx.Response(200, json={"total_results": 3, "results": [{"id": i} for i in rows]})

    async def run() -> tuple[list[int], int]:
        async with TmdbClient("http://t/3", TOKEN, RateLimiter(1e4), httpx.MockTransport(handler)) as client:
            return await client.discover({})

    tmdb_page_size = tmdb.PAGE_SIZE
    tmdb.PAGE_SIZE = 2
    try:
        assert asyncio.run(run()) == ([1, 2, 3], 3)
    finally:
        tmdb.PAGE_SIZE = tmdb_page_size


def test_the_query_is_in_an_order_that_does_not_move() -> None:
    from datetime import date

    query = filters(date(2020, 1, 1), date(2020, 1, 31), 20)
    assert query["sort_by"] == "primary_release_date.asc"
    assert query["vote_count.gte"] == 20
    assert "vote_count.gte" not in filters(date(2020, 1, 1), date(2020, 1, 31), 0)


def test_coded_missing_values_become_missing() -> None:
    body = {"id": 5, "title": "x", "overview": "", "tagline": "", "budget": 0, "runtime": 0, "revenue": 0}
    body |= {"release_date": "", "vote_count": 0, "vote_average": 0.0, "imdb_id": "", "belongs_to_collection": None}
    read = record(body, now())
    for name in ("overview", "tagline", "budget", "runtime", "revenue", "release_date", "vote_average", "imdb_id"):
        assert read[name] is None
    assert read["cast"] == read["genres"] == []


@pytest.mark.parametrize("change", [{"title": None}, {"vote_count": "many"}, {"release_date": "soon"}, {"genres": [1]}])
def test_a_body_of_another_shape_is_refused_by_id(change: dict[str, Any]) -> None:
    body = {"id": 5, "title": "x", "vote_count": 3, "vote_average": 5.0} | change
    body = {k: v for k, v in body.items() if v is not None}
    with pytest.raises(BadRecord, match="movie 5"):
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
