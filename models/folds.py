"""What a model learns from, and the years it is judged on: each movie as it is and as it may be known early.

A fold is one year: what may be learned before it, and what was known of its movies when it began.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import lightgbm
import numpy as np
import pandas as pd
from lightgbm import LGBMRegressor
from numpy.typing import NDArray
from sklearn.base import clone
from xgboost import XGBRegressor

from models.early import early
from models.evaluation import MIN_VOTES, walk_forward
from models.facts import iterate, written
from models.features import MovieFeatures
from models.linear import LinearText

VOTES_FOR_HALF_WEIGHT = 20.0
YEARS_FOR_HALF_WEIGHT = 10.0
MOST_TREES, PATIENCE = 1000, 50  # of a booster that stops early, and for how many without gain it goes on
FEWEST_MOVIES = 100  # with enough votes; with fewer of them, all that are rated are learned from
WITHIN_YEAR = ("month", "day_of_year", "weekday")
EARLY_WEIGHT = 0.15  # of a movie as it may be known early; more costs accuracy on finished records and gains little


class Learned(NamedTuple):
    """What a learner takes, n movies: features (n, f), texts, ratings, weights."""

    table: NDArray[np.float64]
    texts: list[str]
    ratings: NDArray[np.float64]
    weights: NDArray[np.float64]


@dataclass(frozen=True)
class Numbered:
    """n rated movies as features (n, f) and texts: as they are, and as they may be known early."""

    table: NDArray[np.float64]
    texts: list[str]
    early: pd.DataFrame
    early_table: NDArray[np.float64]
    early_texts: list[str]
    ratings: NDArray[np.float64]

    def learn(self, rows: NDArray[np.int64], weights: NDArray[np.float64]) -> Learned:
        """Return what is to be learned of some movies, each of which counts as much as its weight."""
        return Learned(
            np.concatenate([self.table[rows], self.early_table[rows]]),
            [texts[row] for texts in (self.texts, self.early_texts) for row in rows],
            np.concatenate([self.ratings[rows]] * 2),
            np.concatenate([weights, EARLY_WEIGHT * weights]),
        )


def number(movies: pd.DataFrame, features: MovieFeatures) -> Numbered:
    """Number rated movies: each row sees only its own past, so any later split may use them."""
    raw = list(iterate(movies))
    copies = early(raw)
    frame = pd.DataFrame(copies)
    return Numbered(
        features.transform(movies),
        [written(movie) for movie in raw],
        frame,
        _number_early(frame, features),
        [written(movie) for movie in copies],
        movies["vote_average"].to_numpy(dtype=float),
    )


def _number_early(copies: pd.DataFrame, features: MovieFeatures, known_until: int | None = None) -> NDArray[np.float64]:
    """Number movies as they may be known early; of every other one no more than the year."""
    table = features.transform(copies, known_until)
    for name in WITHIN_YEAR:
        table[::2, features.columns_.index(name)] = np.nan
    return table


@dataclass(frozen=True)
class Fold:
    """One year to judge: what may be learned before it, and what was known of its movies when it began."""

    learned: Learned
    table: NDArray[np.float64]  # features of the movies to judge, with histories that end before the year
    ratings: NDArray[np.float64]
    linear: NDArray[np.float64]  # the linear voice's predictions of them
    early_table: NDArray[np.float64]  # the same of the movies as they may be known early
    early_linear: NDArray[np.float64]

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
    movies: pd.DataFrame, features: MovieFeatures, known: Numbered, years: int, end: pd.Timestamp
) -> list[Fold]:
    """Return the last `years` before `end` as folds, oldest first; `known` are the movies as `features` number them."""
    folds = []
    for earlier, judged in walk_forward(movies, years, end):
        start = movies["release_date"].iloc[judged].min()
        chosen, weights = learnable(movies.iloc[earlier], start)
        learned = known.learn(earlier[chosen], weights[chosen])
        linear = LinearText().fit(*learned, features.columns_)
        then = start.toordinal()
        table = features.transform(movies.iloc[judged], known_until=then)
        early_table = _number_early(known.early.iloc[judged], features, then)
        voice, early_voice = (
            linear.predict(view, [texts[row] for row in judged])
            for view, texts in ((table, known.texts), (early_table, known.early_texts))
        )
        folds.append(Fold(learned, table, known.ratings[judged], voice, early_table, early_voice))
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
