"""Turn raw movies into numbers, the same way in training and in serving.

There is one definition of the features, `MovieFeatures.row`: a plain function of one movie and of tables learned from
past movies. The scikit-learn `transform` loops over it, for a frame in training and for one movie in the service. It
knows nothing of TMDB, Prefect or HTTP. What is missing stays missing (NaN); an unseen genre becomes zeros; a person
never seen is a debut.

A movie's history counts only what was released strictly before it, so `transform` of the training rows gives what would
have been known at the time, with nothing of the row's own rating in it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from textblob.en import sentiment as _textblob_sentiment

from models.history import History, Level

RawMovie = Mapping[str, Any]
NAN = math.nan

# role -> (raw field, how many of its entries count; billing order makes the first the most telling)
ROLES: dict[str, tuple[str, int]] = {
    "director": ("directors", 3),
    "writer": ("writers", 4),
    "cast": ("cast", 6),
    "producer": ("producers", 5),
    "cinematographer": ("cinematographers", 2),
    "composer": ("composers", 2),
    "company": ("production_companies", 5),
    "collection": ("belongs_to_collection", 1),
}
HISTORY_FEATURES = ("count", "mean", "best", "last", "years_since", "debut")
NOTHING = [NAN] * len(HISTORY_FEATURES)
SHRINKAGE = 3.0  # a history of 3 movies is believed half
SEPARATOR = "\x00"  # stands in no name

# feature -> the raw field that it comes from
PLAIN_FEATURES: dict[str, str] = {
    "runtime": "runtime",
    "budget_log": "budget",
    "budget_known": "budget",
    "overview_words": "overview",
    "overview_polarity": "overview",
    "overview_subjectivity": "overview",
    "overview_readable": "overview",
    "tagline_words": "tagline",
    "title_words": "title",
    "title_numbered": "title",
    "title_translated": "original_title",
    "n_genres": "genres",
    "n_languages": "spoken_languages",
    "n_countries": "production_countries",
    "n_companies": "production_companies",
    "n_directors": "directors",
    "n_writers": "writers",
    "year": "release_date",
    "month": "release_date",
    "weekday": "release_date",
    "level": "release_date",
}
_NUMBERED = re.compile(r"\b(\d+|II|III|IV|V|VI|VII|VIII|IX)\b")


class MovieFeatures(TransformerMixin, BaseEstimator):
    """Number features of raw movies.

    Parameters
    ----------
    histories : whether to use what people, companies and collections did before. A block that can be switched off.
    max_categories : how many languages and how many countries get a column of their own.

    `fit` takes raw movies (a frame with the columns of `models.movie.INPUTS`, or dicts) and their ratings; `transform`
    returns a float array of shape (n_movies, n_features). Neither edits its input.
    """

    def __init__(self, histories: bool = True, max_categories: int = 25) -> None:
        self.histories = histories
        self.max_categories = max_categories

    # -- learning ---------------------------------------------------------------------------------------------------

    def fit(self, X: pd.DataFrame | Iterable[RawMovie], y: Any) -> MovieFeatures:
        """Learn vocabularies, the level and the histories. Movies without a release date teach no history."""
        movies = list(iterate(X))
        ratings = np.asarray(y, dtype=float)
        if not movies:
            raise ValueError("no movies to fit on: collect some, or widen the dates")
        if len(ratings) != len(movies) or not np.isfinite(ratings).all():
            raise ValueError(f"{len(movies)} movies need as many ratings, each a number; drop unrated movies first")
        self.genres_ = _vocabulary((g for m in movies for g in _texts(m, "genres")), None)
        self.languages_ = _vocabulary((_text(m.get("original_language")) for m in movies), self.max_categories)
        countries = [[(_id(c), _name(c)) for c in _entities(m, "production_countries")] for m in movies]
        self.country_names_ = {name.casefold(): id_ for row in countries for id_, name in row if id_ and name}
        self.countries_ = _vocabulary((id_ for row in countries for id_, _ in row if id_), self.max_categories)

        days = np.array([ordinal(m.get("release_date")) or 0 for m in movies], dtype=np.int64)
        dated = days > 0
        if not dated.any():
            raise ValueError("no movie has a release_date: histories and the level cannot be learned")
        self.level_days_, self.level_ratings_ = days[dated], ratings[dated]
        self.today_ = int(days.max()) + 1  # a movie without a date is judged as one released after all known ones

        names: dict[str, Counter[tuple[str, str]]] = {}
        for m in movies:
            for field, _ in ROLES.values():
                counts = names.setdefault(_kind(field), Counter())
                counts.update((_name(e).casefold(), _key(e)) for e in _entities(m, field))
        # A name means the one who made most movies under it. Packed, because a registered model holds them all.
        self.names_ = {kind: _pack_names(counts) for kind, counts in names.items()}
        level = Level(self.level_days_, self.level_ratings_)
        self.events_: dict[str, dict[str, Any]] = {}
        for role, (field, most) in ROLES.items() if self.histories else ():
            events = [
                (_key(e), day, rating - level.at(day))
                for m, day, rating in zip(movies, days.tolist(), ratings.tolist(), strict=True)
                if day
                for e in _entities(m, field)[:most]
            ]
            self.events_[role] = {
                "keys": SEPARATOR.join(key for key, _, _ in events),
                "days": np.array([day for _, day, _ in events], dtype=np.int32),
                "scores": np.array([score for _, _, score in events], dtype=np.float64),
            }
        self.columns_ = list(self.sources())
        self._tables = None
        return self

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.str_]:
        """Name the columns of `transform`, in order."""
        return np.array(list(self.sources()))

    def sources(self) -> dict[str, str]:
        """Name the raw field that each feature comes from, in the order of the columns."""
        check_is_fitted(self, "genres_")
        sources = dict(PLAIN_FEATURES)
        sources |= {f"genre_{g}": "genres" for g in self.genres_}
        sources |= {f"language_{v}": "original_language" for v in self.languages_}
        sources |= {f"country_{c}": "production_countries" for c in self.countries_}
        if self.histories:
            sources |= {f"{role}_{what}": field for role, (field, _) in ROLES.items() for what in HISTORY_FEATURES}
        return sources

    # -- computing --------------------------------------------------------------------------------------------------

    def transform(self, X: pd.DataFrame | Iterable[RawMovie]) -> NDArray[np.float64]:
        """Number raw movies; see `row`."""
        check_is_fitted(self, "genres_")
        # Training reads the same texts again and again; a service must not keep what its users wrote.
        sentiment = cached_sentiment if isinstance(X, pd.DataFrame) else read_sentiment
        rows = [self.row(movie, sentiment) for movie in iterate(X)]
        return np.array(rows, dtype=np.float64).reshape(len(rows), len(self.sources()))

    def row(self, movie: RawMovie, sentiment: Any = None) -> list[float]:
        """Number one raw movie, in the order of `sources`. Missing is NaN. Takes about 0.2 ms, most of it sentiment."""
        tables = self._tables or self._load()
        day = ordinal(movie.get("release_date"))
        at = day or self.today_
        overview = _text(movie.get("overview"))
        polarity, subjectivity = (sentiment or read_sentiment)(overview) if overview else (NAN, NAN)
        runtime, budget = _amount(movie.get("runtime")), _amount(movie.get("budget"))
        title, original = _text(movie.get("title")), _text(movie.get("original_title"))
        tagline = _text(movie.get("tagline"))
        genres, countries = _texts(movie, "genres"), self._countries(movie)
        if day:
            when = date.fromordinal(day)
            year, month, weekday = float(when.year), float(when.month), float(when.weekday())
        else:
            year = month = weekday = NAN
        numbers = [
            runtime,
            math.log10(budget) if budget > 0 else NAN,
            float(budget > 0),
            float(len(overview.split())),
            polarity,
            subjectivity,
            float(polarity != 0 or subjectivity != 0) if overview else 0.0,
            float(len(tagline.split())),
            float(len(title.split())),
            float(bool(_NUMBERED.search(title))),
            float(original != title) if original and title else NAN,
            float(len(genres)) or NAN,
            float(len(_texts(movie, "spoken_languages"))) or NAN,
            float(len(countries)) or NAN,
            float(len(_entities(movie, "production_companies"))) or NAN,
            float(len(_entities(movie, "directors"))) or NAN,
            float(len(_entities(movie, "writers"))) or NAN,
            year,
            month,
            weekday,
            tables["level"].at(at),
        ]
        language = movie.get("original_language")
        numbers += [1.0 if g in genres else 0.0 for g in self.genres_]
        numbers += [1.0 if v == language else 0.0 for v in self.languages_]
        numbers += [1.0 if c in countries else 0.0 for c in self.countries_]
        if self.histories:
            for role, (field, most) in ROLES.items():
                entities = _entities(movie, field)[:most]
                names = tables["names"].get(_kind(field), {})
                keys = [_id(e) or names.get(_name(e).casefold()) for e in entities]
                row = _history_row(tables[role], keys, at)
                if role == "collection" and row[HISTORY_FEATURES.index("debut")] == 1:
                    row = NOTHING  # a first movie's collection exists because of a sequel that is yet to come
                numbers += row
        return numbers

    def unseen(self, movie: RawMovie) -> list[str]:
        """Name the people, companies and collections of a movie that no known movie has."""
        tables = self._tables or self._load()
        unseen = []
        for field, _ in ROLES.values():
            names = tables["names"].get(_kind(field), {})
            unseen += [f"{field}: {_name(e)}" for e in _entities(movie, field) if _name(e).casefold() not in names]
        return unseen

    def _countries(self, movie: RawMovie) -> list[str]:
        known = self.country_names_
        entities = _entities(movie, "production_countries")
        return [_id(c) or known.get(_name(c).casefold(), _name(c).upper()) for c in entities]

    def _load(self) -> dict[str, Any]:
        """Fold the learned arrays into look-up tables; they are no part of the stored model."""
        if self.columns_ != list(self.sources()):
            raise ValueError("this model was fitted by another version of models.features: train one anew")
        tables: dict[str, Any] = {"level": Level(self.level_days_, self.level_ratings_)}
        tables["names"] = {
            kind: dict(zip(packed["names"].split(SEPARATOR), packed["keys"].split(SEPARATOR), strict=True))
            for kind, packed in self.names_.items()
        }
        for role, events in self.events_.items():
            keys = events["keys"].split(SEPARATOR) if events["keys"] else []
            tables[role] = History(zip(keys, events["days"].tolist(), events["scores"].tolist(), strict=True))
        self._tables = tables
        return tables

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in super().__getstate__().items() if k != "_tables"}

    _tables: dict[str, Any] | None = None


def _history_row(history: History, keys: Sequence[str | None], at: int) -> list[float]:
    """Sum up what `keys` had done before `at`, as deviations from the level of the time: `HISTORY_FEATURES`."""
    if not keys:
        return NOTHING
    pasts = [past for key in keys if key is not None and (past := history.before(key, at))]
    if not pasts:
        return [0.0, 0.0, NAN, NAN, NAN, 1.0]
    count = sum(p.movies for p in pasts)
    latest = max(pasts, key=lambda p: p.last_day)
    return [
        float(max(p.movies for p in pasts)),
        sum(p.total for p in pasts) / (count + SHRINKAGE),
        max(p.best for p in pasts),
        latest.last,
        (at - latest.last_day) / 365.25,
        0.0,
    ]


# -- reading raw movies ---------------------------------------------------------------------------------------------


def iterate(X: pd.DataFrame | Iterable[RawMovie]) -> Iterator[RawMovie]:
    """Yield raw movies as dicts from a frame or from dicts."""
    if isinstance(X, pd.DataFrame):
        columns = list(X.columns)
        return (dict(zip(columns, values, strict=True)) for values in zip(*(X[c] for c in columns), strict=True))
    return iter(X)


def read_sentiment(text: str) -> tuple[float, float]:
    """Return TextBlob's polarity (-1 to 1) and subjectivity (0 to 1); (0, 0) where it finds nothing to read."""
    polarity, subjectivity = _textblob_sentiment(text)
    return float(polarity), float(subjectivity)


cached_sentiment = lru_cache(maxsize=1 << 16)(read_sentiment)


def ordinal(day: Any) -> int | None:
    """Return the day number of a date, a timestamp or "YYYY-MM-DD"; None where there is none."""
    if day is None or day == "" or day is pd.NaT:
        return None
    if isinstance(day, str):
        return date.fromisoformat(day[:10]).toordinal()
    return int(day.toordinal()) if day == day else None


def _kind(field: str) -> str:
    """People are one kind, whatever they do; companies and collections are others."""
    return field if field in ("production_companies", "belongs_to_collection") else "people"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _amount(value: Any) -> float:
    """A positive number, or NaN: TMDB codes unknown as 0."""
    return float(value) if isinstance(value, int | float) and value > 0 else NAN


def _list(movie: RawMovie, field: str) -> Sequence[Any]:
    value = movie.get(field)
    if isinstance(value, list):
        return value
    if isinstance(value, np.ndarray | tuple):
        return list(value)
    return [value] if isinstance(value, str | dict) and value else []


_entities = _list


def _texts(movie: RawMovie, field: str) -> list[str]:
    return [_name(v) for v in _list(movie, field)]


def _name(entity: Any) -> str:
    return entity if isinstance(entity, str) else entity["name"] or ""


def _id(entity: Any) -> str | None:
    return None if isinstance(entity, str) else entity.get("id")


def _key(entity: Any) -> str:
    return _id(entity) or _name(entity).casefold()


def _pack_names(counts: Counter[tuple[str, str]]) -> dict[str, str]:
    """Map each name to the key that bears it most often, as two strings of equal length."""
    keys = {name: key for (name, key), _ in sorted(counts.items(), key=lambda item: (item[1], item[0]))}
    return {"names": SEPARATOR.join(keys), "keys": SEPARATOR.join(keys.values())}


def _vocabulary(values: Iterable[str], most: int | None) -> list[str]:
    """The most frequent values, at least 2 of each, in a fixed order."""
    counts = Counter(v for v in values if v)
    frequent = sorted((v for v, n in counts.items() if n > 1), key=lambda v: (-counts[v], v))
    return frequent[:most]
