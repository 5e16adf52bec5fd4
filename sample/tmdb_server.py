"""A stand-in for TMDB: its HTTP contract over any movie bodies, strictly.

    python -m sample.tmdb_server --port 8400 details.jsonl.gz more.jsonl
    python -m sample.tmdb_server --today 2026-03-01 --trend=-0.5=2026-01-01 --shock cast=2026-02-01 --faults 0.05

Without a file it serves the synthetic sample catalogue. With a day, or a file that holds one and may be rewritten, it
knows of each movie what TMDB would know on that day (sample/living.py); of recorded movies only one day's facts are
known, so that what it says of their earlier days is invented, votes included.

Paging ends at page 500 as TMDB's does; a filter that it does not know is an error, where TMDB would silently ignore it.
It listens on loopback and prints its address when ready.
"""

from __future__ import annotations

import argparse
import gzip
import json
import operator
import random
import socket
import sys
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from sample import generator, living
from sample.living import Life, World

PAGE_SIZE, MAX_PAGE, CHANGES_PAGE = 20, 500, 100
APPENDABLE = {"credits", "keywords", "release_dates"}
LISTED: tuple[str, ...] = (
    "adult",
    "id",
    "original_language",
    "original_title",
    "overview",
    "popularity",
    "poster_path",
)
LISTED += ("release_date", "title", "video", "vote_average", "vote_count")
SORTS = ("original_title", "popularity", "primary_release_date", "revenue", "title", "vote_average", "vote_count")
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {"gte": operator.ge, "lte": operator.le}
FAULTS = ("500", "503", "html", "cut", "429")


class ApiError(Exception):
    """An answer that is not 200, with TMDB's own code and message."""

    def __init__(self, http: int, code: int, message: str) -> None:
        super().__init__(message)
        self.http, self.code = http, code

    def response(self) -> JSONResponse:
        return JSONResponse({"success": False, "status_code": self.code, "status_message": str(self)}, self.http)


class Catalogue:
    """Movie bodies by id, packed, with what lists and filters need beside them."""

    def __init__(self, bodies: Iterable[dict[str, Any]]) -> None:
        self._fill(bodies)

    @property
    def today(self) -> date:
        """The day that it is at the server."""
        return datetime.now(UTC).date()

    def turn(self) -> None:
        """Become what the present day says, before an answer: nothing, where one day is as the other."""

    def changed(self, start: date, end: date) -> list[int]:
        """Return the ids that changed in a range of days: movies released in it, as no history is kept."""
        return [
            i for i, row in self.rows.items() if start.isoformat() <= (row["release_date"] or "") <= end.isoformat()
        ]

    def _fill(self, bodies: Iterable[dict[str, Any]]) -> None:
        self.packed: dict[int, bytes] = {}
        self.rows: dict[int, dict[str, Any]] = {}
        self.genres: dict[int, str] = {}
        for body in bodies:
            movie_id = int(body["id"])
            self.packed[movie_id] = zlib.compress(json.dumps(body).encode(), 1)
            row = {name: body.get(name) for name in LISTED} | {"genre_ids": [g["id"] for g in body.get("genres") or []]}
            self.rows[movie_id] = row | {"revenue": body.get("revenue") or 0}
            self.genres |= {g["id"]: g["name"] for g in body.get("genres") or []}

    def body(self, movie_id: int) -> dict[str, Any] | None:
        packed = self.packed.get(movie_id)
        return json.loads(zlib.decompress(packed)) if packed else None


class LivingCatalogue(Catalogue):
    """The same of movies that live: what is known of each on the day that a clock says."""

    def __init__(self, lives: list[Life], clock: Callable[[], date]) -> None:
        self._lives, self._clock = lives, clock
        self._day = clock()
        self._fill(living.bodies(lives, self._day))

    @property
    def today(self) -> date:
        """The day that it is at the server."""
        return self._day

    def turn(self) -> None:
        """Become what the clock's day says."""
        day = self._clock()
        if day != self._day:
            self._day = day
            self._fill(living.bodies(self._lives, day))

    def changed(self, start: date, end: date) -> list[int]:
        """Return the ids that changed in a range of days, those that are gone since then, too."""
        return living.changes(self._lives, start, min(end, self._day))


def read_bodies(paths: Iterable[Path]) -> Iterable[dict[str, Any]]:
    """Read JSON lines, gzipped or not; of an id that comes twice the first counts."""
    seen = set()
    for path in paths:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
            for line in lines:
                body = json.loads(line)
                if body["id"] not in seen:
                    seen.add(body["id"])
                    yield body


def app(
    movies: Catalogue, token: str | None = None, rate: int = 0, latency: float = 0.0, faults: float = 0.0, seed: int = 0
) -> ASGIApp:
    """Build the ASGI app. `rate` is requests a second (0: no limit), `faults` the share of answers that fail."""

    async def discover(request: Request) -> Response:
        query = dict(request.query_params)
        page = _page(query)
        found = sorted(_matching(movies, query), key=lambda row: row["id"])
        field, _, direction = query.get("sort_by", "popularity.desc").partition(".")
        if field not in SORTS or direction not in ("asc", "desc"):
            raise ApiError(400, 5, f"Invalid parameters: sort_by {query['sort_by']!r} is unknown.")
        name = "release_date" if field == "primary_release_date" else field
        # What is missing sorts as nothing: first in rising order, last in falling.
        found.sort(key=lambda row: (bool(row[name]), row[name] or 0), reverse=direction == "desc")
        results = [
            {k: v for k, v in row.items() if k != "revenue"} for row in found[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]
        ]
        return _paged(results, page, len(found), PAGE_SIZE)

    async def movie(request: Request) -> Response:
        appended = [name for name in request.query_params.get("append_to_response", "").split(",") if name]
        if len(appended) > 20:
            raise ApiError(400, 27, "Too many append to response objects: The maximum number of remote calls is 20.")
        body = movies.body(request.path_params["movie_id"])
        if body is None:
            raise ApiError(404, 34, "The resource you requested could not be found.")
        empty: dict[str, Any] = {
            "credits": {"cast": [], "crew": []},
            "keywords": {"keywords": []},
            "release_dates": {"results": []},
        }
        parts = {name: body.get(name, empty[name]) for name in appended if name in APPENDABLE}
        return JSONResponse({k: v for k, v in body.items() if k not in APPENDABLE} | parts)

    async def changes(request: Request) -> Response:
        query = request.query_params
        end = _day(query["end_date"]) if "end_date" in query else movies.today
        start = _day(query["start_date"]) if "start_date" in query else end - timedelta(days=1)
        if (end - start).days > 14 or end < start:
            raise ApiError(422, 20, "Invalid date range: Should be a range no longer than 14 days.")
        page = _page(dict(query))
        ids = sorted(movies.changed(start, end))
        rows = [{"id": i, "adult": False} for i in ids[(page - 1) * CHANGES_PAGE : page * CHANGES_PAGE]]
        return _paged(rows, page, len(ids), CHANGES_PAGE)

    async def genres(request: Request) -> Response:
        return JSONResponse({"genres": [{"id": i, "name": name} for i, name in sorted(movies.genres.items())]})

    async def not_found(request: Request, error: Exception) -> Response:
        return ApiError(404, 34, "The resource you requested could not be found.").response()

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)
        return error.response()

    routes = [
        Route("/3/discover/movie", discover),
        Route("/3/movie/changes", changes),
        Route("/3/movie/{movie_id:int}", movie),
        Route("/3/genre/movie/list", genres),
    ]
    answer = Starlette(routes=routes, exception_handlers={ApiError: refused, 404: not_found})

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        movies.turn()
        await answer(scope, receive, send)

    return _Gate(inner, token, rate, latency, faults, seed)


class _Gate:
    """What stands before every answer: latency, faults, the rate limit and the token."""

    def __init__(self, inner: ASGIApp, token: str | None, rate: int, latency: float, faults: float, seed: int) -> None:
        self.inner, self.token, self.rate, self.latency, self.faults = inner, token, rate, latency, faults
        self.recent: deque[float] = deque()
        self.requests = 0  # all that came, refused ones too
        self.rng = random.Random(seed)  # noqa: S311 (reproducible, no secret)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.inner(scope, receive, send)
        self.requests += 1
        if self.latency:
            await anyio.sleep(self.latency)
        response = self._refusal(Request(scope))
        await (response or self.inner)(scope, receive, send)

    def _refusal(self, request: Request) -> Response | None:
        now = time.monotonic()
        while self.recent and self.recent[0] <= now - 1:
            self.recent.popleft()
        if self.rate and len(self.recent) >= self.rate:
            return self._too_many()
        self.recent.append(now)
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
        given = bearer or request.query_params.get("api_key", "")
        if not given or (self.token is not None and given != self.token):
            return ApiError(401, 7, "Invalid API key: You must be granted a valid key.").response()
        if self.rng.random() < self.faults:
            return self._fault(self.rng.choice(FAULTS))
        return None

    def _fault(self, kind: str) -> Response:
        if kind == "429":
            return self._too_many()
        if kind == "html":
            return Response("<html><body>Bad gateway</body></html>", media_type="text/html")
        if kind == "cut":
            return StreamingResponse(iter([b'{"page": 1, "resu']), headers={"content-length": "5000"})
        return ApiError(int(kind), 11, "Internal error: Something went wrong, contact TMDb.").response()

    def _too_many(self) -> Response:
        return ApiError(429, 25, f"Your request count (#) is over the allowed limit of ({self.rate or 40}).").response()


def _matching(movies: Catalogue, query: dict[str, str]) -> list[dict[str, Any]]:
    """Return the rows that pass every filter of a discover query."""
    tests: list[Callable[[dict[str, Any]], bool]] = []
    for name, value in query.items():
        field, _, bound = name.partition(".")
        if field == "primary_release_date" and bound in COMPARISONS:
            tests.append(partial(_compare, "release_date", COMPARISONS[bound], _day(value).isoformat()))
        elif field == "vote_count" and bound in COMPARISONS:
            tests.append(partial(_compare, field, COMPARISONS[bound], _number(name, value)))
        elif name == "with_original_language":
            tests.append(partial(_one_of, "original_language", set(value.split("|"))))
        elif name in ("with_genres", "without_genres"):
            wanted = {int(_number(name, part)) for part in value.replace("|", ",").split(",")}
            tests.append(partial(_has_genres, wanted, "|" in value, name == "with_genres"))
        elif name in ("include_adult", "include_video"):
            if value not in ("true", "false"):
                raise ApiError(400, 5, f"Invalid parameters: {name} must be true or false.")
        elif name not in ("page", "sort_by", "language", "region", "api_key"):
            raise ApiError(400, 5, f"Invalid parameters: this stand-in does not know the filter {name}.")
    for flag in ("adult", "video"):
        if query.get(f"include_{flag}", "false") == "false":
            tests.append(partial(_one_of, flag, {False, None}))
    return [row for row in movies.rows.values() if all(test(row) for test in tests)]


def _compare(field: str, comparison: Callable[[Any, Any], bool], bound: Any, row: dict[str, Any]) -> bool:
    return row[field] not in (None, "") and comparison(row[field], bound)


def _one_of(field: str, wanted: set[Any], row: dict[str, Any]) -> bool:
    return row[field] in wanted


def _has_genres(wanted: set[int], either: bool, keep: bool, row: dict[str, Any]) -> bool:
    """A comma asks for all of the genres, a pipe for any; `without` refuses any."""
    found = wanted & set(row["genre_ids"])
    if not keep:
        return not found
    return bool(found) if either else found == wanted


def _page(query: dict[str, str]) -> int:
    page = query.get("page", "1")
    if not page.isdigit() or not 1 <= int(page) <= MAX_PAGE:
        raise ApiError(400, 22, "Invalid page: Pages start at 1 and max at 500. They are expected to be an integer.")
    return int(page)


def _paged(results: list[Any], page: int, total: int, size: int) -> Response:
    return JSONResponse({"page": page, "results": results, "total_pages": -(-total // size), "total_results": total})


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ApiError(400, 5, f"Invalid parameters: {text!r} is not a date.") from None


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ApiError(400, 5, f"Invalid parameters: {name} must be a number.") from None


def options_of(arguments: Sequence[str]) -> argparse.Namespace:
    """Return what the command line says; exits, with what is wrong, where it cannot be read."""
    parser = argparse.ArgumentParser(description="Serve movie bodies as TMDB would, on loopback.")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="JSONL or JSONL.gz of movie bodies")
    parser.add_argument("--port", type=int, default=8400, help="0 takes a free one")
    parser.add_argument("--token", help="the only token that is accepted; any, if not given")
    parser.add_argument("--rate", type=int, default=0, help="requests a second before it answers 429; 0: no limit")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--faults", type=float, default=0.0, help="share of answers that fail: 5xx, HTML, cut, 429")
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    parser.add_argument("--movies", type=int, default=generator.MOVIES, help="how many the sample makes")
    parser.add_argument("--first", type=date.fromisoformat, default=generator.FIRST_DAY, help="the sample's first day")
    clock = parser.add_mutually_exclusive_group()
    clock.add_argument("--today", type=date.fromisoformat, help="serve what is known on this day")
    clock.add_argument("--clock", type=Path, help="serve what is known on the day that this file holds")
    parser.add_argument("--trend", type=_trend, metavar="POINTS=DAY", help="rating points a year, from a day on")
    parser.add_argument(
        "--shock", type=_shock, action="append", default=[], metavar="NAME=DAY",
        help=f"from a day on: {', '.join(living.SHOCKS)} (sample/living.py)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    if (options.trend or options.shock) and not (options.today or options.clock):
        parser.error("--trend and --shock need a day: give --today or --clock")
    return options


def _trend(text: str) -> tuple[float, date]:
    points, _, day = text.partition("=")
    return float(points), date.fromisoformat(day)


def _shock(text: str) -> tuple[str, date]:
    name, _, day = text.partition("=")
    if name not in living.SHOCKS:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(living.SHOCKS)}")
    return name, date.fromisoformat(day)


def catalogue_of(options: argparse.Namespace) -> Catalogue:
    """Return what is served: files or the sample, as they are or as known on a day."""

    def clock() -> date:
        return options.today or date.fromisoformat(options.clock.read_text().strip())

    today = datetime.now(UTC).date()
    if not options.today and not options.clock:
        made = generator.movies(today, count=options.movies, first=options.first)
        return Catalogue(read_bodies(options.files) if options.files else made)
    return LivingCatalogue(lives_of(options), clock)


def lives_of(options: argparse.Namespace) -> list[Life]:
    """Return the lives of what is served, in the world that the options make."""
    finished = generator.movies(generator.LAST_DAY, count=options.movies, first=options.first)
    trend, since = options.trend or (0.0, date.max)
    world = World(trend, since, dict(options.shock))
    return living.lives(read_bodies(options.files) if options.files else finished, world)


def main() -> None:
    """Serve files, or the sample, until stopped."""
    options = options_of(sys.argv[1:])
    built = app(catalogue_of(options), options.token, options.rate, options.latency, options.faults, options.seed)
    listener = socket.create_server(("127.0.0.1", options.port))
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/3", flush=True)
    config = uvicorn.Config(built, log_level="critical", access_log=False)  # a cut answer is no news here
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
