"""What a model learns from, and the years it is judged on: each movie as its record and as people ask about it.

A fold is one year: what may be learned before it, and what was known of its movies when it began.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import lightgbm
import numpy as np
import pandas as pd
from lightgbm import LGBMRegressor
from numpy.typing import NDArray
from sklearn.base import clone
from xgboost import XGBRegressor

from models.evaluation import MIN_VOTES, walk_forward
from models.facts import RawMovie, cached_sentiment, iterate, written
from models.features import MovieFeatures
from models.linear import LinearText
from models.questions import RECORD, drawn, views

VOTES_FOR_HALF_WEIGHT = 20.0
YEARS_FOR_HALF_WEIGHT = 10.0
MOST_TREES, PATIENCE = 1000, 50  # of a booster that stops early, and for how many without gain it goes on
FEWEST_MOVIES = 100  # with enough votes; with fewer of them, all that are rated are learned from
WITHIN_YEAR = ("month", "day_of_year", "weekday")
QUESTIONS = 2  # about each movie; together they weigh as much as its record
QUESTION_YEARS_FOR_HALF_WEIGHT = 5.0  # beside the movie's own: where little is told the level counts, and it moves


class Learned(NamedTuple):
    """What a learner takes, n movies: features (n, f), texts, ratings, weights."""

    table: NDArray[np.float64]
    texts: list[str]
    ratings: NDArray[np.float64]
    weights: NDArray[np.float64]


@dataclass(frozen=True)
class Numbered:
    """n rated movies as features (n, f) and texts: their records, and `QUESTIONS` about each of them."""

    table: NDArray[np.float64]
    texts: list[str]
    questions: list[tuple[NDArray[np.float64], list[str]]]
    ratings: NDArray[np.float64]
    days: NDArray[np.int64]

    def learn(self, rows: NDArray[np.int64], weights: NDArray[np.float64], at: pd.Timestamp) -> Learned:
        """Return what is to be learned on a day of some movies, each of which counts as much as its weight."""
        years = np.maximum(at.toordinal() - self.days[rows], 0) / 365.25
        asked_about = weights * 0.5 ** (years / QUESTION_YEARS_FOR_HALF_WEIGHT)
        asked_about *= weights.sum() / asked_about.sum() / len(self.questions)
        views = [(self.table, self.texts), *self.questions]
        return Learned(
            np.concatenate([table[rows] for table, _ in views]),
            [texts[row] for _, texts in views for row in rows],
            np.tile(self.ratings[rows], len(views)),
            np.concatenate([weights, *([asked_about] * len(self.questions))]),
        )


def number(movies: pd.DataFrame, features: MovieFeatures) -> Numbered:
    """Number rated movies: each row sees only its own past, so any later split may use them."""
    raw = list(iterate(movies))
    return Numbered(
        features.transform(movies),
        [written(movie) for movie in raw],
        [_number_questions(raw, features, question) for question in range(QUESTIONS)],
        movies["vote_average"].to_numpy(dtype=float),
        np.array([day.toordinal() for day in movies["release_date"]], dtype=np.int64),
    )


def _number_questions(
    movies: Sequence[RawMovie], features: MovieFeatures, question: int
) -> tuple[NDArray[np.float64], list[str]]:
    """Number one question about each movie; of a release date that it does not tell, no more than the year is used."""
    questions, dated = zip(*(drawn(movie, question) for movie in movies), strict=True)
    table = features.transform(questions, sentiment=cached_sentiment)
    undated = np.flatnonzero(~np.array(dated))
    for name in WITHIN_YEAR:
        table[undated, features.columns_.index(name)] = np.nan
    return table, [written(movie) for movie in questions]


@dataclass(frozen=True)
class Fold:
    """One year to judge: what may be learned before it, and what was known of its movies when it began."""

    learned: Learned
    ratings: NDArray[np.float64]
    table: NDArray[np.float64]  # features of the records to judge, all that counts in them older than the year
    linear: NDArray[np.float64]  # the linear voice's predictions of them
    questions: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]  # the same by way of asking, where wanted

    def fit(self, learner: Any) -> Any:
        """Return the learner, fitted on what may be learned."""
        return clone(learner).fit(self.learned.table, self.learned.ratings, sample_weight=self.learned.weights)


def trees_needed(learner: Any, folds: Sequence[Fold]) -> int | None:
    """Return after how many trees a booster got no better on folds, their mean; None for a learner that never stops."""
    if not isinstance(learner, XGBRegressor | LGBMRegressor):
        return None
    needed = []
    for fold in folds:
        booster = clone(learner).set_params(n_estimators=MOST_TREES)
        given = fold.learned
        learned: dict[str, Any] = {"X": given.table, "y": given.ratings, "sample_weight": given.weights}
        if isinstance(booster, XGBRegressor):
            booster.set_params(early_stopping_rounds=PATIENCE)
            booster.fit(**learned, eval_set=[(fold.table, fold.ratings)], verbose=False)
            needed.append(booster.best_iteration + 1)
        else:
            stop = lightgbm.early_stopping(PATIENCE, verbose=False)
            booster.fit(**learned, eval_X=fold.table, eval_y=fold.ratings, eval_metric="rmse", callbacks=[stop])
            needed.append(booster.best_iteration_)
    return max(round(sum(needed) / len(needed)), 1)


def make_folds(
    movies: pd.DataFrame,
    features: MovieFeatures,
    known: Numbered,
    years: int,
    end: pd.Timestamp,
    ways: Mapping[str, Iterable[str]] | None = None,
) -> list[Fold]:
    """Return the last `years` before `end` as folds, oldest first; `known` are the movies as `features` number them.

    `ways` of asking about the movies, as in `models.questions`, are numbered beside their records.
    """
    folds = []
    for earlier, judged in walk_forward(movies, years, end):
        start = movies["release_date"].iloc[judged].min()
        chosen, weights = learnable(movies.iloc[earlier], start)
        learned = known.learn(earlier[chosen], weights[chosen], start)
        linear = LinearText().fit(*learned, features.columns_)
        questions = {}
        for way, raw in views(list(iterate(movies.iloc[judged])), ways or {}).items():
            table = features.transform(raw, start.toordinal(), cached_sentiment)
            questions[way] = table, linear.predict(table, [written(movie) for movie in raw])
        folds.append(Fold(learned, known.ratings[judged], *questions.pop(RECORD), questions))
    if not folds:
        raise ValueError(f"no movie of the last {years} years can be judged: collect more years, or more votes")
    return folds


def learnable(movies: pd.DataFrame, at: pd.Timestamp) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the rows with enough votes to learn from on a day, and the weight of every row, 0 to 1."""
    votes = np.nan_to_num(movies["vote_count"].to_numpy(dtype=float))
    age = (at - movies["release_date"]).dt.days.to_numpy(dtype=float) / 365.25
    weights = votes / (votes + VOTES_FOR_HALF_WEIGHT) * 0.5 ** (np.maximum(age, 0) / YEARS_FOR_HALF_WEIGHT)
    rows = np.flatnonzero(votes >= MIN_VOTES)
    return (rows if len(rows) >= FEWEST_MOVIES else np.flatnonzero(votes > 0)), np.maximum(weights, 1e-6)
