"""A movie as TMDB writes it, and the record that we keep of it. Knows nothing of how it is fetched.

A wrong fact costs that fact and not the movie: it is taken out, and said. Only what makes a movie that movie, or what
is learned, refuses it: id, title and votes. What is kept has the types and the limits of `models.movie.Movie`.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from models.movie import (
    MAX_BUDGET,
    MAX_GENRES,
    MAX_LANGUAGES,
    MAX_NAMED,
    MAX_RATING,
    MAX_RUNTIME,
    MAX_VOTES,
    MIN_RATING,
    Amount,
    Code,
    Day,
    Name,
    Text,
)

APPENDED = "credits,keywords,release_dates"  # what is asked for with a movie
BILLED = 15  # actors kept of each movie, by billing

JOBS = {
    "directors": {"Director"},
    "writers": {"Writer", "Screenplay", "Author"},
    "producers": {"Producer"},
    "cinematographers": {"Director of Photography"},
    "composers": {"Original Music Composer", "Music"},
    "editors": {"Editor"},
}


ESSENTIAL = ("id", "title", "vote_average", "vote_count")  # what is wrong in these is wrong with the movie
ENTITY = ("id", "name", "iso_3166_1", "iso_639_1")  # what is wrong in these is wrong with a person, company, …
LEAST_VOTE = 0.5  # TMDB's; a mean below it was never voted
MOST_LOST = 20  # facts lost of one movie that are named
_UNWRITABLE = re.compile("[\x00\ud800-\udfff]")  # NUL and surrogates: PostgreSQL, Parquet and UTF-8 cannot hold them


class BadRecord(ValueError):
    """A body is not a movie as TMDB describes one.

    BadRecord
    └── NoCredits   the credits that were asked for did not come; another try may bring them
    """


class NoCredits(BadRecord):
    """A body came without the credits that were asked for, which is not a movie without cast."""


Id = Annotated[int, Field(ge=0, lt=2**63)]  # what Parquet and SQL can hold


class _Named(BaseModel):
    model_config = ConfigDict(strict=True)
    id: Id
    name: Name


class _Country(BaseModel):
    model_config = ConfigDict(strict=True)
    iso_3166_1: Annotated[str, Field(min_length=1, max_length=32)]
    name: Name


class _Language(BaseModel):
    model_config = ConfigDict(strict=True)
    iso_639_1: Code


class _Credit(_Named):
    order: int = 10_000
    job: str = ""


class _Credits(BaseModel):
    cast: list[_Credit] = []
    crew: list[_Credit] = []


class Body(BaseModel):
    """The declared schema of `/movie/{id}` with credits appended: what a record is made from. Other keys may come."""

    model_config = ConfigDict(strict=True)
    id: Annotated[Id, Field(gt=0)]
    imdb_id: Annotated[str, Field(max_length=16)] | None = None
    title: Name
    original_title: Text | None = None
    overview: Text | None = None
    tagline: Text | None = None
    genres: list[_Named] = []
    release_date: Day = None
    original_language: Code | None = None
    spoken_languages: list[_Language] = []
    runtime: Annotated[Amount, Field(le=MAX_RUNTIME)] | None = None
    budget: Annotated[Amount, Field(le=MAX_BUDGET)] | None = None
    production_companies: list[_Named] = []
    production_countries: list[_Country] = []
    belongs_to_collection: _Named | None = None
    credits: _Credits = _Credits()
    vote_average: Annotated[float, Field(ge=MIN_RATING, le=MAX_RATING, allow_inf_nan=False)] | None = None
    vote_count: Annotated[int, Field(ge=0, le=MAX_VOTES)] | None = None
    popularity: Amount | None = None
    revenue: Amount | None = None
    status: Annotated[str, Field(max_length=32)] | None = None
    poster_path: Text | None = None


def record(body: dict[str, Any], fetched_at: datetime) -> dict[str, Any]:
    """Turn a movie body into a record, as `read_body` does, whatever facts it loses."""
    return read_body(body, fetched_at)[0]


def read_body(body: dict[str, Any], fetched_at: datetime) -> tuple[dict[str, Any], list[str]]:
    """Turn a movie body into a record with the fields of `models.movie.FIELDS`; say which facts were lost, and why.

    Coded missing values become None. Raises BadRecord, naming movie, field and rule, where it is no movie to learn
    from, and NoCredits where the credits did not come.
    """
    movie, lost = _movie(body)
    if not has_credits(body):
        raise NoCredits(f"movie {movie.id}: credits: were asked for and did not come: collect it again")
    for name in ("vote_average", "vote_count"):
        if getattr(movie, name) is None:
            lost.append(f"{name}: is missing, so there is no rating")
    votes, average = movie.vote_count or 0, movie.vote_average or 0.0
    collection = movie.belongs_to_collection
    billed = sorted(movie.credits.cast, key=lambda credit: credit.order)
    kept = {
        "id": movie.id,
        "imdb_id": movie.imdb_id or None,
        "title": movie.title,
        "original_title": movie.original_title or None,
        "overview": movie.overview or None,
        "tagline": movie.tagline or None,
        "genres": [genre.name for genre in movie.genres][:MAX_GENRES],
        "release_date": movie.release_date,
        "original_language": movie.original_language or None,
        "spoken_languages": [language.iso_639_1 for language in movie.spoken_languages][:MAX_LANGUAGES],
        "runtime": movie.runtime or None,
        "budget": movie.budget or None,
        "production_companies": _distinct(movie.production_companies),
        "production_countries": [{"id": c.iso_3166_1, "name": c.name} for c in movie.production_countries][:MAX_NAMED],
        "belongs_to_collection": {"id": str(collection.id), "name": collection.name} if collection else None,
        "cast": _distinct(billed)[:BILLED],
        **{role: _distinct(c for c in movie.credits.crew if c.job in jobs) for role, jobs in JOBS.items()},
        "vote_average": average if votes and average >= LEAST_VOTE else None,
        "vote_count": votes,
        "popularity": movie.popularity,
        "revenue": movie.revenue or None,
        "status": movie.status or None,
        "poster_path": movie.poster_path or None,
        "fetched_at": fetched_at,
    }
    return kept, lost


def has_credits(body: dict[str, Any]) -> bool:
    """Say whether the credits came with a body; empty ones did, an error in their place did not."""
    credits = body.get("credits")
    return isinstance(credits, dict) and credits.get("success") is not False and bool({"cast", "crew"} & credits.keys())


def _movie(body: dict[str, Any]) -> tuple[Body, list[str]]:
    """Read a body; what is wrong in it is taken out and named."""
    if not isinstance(body, dict):
        raise BadRecord(f"{reprlib.repr(body)} is no movie: it must be an object")
    try:  # an empty text says unknown; what we do not read is not looked at
        facts = {name: _writable(body[name]) for name in Body.model_fields if body.get(name, "") != ""}
    except RecursionError:
        raise BadRecord(f"movie {reprlib.repr(body.get('id'))}: is nested too deep") from None
    try:
        return Body.model_validate(facts), []
    except ValidationError as error:
        wrong = error.errors(include_url=False)
    for each in wrong:
        if each["loc"][0] in ESSENTIAL:
            raise BadRecord(f"movie {reprlib.repr(facts.get('id'))}: {_why(each)}")
    # An entity goes where what makes it that entity is wrong; from the end, so that places in lists stay what they are.
    out = {each["loc"][:-1] if each["loc"][-1] in ENTITY else each["loc"] for each in wrong}
    for where in sorted(out, reverse=True):
        _take_out(facts, where)
    lost = [_why(each) for each in wrong[:MOST_LOST]]
    lost += [f"and {len(wrong) - MOST_LOST} more"] if len(wrong) > MOST_LOST else []
    return Body.model_validate(facts), lost


def _take_out(facts: Any, where: tuple[int | str, ...]) -> None:
    *path, last = where
    for part in path:
        facts = facts[part]
    del facts[last]


def _why(error: ErrorDetails) -> str:
    """Say what is wrong with which fact."""
    where, value = ".".join(str(part) for part in error["loc"]), reprlib.repr(error["input"])
    match error:
        case {"type": "missing"}:
            return f"{where}: is missing"
        case {"type": "less_than_equal", "ctx": {"le": most}}:
            return f"{where}: {value} is over {most:.0f}"
        case {"type": "greater_than_equal", "ctx": {"ge": least}}:
            return f"{where}: {value} is under {least:.0f}"
        case _:
            return f"{where}: {value}: {error['msg'].removeprefix('Value error, ')}"


def _writable(value: Any) -> Any:
    """Return a value whose texts every store can hold: surrogates are paired or become U+FFFD, NUL is left out."""
    match value:
        case str() if _UNWRITABLE.search(value):
            return value.replace("\0", "").encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        case list():
            return [_writable(item) for item in value]
        case dict():
            return {key: _writable(item) for key, item in value.items()}
    return value


def _distinct(named: Iterable[_Named]) -> list[dict[str, str]]:
    return list({item.id: {"id": str(item.id), "name": item.name} for item in named}.values())[:MAX_NAMED]
