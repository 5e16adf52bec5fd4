"""TMDB's HTTP API: read politely, retried within bounds, checked on arrival.

The token travels in the header only, and appears in no log, URL or error. A page over 500 does not exist, so a query
that holds more than 10,000 movies must be narrowed by its caller. Knows nothing of the store or of Prefect.
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import httpx

from models.body import APPENDED, BadRecord, record
from tasks.slices import Changes, Slice

PAGE_SIZE, MAX_PAGE, CHANGES_PAGE = 20, 500, 100
MAX_RESULTS = PAGE_SIZE * MAX_PAGE
ATTEMPTS = 6
READINGS = 3  # of a slice that does not add up
CONNECTIONS = 24
Item = TypeVar("Item")
Result = TypeVar("Result")


class TmdbError(Exception):
    """TMDB gave no usable answer.

    TmdbError
    └── TokenRefused   401: the token is wrong; nothing is retried
    """


class TokenRefused(TmdbError):
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
        self, base_url: str, token: str, limiter: RateLimiter, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.tally = Tally()
        self._limiter = limiter
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

    async def get(self, path: str, params: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """Return the JSON object at `path`, or None for 404.

        429, 5xx, dropped connections and bodies that are no JSON object are tried again, up to `ATTEMPTS` times with
        growing, jittered pauses. Raises TokenRefused for 401 and TmdbError for anything else.
        """
        for attempt in range(ATTEMPTS):
            await self._limiter.wait()
            self.tally.requests += 1
            pause = random.uniform(0.5, 1.0) * 2**attempt * 0.5  # noqa: S311 (jitter, no secret)
            try:
                response = await self._http.get(path, params=params)
                if response.status_code == 200:
                    body = response.json()
                    if isinstance(body, dict):
                        return body
                    fault = "not an object"
                elif response.status_code == 404:
                    return None
                elif response.status_code == 401:
                    raise TokenRefused(
                        "TMDB refuses the token (401): set TMDB_API_TOKEN to a valid read access token, from "
                        "themoviedb.org, Settings, API"
                    )
                elif response.status_code == 429:
                    fault = "429"
                    asked = _seconds(response.headers.get("Retry-After"))
                    self._limiter.hold(asked or 0.05)  # a sliding second moves on: a moment frees some of it
                    pause = max(pause, asked)
                elif response.status_code >= 500:
                    fault = str(response.status_code)
                else:
                    raise TmdbError(f"GET {path} {params or ''}: {response.status_code} {response.text[:200]}")
            except httpx.TransportError as error:
                fault = type(error).__name__
            except ValueError:
                fault = "no JSON"
            self.tally.retries[fault] += 1
            if attempt < ATTEMPTS - 1:
                await asyncio.sleep(pause)
        raise TmdbError(f"GET {path}: no usable answer in {ATTEMPTS} attempts, the last one: {fault}")

    async def count(self, piece: Slice) -> int:
        """Return how many movies a slice holds."""
        return _total(await self.get("/discover/movie", {**piece.query, "page": 1}), piece)

    async def genres(self) -> list[int]:
        """Return the ids of all genres."""
        body = await self.get("/genre/movie/list") or {}
        return [int(genre["id"]) for genre in body.get("genres", [])]

    async def read(
        self, piece: Slice | Changes, skip: Collection[int] = (), only: Collection[int] | None = None
    ) -> Reading:
        """Read all movies of a slice, each once, whatever moves meanwhile.

        Movies are asked for as soon as a page names them. Where fewer movies were named than TMDB counts, because rows
        moved between pages, the pages are read again, and what came to light is added. `skip` names movies known to be
        gone; `only`, if given, the movies wanted.
        """
        reading = Reading()
        self.tally = reading.tally
        try:
            async with asyncio.TaskGroup() as group:
                await self._read_pages(piece, reading, group, set(skip), only)
        except ExceptionGroup as failures:
            raise _first(failures) from None
        return reading

    async def _read_pages(
        self,
        piece: Slice | Changes,
        reading: Reading,
        group: asyncio.TaskGroup,
        skip: set[int],
        only: Collection[int] | None,
    ) -> None:
        gate = asyncio.Semaphore(CONNECTIONS)
        named: set[int] = set()

        async def movie(movie_id: int) -> None:
            async with gate:
                body = await self.get(f"/movie/{movie_id}", {"append_to_response": APPENDED})
            if body is None:
                reading.gone.add(movie_id)
            else:
                reading.take(movie_id, body)

        async def page(number: int) -> int:
            path, query, _ = _listing(piece)
            async with gate:
                body = await self.get(path, {**query, "page": number})
            for movie_id in _ids(body, piece):
                if movie_id in named:
                    continue
                named.add(movie_id)
                if movie_id in skip:
                    reading.gone.add(movie_id)
                elif only is None or movie_id in only:
                    group.create_task(movie(movie_id))
            return _total(body, piece)

        for _ in range(READINGS):
            total = await page(1)
            if total > MAX_RESULTS and isinstance(piece, Slice):
                raise TmdbError(f"{piece.name} holds {total} movies, over {MAX_RESULTS}, and cannot be cut any further")
            pages = -(-total // _listing(piece)[2])
            async with asyncio.TaskGroup() as rest:
                for number in range(2, pages + 1):
                    rest.create_task(page(number))
            if len(named) >= total:
                break
        reading.expected = total if only is None else len(named.intersection(only))


@dataclass
class Reading:
    """What a slice held, and what reading it took.

    Movies become records as they arrive, so that no bodies pile up; those that do not fit the declared schema are kept
    as they are, beside the reason.
    """

    records: list[dict[str, Any]] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)
    refused_bodies: dict[int, str] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)
    expected: int = 0
    tally: Tally = field(default_factory=Tally)
    fetched_at: datetime = field(default_factory=lambda: now())

    def take(self, movie_id: int, body: dict[str, Any]) -> None:
        """Add a movie's body."""
        try:
            self.records.append(record(body, self.fetched_at))
        except BadRecord as error:
            self.refused[movie_id] = str(error)
            self.refused_bodies[movie_id] = json.dumps(body)


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first failure in a group of groups."""
    failure = failures.exceptions[0]
    return _first(failure) if isinstance(failure, BaseExceptionGroup) else failure


def _listing(piece: Slice | Changes) -> tuple[str, dict[str, Any], int]:
    """Return path, query and page size of the list that names a slice's movies."""
    if isinstance(piece, Slice):
        return "/discover/movie", piece.query, PAGE_SIZE
    return "/movie/changes", {"start_date": str(piece.start), "end_date": str(piece.end)}, CHANGES_PAGE


def _ids(body: dict[str, Any] | None, piece: Slice | Changes) -> list[int]:
    try:
        return [int(row["id"]) for row in (body or {})["results"]]
    except (KeyError, TypeError, ValueError) as error:
        raise TmdbError(f"{piece.name}: a page has no list of ids: {error!r}") from error


def _total(body: dict[str, Any] | None, piece: Slice | Changes) -> int:
    total = (body or {}).get("total_results")
    if not isinstance(total, int) or total < 0:
        raise TmdbError(
            f"{piece.name}: no list of movies, or one that does not say how many it holds; is TMDB_BASE_URL right? "
            "It ends in /3"
        )
    return total


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


def now() -> datetime:
    """The time that records are stamped with, to the second, in UTC."""
    return datetime.now(UTC).replace(microsecond=0)


def _seconds(header: str | None) -> float:
    try:
        return max(0.0, float(header)) if header else 0.0
    except ValueError:
        return 0.0
