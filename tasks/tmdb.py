"""TMDB's HTTP API: read politely, retried within bounds, checked on arrival.

The token travels in the header only, and appears in no log, URL or error. A page over 500 does not exist, so a query
that holds more than 10,000 movies must be narrowed by its caller. Knows nothing of the store or of Prefect.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, TypeVar

import httpx

PAGE_SIZE, MAX_PAGE = 20, 500
MAX_RESULTS = PAGE_SIZE * MAX_PAGE
ATTEMPTS = 6
CONNECTIONS = 24
Item = TypeVar("Item")
Result = TypeVar("Result")
BILLED = 15  # actors kept of each movie, by billing

JOBS = {
    "directors": {"Director"},
    "writers": {"Writer", "Screenplay", "Author"},
    "producers": {"Producer"},
    "cinematographers": {"Director of Photography"},
    "composers": {"Original Music Composer", "Music"},
    "editors": {"Editor"},
}


class TmdbError(Exception):
    """TMDB gave no usable answer.

    TmdbError
    ├── TokenRefused   401: the token is wrong; nothing is retried
    └── BadRecord      a body does not have the shape of a movie
    """


class TokenRefused(TmdbError):
    """TMDB does not accept the token."""


class BadRecord(TmdbError):
    """A body is not a movie as TMDB describes one."""


class RateLimiter:
    """Let through at most `rate` requests a second, evenly spaced; shared by all clients of a process."""

    def __init__(self, rate: float) -> None:
        self.interval = 1 / rate
        self._next = 0.0

    async def wait(self) -> None:
        """Return when the next request may start."""
        now = time.monotonic()
        start = max(now, self._next)
        self._next = start + self.interval
        if start > now:
            await asyncio.sleep(start - now)

    def hold(self, seconds: float) -> None:
        """Let nothing through for `seconds`: the server asked for it."""
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
                    pause = max(pause, _seconds(response.headers.get("Retry-After")))
                    self._limiter.hold(pause)
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

    async def count(self, filters: dict[str, Any]) -> int:
        """Return how many movies a discover query holds."""
        body = await self.get("/discover/movie", {**filters, "page": 1}) or {}
        return int(body.get("total_results", 0))

    async def discover(self, filters: dict[str, Any]) -> tuple[list[int], int]:
        """Return the distinct ids of a discover query, and how many TMDB says that there are.

        Rows move between pages while they are read, so what does not add up is read once more and united.
        """
        ids: dict[int, None] = {}
        total = 0
        for _ in range(2):
            first = await self.get("/discover/movie", {**filters, "page": 1}) or {}
            total = int(first.get("total_results", 0))
            if total > MAX_RESULTS:
                raise TmdbError(f"the query {filters} holds {total} movies, over {MAX_RESULTS}: narrow it")
            pages = -(-total // PAGE_SIZE)
            rest = await gather(
                lambda page: self.get("/discover/movie", {**filters, "page": page}), range(2, pages + 1)
            )
            for body in [first, *rest]:
                ids.update(dict.fromkeys(int(row["id"]) for row in (body or {}).get("results", [])))
            if len(ids) >= total:
                break
        return list(ids), total

    async def movie(self, movie_id: int) -> dict[str, Any] | None:
        """Return the whole body of one movie, or None where there is none any more."""
        return await self.get(f"/movie/{movie_id}", {"append_to_response": "credits,keywords,release_dates"})


async def gather(
    function: Callable[[Item], Awaitable[Result]], items: Iterable[Item], progress: Callable[[], None] | None = None
) -> list[Result]:
    """Call an async function on each item, at most `CONNECTIONS` at once, and return the results in order.

    The first failure cancels the others and is raised.
    """
    gate = asyncio.Semaphore(CONNECTIONS)

    async def one(item: Item) -> Result:
        async with gate:
            result = await function(item)
        if progress:
            progress()
        return result

    try:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(one(item)) for item in items]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in running]


def filters(start: date, end: date, min_votes: int) -> dict[str, Any]:
    """The discover query for release dates from `start` to `end`, both inclusive, in an order that does not move."""
    query: dict[str, Any] = {
        "primary_release_date.gte": start.isoformat(),
        "primary_release_date.lte": end.isoformat(),
        "include_adult": "false",
        "include_video": "false",
        "sort_by": "primary_release_date.asc",
    }
    if min_votes:
        query["vote_count.gte"] = min_votes
    return query


def record(body: dict[str, Any], fetched_at: datetime) -> dict[str, Any]:
    """Turn a movie body into a record with the fields of `models.movie.FIELDS`: coded missing values become None.

    Raises BadRecord where the body does not have the shape that TMDB describes.
    """
    try:
        credits = body.get("credits") or {}
        crew = credits.get("crew") or []
        collection = body.get("belongs_to_collection")
        votes = int(body["vote_count"])
        billed = sorted(credits.get("cast") or [], key=lambda c: c.get("order", 10_000))
        return {
            "id": int(body["id"]),
            "imdb_id": body.get("imdb_id") or None,
            "title": str(body["title"]),
            "original_title": body.get("original_title") or None,
            "overview": body.get("overview") or None,
            "tagline": body.get("tagline") or None,
            "genres": [str(g["name"]) for g in body.get("genres") or []],
            "release_date": date.fromisoformat(body["release_date"]) if body.get("release_date") else None,
            "original_language": body.get("original_language") or None,
            "spoken_languages": [str(s["iso_639_1"]) for s in body.get("spoken_languages") or []],
            "runtime": float(body.get("runtime") or 0) or None,
            "budget": float(body.get("budget") or 0) or None,
            "production_companies": [_entity(c) for c in body.get("production_companies") or []],
            "production_countries": [_entity(c, "iso_3166_1") for c in body.get("production_countries") or []],
            "belongs_to_collection": _entity(collection) if collection else None,
            "cast": _distinct(billed)[:BILLED],
            **{role: _distinct([c for c in crew if c.get("job") in jobs]) for role, jobs in JOBS.items()},
            "vote_average": float(body["vote_average"]) if votes else None,
            "vote_count": votes,
            "popularity": float(body.get("popularity") or 0),
            "revenue": float(body.get("revenue") or 0) or None,
            "status": body.get("status") or None,
            "fetched_at": fetched_at,
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadRecord(f"movie {body.get('id')}: {type(error).__name__} {error}") from error


def now() -> datetime:
    """The time that records are stamped with, to the second, in UTC."""
    return datetime.now(UTC).replace(microsecond=0)


def _entity(item: dict[str, Any], key: str = "id") -> dict[str, str]:
    return {"id": str(item[key]), "name": str(item["name"])}


def _distinct(people: list[dict[str, Any]]) -> list[dict[str, str]]:
    return list({p["id"]: _entity(p) for p in people}.values())


def _seconds(header: str | None) -> float:
    try:
        return max(0.0, float(header)) if header else 0.0
    except ValueError:
        return 0.0
