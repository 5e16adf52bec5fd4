"""Turn raw movies into numbers, the same way in training and in serving.

There is one definition of the features, `MovieFeatures.transform`, for a frame in training and for one movie in the
service: plain facts (`models.facts`), the rating that these let one expect (`models.expectation`), and what the people,
companies and the collection had done before, against such expectations (`models.history`). It knows nothing of TMDB,
Prefect or HTTP. What is missing stays missing (NaN); a person never seen is a debut.

A movie's history counts only what was released strictly before it, so `transform` of the training rows gives what would
have been known at the time, with nothing of the row's own rating in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import NotFittedError

from models.expectation import Expectation
from models.facts import (
    FACTS,
    LEAST_BUDGET,
    NAN,
    RawMovie,
    Sentiment,
    cached_sentiment,
    entities,
    entity_id,
    entity_name,
    facts_row,
    iterate,
    ordinal,
    read_sentiment,
)
from models.history import History, Past
from models.questions import drawn
from models.vocabulary import fold

# role -> (raw field, how many entries are looked up; billing order makes the first the most telling)
ROLES: dict[str, tuple[str, int]] = {
    "director": ("directors", 8),
    "writer": ("writers", 8),
    "cast": ("cast", 8),
    "producer": ("producers", 8),
    "cinematographer": ("cinematographers", 3),
    "composer": ("composers", 3),
    "company": ("production_companies", 8),
}
COLLECTION = "belongs_to_collection"
LEARNED_CAST = 10  # billed actors of a movie that its rating counts for
MIN_VOTES = 10  # a rating of fewer says nothing about those who made the movie
VOTES_FOR_HALF_WEIGHT = 50.0
SHRINKAGE, COLLECTION_SHRINKAGE = 2.0, 0.5  # movies
BILLING_DISCOUNT = 0.3
ROLE_FEATURES = ("mean", "pooled", "top", "count", "debuts", "best", "last", "years_since")
COLLECTION_FEATURES = ("count", "mean", "best", "last", "years_since")
NO_COLLECTION = [0.0, NAN, NAN, NAN, NAN]
BUDGET_YEARS, BUDGET_MOVIES = 5, 10  # the budget level is the median of so many years, of so many movies at least
EXPECTED_QUESTION = 7  # which of the questions about a movie teaches what to expect of one
BATCH = 20_000  # movies of a frame that are numbered at once
SEPARATOR = "\x00"  # stands in no name


class MovieFeatures(TransformerMixin, BaseEstimator, auto_wrap_output_keys=None):  # type: ignore[call-arg]
    """Number features of raw movies.

    Parameters
    ----------
    histories : whether to use what people, companies and collections did before. A block that can be switched off.

    `fit` takes a frame with the columns of `models.movie.FIELDS`; `transform` takes raw movies (a frame with the
    columns of `models.movie.INPUTS`, or dicts) and returns a float array of shape (n_movies, n_features). Neither
    edits its input. Vote counts decide how much a rating is believed; they are no features.
    """

    def __init__(self, histories: bool = True) -> None:
        self.histories = histories

    # -- learning ---------------------------------------------------------------------------------------------------

    def fit(self, X: pd.DataFrame, y: Any = None) -> MovieFeatures:
        """Learn budget levels, expectations and histories from rated movies; `y` overrides vote_average."""
        if not len(X):
            raise ValueError("no movies to fit on: collect some, or widen the dates")
        ratings = np.asarray(X["vote_average"] if y is None else y, dtype=float)
        votes = np.nan_to_num(np.asarray(X["vote_count"], dtype=float))
        if len(ratings) != len(X) or not np.isfinite(ratings).all():
            raise ValueError(f"{len(X)} movies need as many ratings, each a number; drop unrated movies first")
        days = _days(X["release_date"])
        if not days.any():
            raise ValueError("no movie has a release_date: nothing can be learned of what came before what")
        self.today_ = int(days.max()) + 1  # a movie without a date is judged as one released after all known ones
        self.budgets_ = _known_budgets(X["budget"] if "budget" in X else [0] * len(X), days)
        self.columns_ = list(self.sources())
        self._tables = None
        self._levels: dict[int, float] = {}
        if not self.histories:
            return self
        facts = np.vstack([self._facts(batch, cached_sentiment) for batch in _batches(X)])
        asked = ([drawn(movie, EXPECTED_QUESTION)[0] for movie in batch] for batch in _batches(X))
        questions = np.vstack([self._facts(batch, cached_sentiment) for batch in asked])
        self.expectation_ = Expectation().fit(facts, questions, days, ratings, votes)
        scores = ratings - self.expectation_.predict(facts, np.where(days > 0, days, self.today_))
        weights = votes / (votes + VOTES_FOR_HALF_WEIGHT)
        telling = np.flatnonzero((days > 0) & (votes >= MIN_VOTES))

        known: dict[str, Counter[tuple[str, str]]] = {}
        self.events_: dict[str, dict[str, Any]] = {}
        for role, (field, _) in {**ROLES, "collection": (COLLECTION, 1)}.items():
            counts = known.setdefault(_kind(field), Counter())
            keys, rows = [], []
            column = X[field].tolist() if field in X else [None] * len(X)
            for row in telling.tolist():
                for entity in entities({field: column[row]}, field)[:LEARNED_CAST]:
                    keys.append(_key(entity))
                    rows.append(row)
                    counts[fold(entity_name(entity)), keys[-1]] += 1
            at = np.array(rows, dtype=np.int64)
            self.events_[role] = {
                "keys": SEPARATOR.join(keys),
                "days": days[at],
                "scores": scores[at],
                "weights": weights[at],
                "ratings": ratings[at],
            }
        # A name means the one who made most movies under it. Packed, because a registered model holds them all.
        self.names_ = {kind: _pack_names(counts) for kind, counts in known.items()}
        return self

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.str_]:
        """Name the columns of `transform`, in order."""
        return np.array(list(self.sources()))

    def sources(self) -> dict[str, str]:
        """Name the raw field that each feature comes from, in the order of the columns."""
        sources = dict(FACTS)
        if self.histories:
            sources["expected"] = "release_date"  # gathers all facts; told apart from them by its name
            sources |= {f"{role}_{what}": field for role, (field, _) in ROLES.items() for what in ROLE_FEATURES}
            sources |= {f"collection_{what}": COLLECTION for what in COLLECTION_FEATURES}
        return sources

    # -- computing --------------------------------------------------------------------------------------------------

    def transform(
        self,
        X: pd.DataFrame | Iterable[RawMovie],
        known_until: int | None = None,
        sentiment: Sentiment = read_sentiment,
    ) -> NDArray[np.float64]:
        """Number raw movies.

        With `known_until`, a day number, nothing counts that came out on that day or later, not even for movies
        released after it: what a model fitted then would have known. Without it all ends at each movie's own release.
        """
        if not hasattr(self, "columns_"):  # check_is_fitted costs as much as a movie
            raise NotFittedError("fit MovieFeatures on rated movies before it can number others")
        if isinstance(X, pd.DataFrame):
            batches = [self._transform(batch, cached_sentiment, known_until) for batch in _batches(X)]
            return np.vstack(batches or [np.empty((0, len(self.columns_)))])
        return self._transform(list(X), sentiment, known_until)

    def _transform(
        self, movies: Sequence[RawMovie], sentiment: Sentiment, known_until: int | None
    ) -> NDArray[np.float64]:
        tables = self._tables or self._load()
        facts = self._facts(movies, sentiment, known_until)
        if not self.histories:
            return facts
        days = _days(movie.get("release_date") for movie in movies)
        days[days == 0] = min(self.today_, known_until or self.today_)
        until = np.minimum(days, known_until) if known_until else days
        expected = self.expectation_.predict(facts, days, until)
        rows = [
            self._history_row(movie, day, end, tables)
            for movie, day, end in zip(movies, days.tolist(), until.tolist(), strict=True)
        ]
        histories = np.array(rows, dtype=np.float64).reshape(len(movies), len(self.columns_) - len(FACTS) - 1)
        return np.concatenate([facts, expected[:, np.newaxis], histories], axis=1)

    def row(self, movie: RawMovie) -> list[float]:
        """Number one raw movie, in the order of `sources`."""
        numbers: list[float] = self.transform([movie])[0].tolist()
        return numbers

    def unseen(self, movie: RawMovie) -> list[str]:
        """Name the people, companies and collections of a movie that no known movie has.

        Who comes with an id is looked up by it alone, as the features do: a name may be another's, too.
        """
        tables = self._tables or self._load()
        unseen = []
        for field in (*(field for field, _ in ROLES.values()), COLLECTION) if self.histories else ():
            names, (first, *others) = tables["names"][_kind(field)], tables["keys"][field]
            for entity in entities(movie, field):
                key = entity_id(entity)
                if key and (key in first or any(key in keys for keys in others)):
                    continue
                name = entity_name(entity)
                if fold(name) not in names:
                    unseen.append(f"{field}: {name}")
                elif key:
                    unseen.append(f"{field}: {name} with the id {key}; without it, the one known by this name is meant")
        return unseen

    def _facts(
        self, movies: Sequence[RawMovie], sentiment: Sentiment, known_until: int | None = None
    ) -> NDArray[np.float64]:
        levels: dict[int, float] = {} if known_until else self._levels

        def budget_level(year: int) -> float:
            if year not in levels:
                levels[year] = _budget_level(*self.budgets_, year, known_until)
            return levels[year]

        today = min(self.today_, known_until or self.today_)
        rows = [facts_row(movie, today, budget_level, sentiment) for movie in movies]
        return np.array(rows, dtype=np.float64).reshape(len(rows), len(FACTS))

    def _history_row(self, movie: RawMovie, day: int, until: int, tables: dict[str, Any]) -> list[float]:
        row = []
        for role in ROLES:
            row += _role_row(self._pasts(movie, role, until, tables), day, BILLING_DISCOUNT if role == "cast" else 0.0)
        past = next(iter(self._pasts(movie, "collection", until, tables)), None)
        # A first movie's collection exists because of a sequel that is yet to come: it is none.
        return row + (_collection_row(past, day) if past else NO_COLLECTION)

    def _pasts(self, movie: RawMovie, role: str, until: int, tables: dict[str, Any]) -> list[Past | None]:
        """Return what each of those in a role had done before a day, None for a debut."""
        field, most = ROLES.get(role, (COLLECTION, 1))
        names, history = tables["names"][_kind(field)], tables[role]
        return [
            history.before(key, until) if (key := entity_id(e) or names.get(fold(entity_name(e)))) else None
            for e in entities(movie, field)[:most]
        ]

    def pasts(self, movie: RawMovie) -> dict[str, list[Past | None]]:
        """Return, by raw field, what each of those who made a movie had done before its release."""
        if not self.histories:
            return {}
        tables = self._tables or self._load()
        day = ordinal(movie.get("release_date")) or self.today_
        roles = {role: field for role, (field, _) in ROLES.items()} | {"collection": COLLECTION}
        return {field: self._pasts(movie, role, day, tables) for role, field in roles.items()}

    def spread_expected(
        self, points: NDArray[np.float64], table: NDArray[np.float64], movies: Sequence[RawMovie]
    ) -> NDArray[np.float64]:
        """Return contributions (n, n_features) with that of the expected rating given to the facts that it comes from.

        Facts get their share of it as far as it points where they do; the rest stays. The sums are the same.
        """
        if not self.histories:
            return points
        facts, expected = len(FACTS), self.columns_.index("expected")
        days = _days(movie.get("release_date") for movie in movies)
        shares = self.expectation_.contributions(table[:, :facts], np.where(days > 0, days, self.today_))
        totals = shares.sum(axis=1)
        telling = np.abs(totals) > 1e-9
        ratios = np.where(telling, points[:, expected] / np.where(telling, totals, 1.0), 0.0).clip(0.0, 1.0)
        spread = points.copy()
        spread[:, :facts] += ratios[:, np.newaxis] * shares
        spread[:, expected] -= ratios * totals
        return spread

    def _load(self) -> dict[str, Any]:
        """Fold the learned arrays into look-up tables; they are no part of the stored model."""
        if self.columns_ != list(self.sources()):
            raise ValueError("this model was fitted by another version of models.features: train one anew")
        tables: dict[str, Any] = {"names": {}, "keys": {}}
        one: dict[str, str] = {}

        def unpacked(packed: str) -> list[str]:
            """Split; equal texts are one object, which halves what is kept."""
            return [one.setdefault(text, text) for text in packed.split(SEPARATOR)] if packed else []

        for kind, packed in self.names_.items() if self.histories else ():
            tables["names"][kind] = dict(zip(unpacked(packed["names"]), unpacked(packed["keys"]), strict=True))
        for role, events in self.events_.items() if self.histories else ():
            columns = (events[name] for name in ("days", "scores", "weights", "ratings"))
            tables[role] = History(unpacked(events["keys"]), *columns)
        fields = {role: ROLES.get(role, (COLLECTION, 1))[0] for role in (self.events_ if self.histories else ())}
        for role, field in fields.items():  # who is known in another role is known
            others = [tables[other].keys() for other, its in fields.items() if _kind(its) == _kind(field)]
            tables["keys"][field] = [tables[role].keys(), *others]
        self._tables = tables
        return tables

    def compact(self) -> None:
        """Build the look-up tables and forget what they are made from, which only a stored model needs."""
        self._load()
        if self.histories:
            del self.events_, self.names_

    def __getstate__(self) -> dict[str, Any]:
        if self.histories and hasattr(self, "columns_") and not hasattr(self, "events_"):
            raise ValueError("compact features have forgotten what a stored model needs: store them before")
        return {k: v for k, v in super().__getstate__().items() if k not in ("_tables", "_levels")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._levels = {}

    _tables: dict[str, Any] | None = None


def _role_row(pasts: Sequence[Past | None], day: int, discount: float) -> list[float]:
    """Sum up what those in one role had done, in their order: `ROLE_FEATURES`. A debut counts as 0, as expected."""
    if not pasts:
        return [NAN] * len(ROLE_FEATURES)
    weights = [1 / (1 + discount * place) for place in range(len(pasts))]
    known = [(weight, past) for weight, past in zip(weights, pasts, strict=True) if past]
    debuts = 1 - len(known) / len(pasts)
    if not known:
        return [0.0, 0.0, NAN, 0.0, debuts, NAN, NAN, NAN]
    means = [past.mean(SHRINKAGE) for _, past in known]
    mass = sum(weight * past.weight for weight, past in known)
    first = known[0][1]
    return [
        sum(weight * mean for (weight, _), mean in zip(known, means, strict=True)) / sum(weights),
        sum(weight * past.total for weight, past in known) / (mass + SHRINKAGE),
        max(means),
        float(sum(past.movies for _, past in known)),
        debuts,
        max(past.best for _, past in known),
        first.last,
        (day - first.last_day) / 365.25,
    ]


def _collection_row(past: Past, day: int) -> list[float]:
    """Sum up the earlier members of a collection: `COLLECTION_FEATURES`."""
    years = (day - past.last_day) / 365.25
    return [float(past.movies), past.mean(COLLECTION_SHRINKAGE), past.best, past.last, years]


def _batches(X: pd.DataFrame) -> Iterator[list[RawMovie]]:
    """Yield the movies of a frame as dicts, so many at once that memory holds them."""
    for first in range(0, len(X), BATCH):
        yield list(iterate(X.iloc[first : first + BATCH]))


def _days(dates: Iterable[Any]) -> NDArray[np.int64]:
    """Return the day number of each date, 0 where there is none."""
    return np.array([ordinal(day) or 0 for day in dates], dtype=np.int64)


def _known_budgets(amounts: Iterable[Any], days: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the release days, ascending, and the log budgets of the movies that tell both."""
    budgets = np.array([float(amount or 0) for amount in amounts])
    known = np.flatnonzero((budgets >= LEAST_BUDGET) & (days > 0))  # NaN compares false
    order = known[np.lexsort((budgets[known], days[known]))]
    return days[order], np.log(budgets[order])


def _budget_level(days: NDArray[np.int64], logs: NDArray[np.float64], year: int, known_until: int | None) -> float:
    """Return the median log budget of the five years before a year, as far as it was known on a day."""
    start, end = (date(max(y, 1), 1, 1).toordinal() for y in (year - BUDGET_YEARS, year))
    first, last = np.searchsorted(days, [start, min(end, known_until or end)])
    return float(np.median(logs[first:last])) if last - first >= BUDGET_MOVIES else NAN


def _kind(field: str) -> str:
    """People are one kind, whatever they do; companies and collections are others."""
    return field if field in ("production_companies", COLLECTION) else "people"


def _key(entity: Any) -> str:
    return entity_id(entity) or fold(entity_name(entity))


def _pack_names(counts: Counter[tuple[str, str]]) -> dict[str, str]:
    """Map each name to the key that bears it most often, as two strings of equal length."""
    keys = {name: key for (name, key), _ in sorted(counts.items(), key=lambda item: (item[1], item[0]))}
    return {"names": SEPARATOR.join(keys), "keys": SEPARATOR.join(keys.values())}
