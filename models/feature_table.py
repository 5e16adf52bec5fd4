"""The feature table: every view of the movies that a training needs, each numbered once.

A movie is learned from as its record and as questions about it, each numbered by the movie's own past, so that any
later split may use them. A year that is judged needs its movies once more, by each way of asking and as known when it
began.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.facts import RawMovie, iterate, written
from models.features import MovieFeatures
from models.questions import WAYS, draw_question, views
from models.sentiment import Read, Sentiments

WITHIN_YEAR = ("month", "day_of_year", "weekday")
QUESTIONS = 2  # about each movie; together they weigh as much as its record
QUESTION_YEARS_FOR_HALF_WEIGHT = 5.0  # beside the movie's own: where little is told the level counts, and it moves


class Rows(NamedTuple):
    """n raw movies as a model takes them: features (n, f) and texts."""

    table: NDArray[np.float64]
    texts: list[str]


class Learned(NamedTuple):
    """What a learner takes, n movies: features (n, f), texts, ratings, weights."""

    table: NDArray[np.float64]
    texts: list[str]
    ratings: NDArray[np.float64]
    weights: NDArray[np.float64]


class FeatureTable:
    """n rated movies, oldest first, and all that was numbered of them by features that were fitted on them."""

    def __init__(
        self,
        movies: pd.DataFrame,
        features: MovieFeatures,
        records: Rows,
        questions: Sequence[Rows],
        sentiment: Read | None = None,
    ) -> None:
        """`records` are the movies as `features` number them, `questions` those about them."""
        self.movies, self.features, self.sentiment = movies, features, sentiment or Sentiments()
        self.records, self.questions = records, questions
        self.ratings = movies["vote_average"].to_numpy(dtype=float)
        self.days = np.array([day.toordinal() for day in movies["release_date"]], dtype=np.int64)
        self.years: dict[int, dict[str, NDArray[np.float64]]] = {}  # by first day: features of its movies by way
        self.folds: dict[tuple[int, int], Any] = {}  # what `models.folds` made of them, by first day and movies judged

    @classmethod
    def of(cls, movies: pd.DataFrame, histories: bool = True, sentiment: Read | None = None) -> FeatureTable:
        """Fit features on rated movies and number them."""
        sentiment, features = sentiment or Sentiments(), MovieFeatures(histories)
        return cls.restored(movies, features, features.fit_transform(movies, sentiment=sentiment), None, sentiment)

    @classmethod
    def restored(
        cls,
        movies: pd.DataFrame,
        features: MovieFeatures,
        records: NDArray[np.float64],
        questions: Sequence[NDArray[np.float64]] | None,
        sentiment: Read | None = None,
    ) -> FeatureTable:
        """Return the table of movies whose records were numbered (n, f), and the questions about them, if not None."""
        raw = list(iterate(movies))
        asked = [_questions(raw, number) for number in range(QUESTIONS)]
        tables = questions or [_number_questions(features, *each, sentiment or Sentiments()) for each in asked]
        rows = [Rows(table, _texts(each)) for table, (each, _) in zip(tables, asked, strict=True)]
        return cls(movies, features, Rows(records, _texts(raw)), rows, sentiment)

    def before(self, day: int) -> FeatureTable:
        """Return the table of the movies released before a day: what one that was made of them alone would hold."""
        earlier = int(np.searchsorted(self.days, day))
        if not np.array_equal(np.flatnonzero(self.days < day), np.arange(earlier)):
            raise ValueError("the movies are not in the order of their release: sort them by release_date")
        records, *questions = (Rows(r.table[:earlier], r.texts[:earlier]) for r in (self.records, *self.questions))
        movies = self.movies.iloc[:earlier].reset_index(drop=True)
        return FeatureTable(movies, self.features.before(day, self.movies), records, questions, self.sentiment)

    def learn(self, rows: NDArray[np.int64], weights: NDArray[np.float64], at: pd.Timestamp) -> Learned:
        """Return what is to be learned on a day of some movies, each of which counts as much as its weight."""
        years = np.maximum(at.toordinal() - self.days[rows], 0) / 365.25
        asked_about = weights * 0.5 ** (years / QUESTION_YEARS_FOR_HALF_WEIGHT)
        asked_about *= weights.sum() / asked_about.sum() / len(self.questions)
        seen = [self.records, *self.questions]
        return Learned(
            np.concatenate([view.table[rows] for view in seen]),
            [view.texts[row] for view in seen for row in rows],
            np.tile(self.ratings[rows], len(seen)),
            np.concatenate([weights, *([asked_about] * len(self.questions))]),
        )

    def year(self, rows: NDArray[np.int64], start: int) -> dict[str, Rows]:
        """Return some movies, whole records and by way of asking, as known on the day number `start`."""
        movies = self.movies.iloc[rows]
        if start not in self.years:
            self.years[start] = self._number(movies, start)
        return with_texts(self.years[start], movies)

    def rows(self, movies: pd.DataFrame) -> dict[str, Rows]:
        """Return other movies, whole records and by way of asking, by their own past as far as it is known here."""
        return with_texts(self._number(movies), movies)

    def _number(self, movies: pd.DataFrame, start: int | None = None) -> dict[str, NDArray[np.float64]]:
        seen = views(list(iterate(movies)), WAYS)
        return {way: self.features.transform(raw, start, self.sentiment) for way, raw in seen.items()}


def with_texts(tables: Mapping[str, NDArray[np.float64]], movies: pd.DataFrame) -> dict[str, Rows]:
    """Return the features of movies by way of asking, with the texts that each of them tells."""
    seen = views(list(iterate(movies)), WAYS)
    return {way: Rows(table, _texts(seen[way])) for way, table in tables.items()}


def _questions(movies: Sequence[RawMovie], number: int) -> tuple[Sequence[RawMovie], NDArray[np.bool_]]:
    """Return one question about each movie, and whether it tells the release date."""
    questions, dated = zip(*(draw_question(movie, number) for movie in movies), strict=True)
    return questions, np.array(dated)


def _number_questions(
    features: MovieFeatures, questions: Sequence[RawMovie], dated: NDArray[np.bool_], sentiment: Read
) -> NDArray[np.float64]:
    """Number questions; of a release date that one does not tell, no more than the year is used."""
    table = features.transform(questions, sentiment=sentiment)
    for name in WITHIN_YEAR:
        table[np.flatnonzero(~dated), features.columns_.index(name)] = np.nan
    return table


def _texts(movies: Sequence[RawMovie]) -> list[str]:
    return [written(movie) for movie in movies]


class TrainingTables:
    """All that a training reads: the movies before the hold-out, the hold-out as seen by them, and all movies."""

    def __init__(self, everything: FeatureTable, train: FeatureTable, holdout: dict[str, Rows]) -> None:
        self.everything, self.train, self.holdout = everything, train, holdout
