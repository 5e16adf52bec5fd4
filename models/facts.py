"""The plain facts of one movie as numbers: what needs no knowledge of other movies but the budget level of its time.

The vocabularies are fixed, so that no later movie can change an earlier one's numbers. What is missing stays missing
(NaN); an unseen genre becomes zeros. It also holds how raw movies are read, whatever form they come in; what words mean
stands in `models.vocabulary`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from models.movie import INPUTS, is_told
from models.sentiment import Read, is_readable
from models.vocabulary import COUNTRY_WORDS, GENRE_WORDS, GENRES, LANGUAGE_WORDS, WORDS

RawMovie = Mapping[str, Any]
NAN = math.nan

LANGUAGES = tuple("en fr es de it ja ko zh cn hi ru pt ta te sv da".split())
COUNTRIES = tuple("US GB FR DE CA JP IT ES IN CN HK KR AU RU BE SE DK MX BR".split())
LEAST_BUDGET = 1_000.0  # US dollars; below, TMDB's editors entered something else
_SEQUEL = re.compile(r"\b([2-9]|II|III|IV|V|VI|Part|Chapter)\b")

# Fields of which it tells much whether they are filled: 1 where told, 0 where a record has none, NaN where not told.
# No collection is among them: that a first movie has one is known only because a sequel came.
TOLD = tuple(name for name in INPUTS if name not in ("title", "release_date", "belongs_to_collection"))
# fact -> the raw field that it comes from, in the order of `facts_row`
FACTS: dict[str, str] = {
    "year": "release_date",
    "month": "release_date",
    "day_of_year": "release_date",
    "weekday": "release_date",
    "runtime": "runtime",
    "budget_log": "budget",
    "budget_relative": "budget",
    **{f"genre_{name}": "genres" for name in GENRES},
    "n_genres": "genres",
    "first_genre": "genres",
    **{f"language_{code}": "original_language" for code in LANGUAGES},
    "language_other": "original_language",
    **{f"country_{code}": "production_countries" for code in COUNTRIES},
    "n_countries": "production_countries",
    "n_companies": "production_companies",
    "n_languages": "spoken_languages",
    "n_directors": "directors",
    "n_writers": "writers",
    "overview_characters": "overview",
    "overview_words": "overview",
    "overview_polarity": "overview",
    "overview_subjectivity": "overview",
    "overview_readable": "overview",
    "tagline_characters": "tagline",
    "title_characters": "title",
    "title_words": "title",
    "title_digit": "title",
    "title_colon": "title",
    "title_sequel": "title",
    "title_translated": "original_title",
    **{f"told_{name}": name for name in TOLD},
}


def facts_row(movie: RawMovie, today: int, budget_level: Callable[[int], float], sentiment: Read) -> list[float]:
    """Return the facts of one movie, in the order of `FACTS`.

    A field that is empty says that there is none; one that is no key of the movie, or is not understood, says nothing:
    its facts are NaN. A movie without a date is one of the year of `today`, a day number. `budget_level` gives the
    usual log budget before a year, `sentiment` polarity and subjectivity of a text.
    """
    day = ordinal(movie.get("release_date"))
    when = date.fromordinal(day or today)
    day_of_year = float(when.timetuple().tm_yday)
    calendar = [when.year + (day_of_year - 1) / 365.25, float(when.month), day_of_year, float(when.weekday())]
    if not day:
        calendar[1:] = [NAN] * 3
    level = budget_level(when.year)
    budget = amount(movie.get("budget"))
    budget_log = math.log(budget) if budget >= LEAST_BUDGET else NAN
    genres = GENRE_WORDS.read(entities(movie, "genres"))
    language = next(iter(LANGUAGE_WORDS.read(entities(movie, "original_language"))), "")
    countries = COUNTRY_WORDS.read(entities(movie, "production_countries"))
    spoken = LANGUAGE_WORDS.read(entities(movie, "spoken_languages"))
    overview, tagline = text(movie.get("overview")), text(movie.get("tagline"))
    title, original = text(movie.get("title")), text(movie.get("original_title"))
    polarity, subjectivity = sentiment(overview) if overview else (NAN, NAN)
    understood: dict[str, Any] = {"original_language": language, "production_countries": countries}
    understood |= {"spoken_languages": spoken, "budget": budget_log == budget_log}
    told = {name: _told(movie, name, understood.get(name, True)) for name in TOLD}
    other = float(bool(language) and language not in LANGUAGES)
    first_genre = float(GENRES.index(genres[0])) if genres and genres[0] in GENRES else -1.0
    return [
        *calendar,
        amount(movie.get("runtime")),
        budget_log,
        budget_log - level,
        *_among(GENRES, genres, told["genres"]),
        float(len(genres)) or NAN,
        first_genre if told["genres"] == told["genres"] else NAN,
        *_among(LANGUAGES, (language,), told["original_language"]),
        other if told["original_language"] == told["original_language"] else NAN,
        *_among(COUNTRIES, countries, told["production_countries"]),
        float(len(countries)) or NAN,
        float(len(entities(movie, "production_companies"))) or NAN,
        float(len(spoken)) or NAN,
        float(len(entities(movie, "directors"))) or NAN,
        float(len(entities(movie, "writers"))) or NAN,
        float(len(overview)) or NAN,
        float(len(overview.split())) or NAN,
        polarity,
        subjectivity,
        float(is_readable(polarity, subjectivity)) if overview else NAN,
        float(len(tagline)) or NAN,
        *(_title_facts(title) if title else [NAN] * 5),
        float(original != title) if original and title else NAN,
        *told.values(),
    ]


def _told(movie: RawMovie, name: str, understood: Any) -> float:
    """Return 1 where a field is told, 0 where it says that there is none, NaN where it says nothing."""
    if name not in movie:
        return NAN
    return (1.0 if understood else NAN) if is_told(movie[name]) else 0.0


def _among(known: Sequence[str], given: Sequence[str], told: float) -> list[float]:
    """Return for each known word whether it is given, 1 or 0; NaN where nothing is told."""
    return [1.0 if word in given else 0.0 for word in known] if told == told else [NAN] * len(known)


def _title_facts(title: str) -> list[float]:
    return [
        float(len(title)),
        float(len(title.split())),
        float(any(character.isdigit() for character in title)),
        float(":" in title),
        float(bool(_SEQUEL.search(title))),
    ]


def written(movie: RawMovie) -> str:
    """Return all that a movie says of itself in prose."""
    return f"{text(movie.get('overview'))} {text(movie.get('tagline'))}"


# -- reading raw movies ---------------------------------------------------------------------------------------------


def iterate(X: pd.DataFrame | Iterable[RawMovie]) -> Iterator[RawMovie]:
    """Yield raw movies as dicts from a frame or from dicts."""
    if isinstance(X, pd.DataFrame):
        columns = list(X.columns)
        return (dict(zip(columns, values, strict=True)) for values in zip(*(X[c] for c in columns), strict=True))
    return iter(X)


def ordinal(day: Any) -> int | None:
    """Return the day number of a date, a timestamp or "YYYY-MM-DD"; None where there is none."""
    if day is None or day == "" or day is pd.NaT:
        return None
    if isinstance(day, str):
        return date.fromisoformat(day[:10]).toordinal()
    return int(day.toordinal()) if day == day else None


def text(value: Any) -> str:
    """Return a text, "" where there is none."""
    return value if isinstance(value, str) else ""


def amount(value: Any) -> float:
    """Return a positive number, or NaN: TMDB codes unknown as 0."""
    return float(value) if isinstance(value, int | float) and value > 0 else NAN


def entities(movie: RawMovie, field: str) -> Sequence[Any]:
    """Return the entries of a list field, each a name or a dict with id and name; one entry counts as a list of one."""
    value = movie.get(field)
    if isinstance(value, list):
        return value
    if isinstance(value, np.ndarray | tuple):
        return list(value)
    return [value] if isinstance(value, str | dict) and value else []


def entity_name(entity: Any) -> str:
    """Return the name of an entity."""
    if isinstance(entity, dict):
        return entity.get("name") or ""
    return str(entity)


def entity_id(entity: Any) -> str | None:
    """Return TMDB's id of an entity, where it is given."""
    known = entity.get("id") if isinstance(entity, dict) else None
    return known if known is None or isinstance(known, str) else str(known)


def misread(movie: RawMovie) -> list[str]:
    """Say which genres, languages and countries of a movie are not understood, or are read as something else."""
    return [f"{field}: {remark}" for field, words in WORDS.items() for remark in words.remarks(entities(movie, field))]
