from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from tasks.data import tmdb
from tasks.data.tmdb import RateLimiter, Reading, TmdbClient, TmdbError, TokenRefused, _seconds, gather
from tasks.data.windows import Changes, Window

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
        httpx.DecodingError("flipped"),
        httpx.Response(200, json={"success": False, "status_code": 11}),
        httpx.Response(200, text="[" * 100_000),
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


@pytest.mark.parametrize("kind", ["a label on plain JSON", "a flipped byte"])
def test_gzip_that_is_none_is_asked_for_again(kind: str) -> None:
    content = b'{"id": 1}' if kind == "a label on plain JSON" else bytearray(gzip.compress(json.dumps(PACKED).encode()))
    if isinstance(content, bytearray):
        content[60] ^= 0xFF
    asked = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if len(asked) > 1:
            return OK
        stream = httpx.ByteStream(bytes(content))  # undone while it is read, as from a socket
        return httpx.Response(200, headers={"content-encoding": "gzip"}, stream=stream)

    body, client = ask(handler)
    assert body == {"id": 1}
    assert client.tally.retries == {"DecodingError": 1}


PACKED = {str(n): n * 7919 % 1009 for n in range(200)}


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0),
        ("2.5", 2.5),
        ("nan", 0),
        ("inf", 0),
        ("-5", 0),
        ("1e9", 60),
        ("1e999", 0),
        ("soon", 0),
        ("", 0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 21 Oct 2115 07:28:00 GMT", 60),
        ("Wed, 99 Oct 2115 07:28:00 GMT", 0),
    ],
)
def test_retry_after_without_sense_costs_a_minute_at_most(header: str | None, seconds: float) -> None:
    assert _seconds(header) == seconds


def test_retry_after_may_be_a_date() -> None:
    assert 25 < _seconds(format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)) <= 30


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
    handler: Handler, piece: Window | Changes, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> tuple[Reading, TmdbClient]:
    async def run() -> tuple[Reading, TmdbClient]:
        async with TmdbClient("http://t/3", TOKEN, RateLimiter(1e4), httpx.MockTransport(handler)) as client:
            return await client.read(piece, **options), client

    monkeypatch.setattr(tmdb, "PAGE_SIZE", 2)
    return asyncio.run(run())


def body(movie_id: int, **changes: Any) -> dict[str, Any]:
    votes = {"vote_count": 0, "vote_average": 0.0}
    return {"id": movie_id, "title": "x", "credits": {"cast": [], "crew": []}} | votes | changes


def moving(pages: dict[int, list[list[int]]], total: int, gone: set[int] = frozenset()) -> Handler:  # type: ignore[assignment]
    """Answer each reading of a page with its next content, the last for ever."""

    def handler(request: httpx.Request) -> httpx.Response:
        if "/discover" not in request.url.path and "changes" not in request.url.path:
            movie_id = int(request.url.path.rsplit("/", 1)[1])
            assert request.url.params["append_to_response"] == "credits,keywords,release_dates"
            return httpx.Response(404) if movie_id in gone else httpx.Response(200, json=body(movie_id))
        readings = pages[int(request.url.params["page"])]
        rows = readings.pop(0) if len(readings) > 1 else readings[0]
        return httpx.Response(200, json={"total_results": total, "results": [{"id": i} for i in rows]})

    return handler


def ids(reading: Reading) -> list[int]:
    return sorted(movie["id"] for movie in reading.records)


DAY = Window(date(2020, 1, 1), date(2020, 1, 1), 20)


def test_rows_that_move_between_pages_are_neither_lost_nor_doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Page 2 repeats a row of page 1 on the first reading, and names the third on the second."""
    reading, client = read(moving({1: [[1, 2]], 2: [[2], [3]]}, 3), DAY, monkeypatch)
    assert ids(reading) == [1, 2, 3]
    assert reading.expected == 3
    assert client.tally.requests == 4 + 3  # two pages twice, and each movie once


def test_a_window_that_never_adds_up_is_read_a_bounded_number_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_window_over_10000_says_that_it_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TmdbError, match="cannot be cut"):
        read(moving({1: [[1]]}, 10_001), DAY, monkeypatch)


@pytest.mark.parametrize("answer", [httpx.Response(404), httpx.Response(200, json={"results": []})])
def test_a_list_that_is_none_is_an_error_and_not_nothing(
    answer: httpx.Response, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TmdbError, match="TMDB_BASE_URL"):
        read(lambda _: answer, DAY, monkeypatch)


def listing(*rows: Any, total: Any = None) -> httpx.Response:
    found = [row if isinstance(row, dict) else {"id": row} for row in rows]
    return httpx.Response(200, json={"total_results": len(rows) if total is None else total, "results": found})


def movies(answer: Callable[[int, int], httpx.Response], *listed: int) -> Handler:
    """List movies; answer the nth question for each by `answer(id, n)`."""
    asked: Counter[int] = Counter()

    def handler(request: httpx.Request) -> httpx.Response:
        if not request.url.path.rsplit("/", 1)[1].isdigit():
            page = int(request.url.params["page"])
            return listing(*listed[(page - 1) * tmdb.PAGE_SIZE : page * tmdb.PAGE_SIZE], total=len(listed))
        movie_id = int(request.url.path.rsplit("/", 1)[1])
        asked[movie_id] += 1
        return answer(movie_id, asked[movie_id])

    return handler


PASSING = [
    (httpx.Response(200, json={"success": False, "status_code": 11, "status_message": "Internal error"}), "success"),
    (httpx.Response(200, json={}), "no id"),
    (httpx.Response(200, json=body(1, id=None)), "no id"),
    (httpx.Response(200, json=body(1, credits={"success": False, "status_code": 11})), "no credits"),
    (httpx.Response(200, json={"id": 1, "title": "x", "vote_count": 1, "vote_average": 5.0}), "no credits"),
]


@pytest.mark.parametrize(("fault", "name"), PASSING)
def test_an_error_of_the_moment_is_no_fact(fault: httpx.Response, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def once(movie_id: int, time: int) -> httpx.Response:
        return fault if (movie_id, time) == (1, 1) else httpx.Response(200, json=body(movie_id))

    reading, _ = read(movies(once, 1, 2), DAY, monkeypatch)
    assert (ids(reading), reading.refused, reading.gone) == ([1, 2], {}, set())
    ((kind, times),) = reading.tally.retries.items()
    assert (name in kind, times) == (True, 1)


@pytest.mark.parametrize("fault", [*(fault for fault, _ in PASSING), httpx.Response(500), httpx.Response(403)])
def test_what_stays_unusable_costs_one_movie(fault: httpx.Response, monkeypatch: pytest.MonkeyPatch) -> None:
    def one_bad(movie_id: int, time: int) -> httpx.Response:
        return fault if movie_id == 1 else httpx.Response(200, json=body(movie_id))

    reading, _ = read(movies(one_bad, 1, 2, 3), DAY, monkeypatch)
    assert (ids(reading), reading.expected) == ([2, 3], 3)
    assert list(reading.refused) == [1]
    assert "movie 1" in reading.refused[1]
    assert (reading.refused_bodies, reading.unanswered) == ({}, {1})


def test_a_source_that_is_down_ends_the_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = range(1, 101)
    with pytest.raises(TmdbError, match=r"over 20 movies.*500"):
        read(movies(lambda *_: httpx.Response(500), *listed), DAY, monkeypatch)
    few = range(1, 21)
    reading, _ = read(movies(lambda *_: httpx.Response(500), *few), DAY, monkeypatch)
    assert len(reading.unanswered) == 20


def test_a_token_that_is_refused_on_the_way_ends_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TokenRefused):
        read(movies(lambda *_: httpx.Response(401), 1, 2), DAY, monkeypatch)


@pytest.mark.parametrize("listed", [(1, 2), (2, 1), (1,)])
def test_a_movie_merged_into_another_is_gone_and_the_other_is_taken_once(
    listed: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, _ = read(movies(lambda *_: httpx.Response(200, json=body(2)), *listed), DAY, monkeypatch)
    assert (ids(reading), reading.gone, reading.refused) == ([2], {1}, {})


def test_facts_that_were_lost_are_told_by_movie(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(movie_id: int, time: int) -> httpx.Response:
        wrong = {1: {"budget": 15_000_000_000}, 2: {"title": None}}.get(movie_id, {})
        return httpx.Response(200, json=body(movie_id, **wrong))

    reading, _ = read(movies(answer, 1, 2, 3), DAY, monkeypatch)
    assert ids(reading) == [1, 3]
    assert reading.lost == {1: ["budget: 15000000000 is over 2000000000"]}
    assert list(reading.refused) == list(reading.refused_bodies) == [2]


def test_known_movies_are_named_and_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(movie_id: int, time: int) -> httpx.Response:
        return httpx.Response(200, json=body(1 if movie_id == 4 else movie_id))

    reading, client = read(movies(answer, 1, 2, 3, 4), DAY, monkeypatch, have={1, 2, 9})
    assert (ids(reading), reading.named, reading.expected) == ([3], {1, 2, 3, 4}, 4)
    assert reading.gone == {4}  # merged into one that is known
    assert client.tally.requests == 2 + 2


def test_given_movies_are_read_without_a_list() -> None:
    async def run() -> tuple[Reading, TmdbClient]:
        def answer(movie_id: int, time: int) -> httpx.Response:
            return httpx.Response(404) if movie_id == 3 else httpx.Response(200, json=body(movie_id))

        transport = httpx.MockTransport(movies(answer))
        async with TmdbClient("http://t/3", TOKEN, RateLimiter(1e4), transport) as client:
            return await client.read_movies([1, 2, 3, 2]), client

    reading, client = asyncio.run(run())
    assert (ids(reading), reading.gone, reading.expected) == ([1, 2], {3}, 3)
    assert client.tally.requests == 3


MANY = Changes(date(2026, 6, 1), date(2026, 6, 14))


def changes_over_500_pages(request: httpx.Request) -> httpx.Response:
    if "changes" not in request.url.path:
        return httpx.Response(200, json=body(int(request.url.path.rsplit("/", 1)[1])))
    page = int(request.url.params["page"])
    if page > 500:
        return httpx.Response(400, json={"success": False, "status_code": 22})
    return listing(*range(page * 100, page * 100 + 100), total=52_000)


def test_changes_over_500_pages_are_counted_and_read_as_far_as_they_go(monkeypatch: pytest.MonkeyPatch) -> None:
    async def count() -> int:
        transport = httpx.MockTransport(changes_over_500_pages)
        async with TmdbClient("http://t/3", TOKEN, RateLimiter(1e4), transport) as client:
            return await client.count(MANY)

    assert asyncio.run(count()) == 52_000
    reading, client = read(changes_over_500_pages, MANY, monkeypatch, only={100, 50_099, 60_000})
    assert (ids(reading), reading.expected) == ([100, 50_099], 52_000)
    assert client.tally.requests == 500 + 2


@pytest.mark.parametrize("status", [400, 404, 422])
def test_a_page_that_is_no_more_leaves_the_window_incomplete(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = movies(lambda movie_id, _: httpx.Response(200, json=body(movie_id)), 1, 2, 3)

    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status) if request.url.params.get("page") == "2" else listed(request)

    reading, _ = read(handler, DAY, monkeypatch)
    assert (ids(reading), reading.expected) == ([1, 2], 3)


@pytest.mark.parametrize("total", [-1, "3", None, 1.5, True, 0])
def test_a_total_that_cannot_be_is_asked_for_again(total: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    absurd = httpx.Response(200, json={"total_results": total, "results": [{"id": 1}, {"id": 2}]})
    answer = movies(lambda movie_id, _: httpx.Response(200, json=body(movie_id)), 1, 2, 3)
    first = [absurd]
    reading, _ = read(lambda request: first.pop() if first else answer(request), DAY, monkeypatch)
    assert (ids(reading), reading.expected, reading.tally.retries) == ([1, 2, 3], 3, {"no total": 1})
    with pytest.raises(TmdbError, match="no total"):
        read(lambda _: absurd, DAY, monkeypatch)


def test_a_row_without_an_id_costs_that_row(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[Any] = [{"id": 1}, {"adult": False}, {"id": None}, {"id": 2**63}, {"id": "x"}, {"id": -1}]

    def handler(request: httpx.Request) -> httpx.Response:
        return listing(*rows) if "discover" in request.url.path else httpx.Response(200, json=body(1))

    reading, _ = read(handler, DAY, monkeypatch)
    assert (ids(reading), reading.expected) == ([1], 6)
