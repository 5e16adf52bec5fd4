"""TMDB's HTTP API: read politely, retried within bounds, checked on arrival.

The token travels in the header only, and appears in no log, URL or error. A page over 500 does not exist, so a query
that holds more than 10,000 movies must be narrowed by its caller. Knows nothing of the store or of Prefect.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol, TypeVar

import httpx

from models.body import APPENDED, BadRecord, has_credits, read_body
from tasks.foundation.clock import now
from tasks.foundation.retrying import Hopeless

PAGE_SIZE, MAX_PAGE, CHANGES_PAGE = 20, 500, 100
MAX_RESULTS = PAGE_SIZE * MAX_PAGE
ATTEMPTS = 6
READINGS = 3  # of a window that does not add up
CONNECTIONS = 24
MAX_PAUSE = 60.0  # seconds; a longer Retry-After is a mistake, or a task for the next run
MAX_FAILED = 20  # movies of one reading that give no usable answer; more, and TMDB itself is down
CHANGES = "/movie/changes"
Item = TypeVar("Item")
Result = TypeVar("Result")


class Listing(Protocol):
    """What names movies: a query window, or a range of changes."""

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def query(self) -> dict[str, Any]: ...


class TmdbError(Exception):
    """TMDB gave no usable answer.

    TmdbError
    ├── QueryRefused   400, 422, or 404 for a list: TMDB has no such page; nothing is retried
    └── TokenRefused   401: the token is wrong; nothing is retried
    """


class QueryRefused(TmdbError):
    """TMDB does not take a query, as one for a page after the last."""


class TokenRefused(TmdbError, Hopeless):
    """TMDB does not accept the token."""


class RateLimiter:
    """Let through at most `rate` requests a second, evenly spaced; shared by all clients of a process.

    It stays a little below, because a server that counts over sliding seconds sees the network's jitter too.
    """

    MARGIN = 0.985

    def __init__(self, rate: float) -> None:
        self.interval = 1 / (rate * self.MARGIN)
        self._next = 0.0
        self._lock = threading.Lock()

    async def wait(self) -> None:
        """Return when the next request may start."""
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next)
            self._next = start + self.interval
        if start > now:
            await asyncio.sleep(start - now)

    def hold(self, seconds: float) -> None:
        """Let nothing through for `seconds`: the server asked for it."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


@dataclass
class Tally:
    """What reading cost and what went wrong on the way."""

    requests: int = 0
    retries: Counter[str] = field(default_factory=Counter)


class TmdbClient:
    """An async client; use it as `async with`."""

    def __init__(
        self,
        base_url: str,
        token: str,
        limiter: RateLimiter,
        transport: httpx.AsyncBaseTransport | None = None,
        permit: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`permit` is awaited before each request, where others outside this process share the rate."""
        self.tally = Tally()
        self._limiter, self._permit = limiter, permit
        self._gate = asyncio.Semaphore(CONNECTIONS)
        self._http = httpx.AsyncClient(
            base_url=base_url,
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
            timeout=httpx.Timeout(30, connect=10),
            limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
            transport=transport,
        )

    async def __aenter__(self) -> TmdbClient:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._http.aclose()

    async def get(
        self,
        path: str,
        params: dict[str, Any] | None = None,
        fault_of: Callable[[dict[str, Any]], str | None] = lambda body: None,
    ) -> dict[str, Any] | None:
        """Return the JSON object at `path`, or None for 404.

        429, 5xx, whatever goes wrong on the way, and bodies that are no JSON object, that say that they are no success,
        or in which `fault_of` sees a fault, are tried again, up to `ATTEMPTS` times with growing, jittered pauses.
        Raises TokenRefused for 401, QueryRefused for 400 and 422, and TmdbError for anything else.
        """
        async with self._gate:
            for attempt in range(ATTEMPTS):
                body, fault, asked = await self._get_once(path, params, fault_of)
                if not fault:
                    return body
                self.tally.retries[fault] += 1
                pause = random.uniform(0.5, 1.0) * 2**attempt * 0.5  # noqa: S311 (jitter, no secret)
                if attempt < ATTEMPTS - 1:
                    await asyncio.sleep(max(pause, asked))
        raise TmdbError(f"GET {path}: no usable answer in {ATTEMPTS} attempts, the last one: {fault}")

    async def _get_once(
        self, path: str, params: dict[str, Any] | None, fault_of: Callable[[dict[str, Any]], str | None]
    ) -> tuple[dict[str, Any] | None, str | None, float]:
        """Return the body or None, the name of a fault that may pass, and the seconds that TMDB asks to wait."""
        if self._permit:
            await self._permit()
        await self._limiter.wait()
        self.tally.requests += 1
        try:
            response = await self._http.get(path, params=params)
        except httpx.RequestError as error:  # a dropped connection, or bytes that are not what they are said to be
            return None, type(error).__name__, 0.0
        match response.status_code:
            case 200:
                try:
                    body = response.json()
                except (ValueError, RecursionError):
                    return None, "no JSON", 0.0
                if not isinstance(body, dict):
                    return None, "not an object", 0.0
                return body, "success false" if body.get("success") is False else fault_of(body), 0.0
            case 404:
                return None, None, 0.0
            case 429:
                asked = _seconds(response.headers.get("Retry-After"))
                self._limiter.hold(asked or 0.05)  # a sliding second moves on: a moment frees some of it
                return None, "429", asked
            case code if code >= 500:
                return None, str(code), 0.0
            case 401:
                raise TokenRefused(
                    "TMDB refuses the token (401): set TMDB_API_TOKEN to a valid read access token, from "
                    "themoviedb.org, Settings, API"
                )
        refused = QueryRefused if response.status_code in (400, 422) else TmdbError
        raise refused(f"GET {path} {params or ''}: {response.status_code} {response.text[:200]!r}")

    async def count(self, piece: Listing) -> int:
        """Return how many movies a window or a range of changes holds."""
        return (await self._page(piece, 1))["total_results"]  # type: ignore[no-any-return]

    async def genres(self) -> list[int]:
        """Return the ids of all genres."""
        body = await self.get("/genre/movie/list", fault_of=lambda b: _no_list(b, "genres"))
        return _ids((body or {}).get("genres", []))

    async def read(
        self,
        piece: Listing,
        skip: Collection[int] = (),
        only: Collection[int] | None = None,
        have: Collection[int] = (),
    ) -> Reading:
        """Read all movies of a window, each once, whatever moves meanwhile.

        Movies are asked for as soon as a page names them. Where fewer movies were named than TMDB counts, because rows
        moved between pages, the pages are read again, and what came to light is added. `skip` names movies known to be
        gone; `only`, if given, the movies wanted; `have` those that need not be asked for: they count as named.
        """
        reading = Reading(known=set(have))
        async with self._asking(reading) as ask:
            await self._read_pages(piece, reading, ask, set(skip), only)
        return reading

    async def read_movies(self, ids: Collection[int]) -> Reading:
        """Read the movies of these ids, whatever lists name them."""
        wanted = set(ids)
        reading = Reading(expected=len(wanted), named=wanted)
        async with self._asking(reading) as ask:
            for movie_id in sorted(wanted):
                ask(movie_id)
        return reading

    @asynccontextmanager
    async def _asking(self, reading: Reading) -> AsyncIterator[Callable[[int], None]]:
        """Yield a function that asks for a movie; at the end of the block the answers to all are in the reading.

        A movie without a usable answer costs that movie; where more than `MAX_FAILED` have none, raises TmdbError.
        """
        self.tally = reading.tally

        async def movie(movie_id: int) -> None:
            try:
                body = await self.get(f"/movie/{movie_id}", {"append_to_response": APPENDED}, _no_movie)
            except TokenRefused:
                raise
            except TmdbError as error:
                reading.refused[movie_id] = f"movie {movie_id}: {error}"
                reading.unanswered.add(movie_id)
                if len(reading.unanswered) > MAX_FAILED:
                    raise TmdbError(f"over {MAX_FAILED} movies got no usable answer, the last one: {error}") from error
                return
            if body is None:
                reading.gone.add(movie_id)
            else:
                reading.take(movie_id, body)

        def ask(movie_id: int) -> None:
            group.create_task(movie(movie_id))

        try:
            async with asyncio.TaskGroup() as group:
                yield ask
        except ExceptionGroup as failures:
            raise _first(failures) from None

    async def _read_pages(
        self,
        piece: Listing,
        reading: Reading,
        ask: Callable[[int], None],
        skip: set[int],
        only: Collection[int] | None,
    ) -> None:
        named, rounds = reading.named, 1 if reading.known else READINGS  # what is known was read several times before

        async def page(number: int) -> int:
            try:
                body = await self._page(piece, number)
            except QueryRefused:
                if number == 1:
                    raise
                return 0  # the list became shorter meanwhile; what is still missing shows in the count
            for movie_id in _ids(body["results"]):
                if movie_id in named:
                    continue
                named.add(movie_id)
                if movie_id in skip:
                    reading.gone.add(movie_id)
                    reading.skipped.add(movie_id)
                elif movie_id not in reading.known and (only is None or movie_id in only):
                    ask(movie_id)
            return body["total_results"]  # type: ignore[no-any-return]

        for _ in range(rounds):
            total = await page(1)
            if total > MAX_RESULTS and piece.path != CHANGES:
                raise TmdbError(f"{piece.name} holds {total} movies, over {MAX_RESULTS}, and cannot be cut any further")
            pages = -(-total // _page_size(piece))
            async with asyncio.TaskGroup() as rest:
                for number in range(2, min(pages, MAX_PAGE) + 1):
                    rest.create_task(page(number))
            if len(named) >= total or pages > MAX_PAGE:
                break
        reading.expected = total if only is None or pages > MAX_PAGE else len(named.intersection(only))

    async def _page(self, piece: Listing, number: int) -> dict[str, Any]:
        """Return a page of the list that names a slice's movies: `results` is a list, `total_results` a count."""
        path, query = piece.path, piece.query
        try:
            body = await self.get(path, {**query, "page": number}, _no_page)
        except (TokenRefused, QueryRefused):
            raise
        except TmdbError as error:
            raise TmdbError(f"{piece.name}: {error}; is TMDB_BASE_URL right? It ends in /3") from error
        if body is None:
            raise QueryRefused(f"{piece.name}: {path} is not there (404); is TMDB_BASE_URL right? It ends in /3")
        return body


@dataclass
class Reading:
    """What a window held, and what reading it took.

    Movies become records as they arrive, so that no bodies pile up; those that do not fit the declared schema are kept
    as they are, beside the reason. Movies that gave no usable answer are refused, too, without a body.
    """

    records: list[dict[str, Any]] = field(default_factory=list)
    named: set[int] = field(default_factory=set)  # ids that the list named, or that were asked for
    known: set[int] = field(default_factory=set)  # ids of which no record is wanted: the caller's, and those taken
    lost: dict[int, list[str]] = field(default_factory=dict)  # facts lost, with the reason, by movie
    refused: dict[int, str] = field(default_factory=dict)
    refused_bodies: dict[int, str] = field(default_factory=dict)
    unanswered: set[int] = field(default_factory=set)  # those of the refused that have no body
    gone: set[int] = field(default_factory=set)
    skipped: set[int] = field(default_factory=set)  # those of the gone that were not asked: they were a short while ago
    expected: int = 0
    tally: Tally = field(default_factory=Tally)
    fetched_at: datetime = field(default_factory=now)

    def take(self, movie_id: int, body: dict[str, Any]) -> None:
        """Add a movie's body; one that was merged into another movie is gone, and that one is taken once."""
        try:
            movie, lost = read_body(body, self.fetched_at)
        except BadRecord as error:
            self.refused[movie_id] = str(error)
            self.refused_bodies[movie_id] = json.dumps(body)
            return
        if movie["id"] != movie_id:
            self.gone.add(movie_id)
        if movie["id"] not in self.known:
            self.known.add(movie["id"])
            self.records.append(movie)
            if lost:
                self.lost[movie["id"]] = lost


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first failure in a group of groups."""
    failure = failures.exceptions[0]
    return _first(failure) if isinstance(failure, BaseExceptionGroup) else failure


def _page_size(piece: Listing) -> int:
    """Return how many movies a page of a list names."""
    return CHANGES_PAGE if piece.path == CHANGES else PAGE_SIZE


def _no_movie(body: dict[str, Any]) -> str | None:
    return "no id" if body.get("id") is None else None if has_credits(body) else "no credits"


def _no_list(body: dict[str, Any], name: str) -> str | None:
    return None if isinstance(body.get(name), list) else f"no {name}"


def _no_page(body: dict[str, Any]) -> str | None:
    """Name the fault of a page of a list: without a count that can be true nobody knows whether it was read whole."""
    total = body.get("total_results")
    return _no_list(body, "results") or (None if type(total) is int and total >= len(body["results"]) else "no total")


def _ids(rows: list[Any]) -> list[int]:
    """Return the ids of a list's rows; a row without one that can be asked for shows in the count."""
    ids = [row.get("id") for row in rows if isinstance(row, dict)]
    return [each for each in ids if type(each) is int and 0 < each < 2**63]


async def gather(function: Callable[[Item], Awaitable[Result]], items: Iterable[Item]) -> list[Result]:
    """Call an async function on each item, at most `CONNECTIONS` at once, and return the results in order.

    The first failure cancels the others and is raised.
    """
    gate = asyncio.Semaphore(CONNECTIONS)

    async def one(item: Item) -> Result:
        async with gate:
            return await function(item)

    try:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(one(item)) for item in items]
    except ExceptionGroup as failures:
        raise _first(failures) from None
    return [task.result() for task in running]


def _seconds(header: str | None) -> float:
    """Return the seconds of a Retry-After, at most `MAX_PAUSE`; one that makes no sense asks for none."""
    text = header or ""
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(text).astimezone(UTC) - datetime.now(UTC)).total_seconds()
        except (ValueError, OverflowError):
            return 0.0
    return min(max(seconds, 0.0), MAX_PAUSE) if math.isfinite(seconds) else 0.0
