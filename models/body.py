"""A movie as TMDB writes it, and the record that we keep of it. Knows nothing of how it is fetched."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from models.movie import FIRST_DATE

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


class BadRecord(ValueError):
    """A body is not a movie as TMDB describes one."""


class _Named(BaseModel):
    model_config = ConfigDict(strict=True)
    id: int
    name: str


class _Country(BaseModel):
    model_config = ConfigDict(strict=True)
    iso_3166_1: str
    name: str


class _Language(BaseModel):
    model_config = ConfigDict(strict=True)
    iso_639_1: str


class _Credit(_Named):
    order: int = 10_000
    job: str = ""


class _Credits(BaseModel):
    cast: list[_Credit] = []
    crew: list[_Credit] = []


def _date(text: Any) -> Any:
    return None if text in (None, "") else date.fromisoformat(text) if isinstance(text, str) else text


class Body(BaseModel):
    """The declared schema of `/movie/{id}` with credits appended: what a record is made from. Other keys may come."""

    model_config = ConfigDict(strict=True)
    id: Annotated[int, Field(gt=0)]
    imdb_id: str | None = None
    title: Annotated[str, Field(min_length=1)]
    original_title: str | None = None
    overview: str | None = None
    tagline: str | None = None
    genres: list[_Named] = []
    release_date: Annotated[Annotated[date, Field(ge=FIRST_DATE)] | None, BeforeValidator(_date)] = None
    original_language: str | None = None
    spoken_languages: list[_Language] = []
    runtime: Annotated[float, Field(ge=0)] | None = None
    budget: Annotated[float, Field(ge=0)] | None = None
    production_companies: list[_Named] = []
    production_countries: list[_Country] = []
    belongs_to_collection: _Named | None = None
    credits: _Credits = _Credits()
    vote_average: Annotated[float, Field(ge=0, le=10)]
    vote_count: Annotated[int, Field(ge=0)]
    popularity: Annotated[float, Field(ge=0)] | None = None
    revenue: float | None = None
    status: str | None = None
    poster_path: str | None = None


def record(body: dict[str, Any], fetched_at: datetime) -> dict[str, Any]:
    """Turn a movie body into a record with the fields of `models.movie.FIELDS`: coded missing values become None.

    Raises BadRecord, naming movie, field and rule, where the body does not have the declared shape.
    """
    try:
        movie = Body.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadRecord(f"movie {body.get('id')}: {where}: {first['msg']}") from None
    collection = movie.belongs_to_collection
    billed = sorted(movie.credits.cast, key=lambda credit: credit.order)
    return {
        "id": movie.id,
        "imdb_id": movie.imdb_id or None,
        "title": movie.title,
        "original_title": movie.original_title or None,
        "overview": movie.overview or None,
        "tagline": movie.tagline or None,
        "genres": [genre.name for genre in movie.genres],
        "release_date": movie.release_date,
        "original_language": movie.original_language or None,
        "spoken_languages": [language.iso_639_1 for language in movie.spoken_languages],
        "runtime": movie.runtime or None,
        "budget": movie.budget or None,
        "production_companies": _distinct(movie.production_companies),
        "production_countries": [{"id": c.iso_3166_1, "name": c.name} for c in movie.production_countries],
        "belongs_to_collection": {"id": str(collection.id), "name": collection.name} if collection else None,
        "cast": _distinct(billed)[:BILLED],
        **{role: _distinct(c for c in movie.credits.crew if c.job in jobs) for role, jobs in JOBS.items()},
        "vote_average": movie.vote_average if movie.vote_count else None,
        "vote_count": movie.vote_count,
        "popularity": movie.popularity,
        "revenue": movie.revenue or None,
        "status": movie.status or None,
        "poster_path": movie.poster_path or None,
        "fetched_at": fetched_at,
    }


def _distinct(named: Iterable[_Named]) -> list[dict[str, str]]:
    return list({item.id: {"id": str(item.id), "name": item.name} for item in named}.values())
