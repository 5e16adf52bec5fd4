"""What a model learns from, and the years it is judged on: each movie as its record and as people ask about it.

A fold is one year: what may be learned before it, and what was known of its movies when it began.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
from lightgbm import LGBMRegressor
from numpy.typing import NDArray
from sklearn.base import clone
from xgboost import XGBRegressor

from models.evaluation import MIN_VOTES, walk_forward
from models.feature_table import FeatureTable, Learned
from models.linear import LinearText
from models.questions import RECORD

VOTES_FOR_HALF_WEIGHT = 20.0
YEARS_FOR_HALF_WEIGHT = 10.0
MOST_TREES, PATIENCE = 1000, 50  # of a booster that stops early, and for how many without gain it goes on
TUNING_YEARS = 4  # that a recipe is judged on
FEWEST_MOVIES = 100  # with enough votes; with fewer of them, all that are rated are learned from


@dataclass(frozen=True)
class Fold:
    """One year to judge: what may be learned before it, and what was known of its movies when it began."""

    learn: Callable[[], Learned]
    ratings: NDArray[np.float64]
    table: NDArray[np.float64]  # features of the records to judge, all that counts in them older than the year
    linear: NDArray[np.float64]  # the linear member's predictions of them
    questions: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]  # the same by way of asking

    def fit(self, learner: Any) -> Any:
        """Return the learner, fitted on what may be learned."""
        learned = self.learn()
        return clone(learner).fit(learned.table, learned.ratings, sample_weight=learned.weights)


def trees_needed(learner: Any, folds: Sequence[Fold]) -> int | None:
    """Return after how many trees a booster got no better on folds, their mean; None for a learner that never stops."""
    if not isinstance(learner, XGBRegressor | LGBMRegressor):
        return None
    needed = []
    for fold in folds:
        booster = clone(learner).set_params(n_estimators=MOST_TREES)
        given = fold.learn()
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


def make_folds(known: FeatureTable, years: int, end: pd.Timestamp) -> list[Fold]:
    """Return the last `years` before `end` as folds, oldest first. The table keeps what was made: a fold costs once."""
    folds = [_fold(known, *year) for year in _years(known, years, end)]
    if not folds:
        raise ValueError(f"no movie of the last {years} years can be judged: collect more years, or more votes")
    return folds


def number_years(known: FeatureTable, years: int, end: pd.Timestamp) -> None:
    """Number what the folds of the last `years` before `end` need."""
    for _, judged, start in _years(known, years, end):
        known.year(judged, start.toordinal())


def _years(
    known: FeatureTable, years: int, end: pd.Timestamp
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], pd.Timestamp]]:
    """Yield earlier rows, rows to judge and the first day of each year that can be judged."""
    for earlier, judged in walk_forward(known.movies, years, end):
        yield earlier, judged, known.movies["release_date"].iloc[judged].min()


def _fold(known: FeatureTable, earlier: NDArray[np.int64], judged: NDArray[np.int64], start: pd.Timestamp) -> Fold:
    key = start.toordinal(), len(judged)
    if key not in known.folds:
        chosen, weights = learnable(known.movies.iloc[earlier], start)
        learn = partial(known.learn, earlier[chosen], weights[chosen], start)
        linear = LinearText().fit(*learn(), known.features.columns_)
        seen = known.year(judged, start.toordinal())
        voiced = {way: (rows.table, linear.predict(*rows)) for way, rows in seen.items()}
        known.folds[key] = Fold(learn, known.ratings[judged], *voiced.pop(RECORD), voiced)
    fold: Fold = known.folds[key]
    return fold


def learnable(movies: pd.DataFrame, at: pd.Timestamp) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the rows with enough votes to learn from on a day, and the weight of every row, 0 to 1."""
    votes = np.nan_to_num(movies["vote_count"].to_numpy(dtype=float))
    age = (at - movies["release_date"]).dt.days.to_numpy(dtype=float) / 365.25
    weights = votes / (votes + VOTES_FOR_HALF_WEIGHT) * 0.5 ** (np.maximum(age, 0) / YEARS_FOR_HALF_WEIGHT)
    rows = np.flatnonzero(votes >= MIN_VOTES)
    return (rows if len(rows) >= FEWEST_MOVIES else np.flatnonzero(votes > 0)), np.maximum(weights, 1e-6)
