"""Turn raw movies into numbers, the same way in training and in serving.

There is one definition of the features, `MovieFeatures.transform`, for a frame in training and for one movie in the
service: plain facts (`models.facts`), the rating that these let one expect (`models.expectation`), and what the people,
companies and the collection had done before, against such expectations (`models.history`). It knows nothing of TMDB,
Prefect or HTTP. What is missing stays missing (NaN); a person never seen is a debut.

A movie's history counts only what was released strictly before it, so `transform` of the training rows gives what would
have been known at the time, with nothing of the row's own rating in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import NotFittedError

from models.budgets import budget_level, known_budgets
from models.expectation import Expectation
from models.facts import FACTS, RawMovie, facts_row, iterate, ordinal
from models.filmographies import Filmographies, events_before, pack, pack_names
from models.history import Past
from models.questions import draw_question
from models.roles import (
    ALL_ROLES,
    BILLING_DISCOUNTS,
    COLLECTION,
    COLLECTION_FEATURES,
    NO_COLLECTION,
    ROLE_FEATURES,
    ROLES,
    collection_row,
    role_row,
)
from models.sentiment import Read, Sentiments, read_sentiment

MIN_VOTES = 10  # a rating of fewer says nothing about those who made the movie
VOTES_FOR_HALF_WEIGHT = 50.0
EXPECTED_QUESTION = 7  # which of the questions about a movie teaches what to expect of one
BATCH = 20_000  # movies of a frame that are numbered at once


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

    def fit(self, X: pd.DataFrame, y: Any = None, sentiment: Read | None = None) -> MovieFeatures:
        """Learn budget levels, expectations and histories from rated movies; `y` overrides vote_average."""
        self._fit(X, y, sentiment or Sentiments())
        return self

    def fit_transform(self, X: pd.DataFrame, y: Any = None, sentiment: Read | None = None) -> NDArray[np.float64]:
        """Learn from rated movies and number them, each by its own past; their facts are read once for both."""
        facts, days = self._fit(X, y, sentiment or Sentiments())
        if not self.histories:
            return facts
        dated = np.where(days > 0, days, self.today_)
        return self._with_histories(_movies(X), facts, dated, dated)

    def _fit(self, X: pd.DataFrame, y: Any, sentiment: Read) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Learn; return the facts of the movies (n, f) and their release days, 0 where there is none."""
        if not len(X):
            raise ValueError("no movies to fit on: collect some, or widen the dates")
        ratings = np.asarray(X["vote_average"] if y is None else y, dtype=float)
        votes = _votes(X)
        if len(ratings) != len(X) or not np.isfinite(ratings).all():
            raise ValueError(f"{len(X)} movies need as many ratings, each a number; drop unrated movies first")
        days = _days(X["release_date"])
        if not days.any():
            raise ValueError("no movie has a release_date: nothing can be learned of what came before what")
        self.today_ = int(days.max()) + 1  # a movie without a date is judged as one released after all known ones
        self.budgets_ = known_budgets(X["budget"] if "budget" in X else [0] * len(X), days)
        self.columns_ = list(self.sources())
        self._tables = None
        self._levels: dict[int, float] = {}
        facts = np.vstack([self._facts(batch, sentiment) for batch in _batches(X)])
        if not self.histories:
            return facts, days
        asked = ([draw_question(movie, EXPECTED_QUESTION)[0] for movie in batch] for batch in _batches(X))
        questions = np.vstack([self._facts(batch, sentiment) for batch in asked])
        self.expectation_ = Expectation().fit(facts, questions, days, ratings, votes)
        scores = ratings - self.expectation_.predict(facts, np.where(days > 0, days, self.today_))
        weights = votes / (votes + VOTES_FOR_HALF_WEIGHT)
        self.events_, self.names_ = pack(X, _telling(days, votes), days, scores, weights, ratings)
        return facts, days

    def before(self, day: int, X: pd.DataFrame) -> MovieFeatures:
        """Return what a fit on the movies released before a day learns; `X` are those that this one was fitted on."""
        days, earlier = _days(X["release_date"]), MovieFeatures(self.histories)
        known = days[(days > 0) & (days < day)]
        if not known.size:
            raise ValueError(f"no movie was released before day {day}: nothing can be learned from it")
        earlier.today_ = int(known.max()) + 1
        at = int(np.searchsorted(self.budgets_[0], day))
        earlier.budgets_ = (self.budgets_[0][:at], self.budgets_[1][:at])
        earlier.columns_, earlier._levels = self.columns_, {}
        if self.histories:
            earlier.expectation_ = self.expectation_.before(day)
            earlier.events_ = events_before(self.events_, day)
            telling = _telling(days, _votes(X))
            earlier.names_ = pack_names(X, telling[days[telling] < day])
        return earlier

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
        self, X: pd.DataFrame | Iterable[RawMovie], known_until: int | None = None, sentiment: Read = read_sentiment
    ) -> NDArray[np.float64]:
        """Number raw movies.

        With `known_until`, a day number, nothing counts that came out on that day or later, not even for movies
        released after it: what a model fitted then would have known. Without it all ends at each movie's own release.
        """
        if not hasattr(self, "columns_"):  # check_is_fitted costs as much as a movie
            raise NotFittedError("fit MovieFeatures on rated movies before it can number others")
        if isinstance(X, pd.DataFrame):
            batches = [self._transform(batch, sentiment, known_until) for batch in _batches(X)]
            return np.vstack(batches or [np.empty((0, len(self.columns_)))])
        return self._transform(list(X), sentiment, known_until)

    def _transform(self, movies: Sequence[RawMovie], sentiment: Read, known_until: int | None) -> NDArray[np.float64]:
        facts = self._facts(movies, sentiment, known_until)
        if not self.histories:
            return facts
        days = _days(movie.get("release_date") for movie in movies)
        days[days == 0] = min(self.today_, known_until or self.today_)
        until = np.minimum(days, known_until) if known_until else days
        return self._with_histories(movies, facts, days, until)

    def row(self, movie: RawMovie) -> list[float]:
        """Number one raw movie, in the order of `sources`."""
        numbers: list[float] = self.transform([movie])[0].tolist()
        return numbers

    def unseen(self, movie: RawMovie) -> list[str]:
        """Name the people, companies and collections of a movie that no known movie has."""
        return (self._tables or self._load()).unseen(movie) if self.histories else []

    def pasts(self, movie: RawMovie) -> dict[str, list[Past | None]]:
        """Return, by raw field, what each of those who made a movie had done before its release."""
        if not self.histories:
            return {}
        tables, day = self._tables or self._load(), ordinal(movie.get("release_date")) or self.today_
        return {field: tables.pasts(movie, role, day) for role, (field, _) in ALL_ROLES.items()}

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

    def compact(self) -> None:
        """Build the look-up tables and forget what they are made from, which only a stored model needs."""
        if self.histories:
            self._load()
            del self.events_, self.names_

    # -- parts ------------------------------------------------------------------------------------------------------

    def _facts(
        self, movies: Sequence[RawMovie], sentiment: Read, known_until: int | None = None
    ) -> NDArray[np.float64]:
        levels: dict[int, float] = {} if known_until else self._levels

        def level(year: int) -> float:
            if year not in levels:
                levels[year] = budget_level(*self.budgets_, year, known_until)
            return levels[year]

        today = min(self.today_, known_until or self.today_)
        rows = [facts_row(movie, today, level, sentiment) for movie in movies]
        return np.array(rows, dtype=np.float64).reshape(len(rows), len(FACTS))

    def _with_histories(
        self,
        movies: Iterable[RawMovie],
        facts: NDArray[np.float64],
        days: NDArray[np.int64],
        until: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        """Return facts (n, f) with the expected rating and the histories of n movies, each as known until its day."""
        tables, expected = self._tables or self._load(), self.expectation_.predict(facts, days, until)
        rows = [
            self._history_row(movie, day, end, tables)
            for movie, day, end in zip(movies, days.tolist(), until.tolist(), strict=True)
        ]
        histories = np.array(rows, dtype=np.float64).reshape(len(rows), len(self.columns_) - len(FACTS) - 1)
        return np.concatenate([facts, expected[:, np.newaxis], histories], axis=1)

    def _history_row(self, movie: RawMovie, day: int, until: int, tables: Filmographies) -> list[float]:
        row = []
        for role in ROLES:
            row += role_row(tables.pasts(movie, role, until), day, BILLING_DISCOUNTS.get(role, 0.0))
        past = next(iter(tables.pasts(movie, "collection", until)), None)
        # A first movie's collection exists because of a sequel that is yet to come: it is none.
        return row + (collection_row(past, day) if past else NO_COLLECTION)

    def _load(self) -> Filmographies:
        """Unpack the learned filmographies; the tables are no part of the stored model."""
        if self.columns_ != list(self.sources()):
            raise ValueError("this model was fitted by another version of models.features: train one anew")
        self._tables = Filmographies(self.events_, self.names_)
        return self._tables

    def __getstate__(self) -> dict[str, Any]:
        if self.histories and hasattr(self, "columns_") and not hasattr(self, "events_"):
            raise ValueError("compact features have forgotten what a stored model needs: store them before")
        return {k: v for k, v in super().__getstate__().items() if k not in ("_tables", "_levels")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._levels = {}

    _tables: Filmographies | None = None


def _movies(X: pd.DataFrame) -> Iterator[RawMovie]:
    """Yield the movies of a frame as dicts, of which memory holds so many at once."""
    for batch in _batches(X):
        yield from batch


def _batches(X: pd.DataFrame) -> Iterator[list[RawMovie]]:
    for first in range(0, len(X), BATCH):
        yield list(iterate(X.iloc[first : first + BATCH]))


def _days(dates: Iterable[Any]) -> NDArray[np.int64]:
    """Return the day number of each date, 0 where there is none."""
    return np.array([ordinal(day) or 0 for day in dates], dtype=np.int64)


def _votes(X: pd.DataFrame) -> NDArray[np.float64]:
    votes: NDArray[np.float64] = np.nan_to_num(np.asarray(X["vote_count"], dtype=float))
    return votes


def _telling(days: NDArray[np.int64], votes: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the rows whose ratings say something about those who made the movie."""
    return np.flatnonzero((days > 0) & (votes >= MIN_VOTES))
