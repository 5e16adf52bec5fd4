"""The learners: three families with their search spaces, and the model that is registered.

`RatingModel` takes raw movies and gives ratings with intervals. Feature preparation is fitted inside it, so training
and serving cannot differ. It is saved without pickle: `TRUSTED_TYPES` names what a reader must trust.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from lightgbm import LGBMRegressor
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.ensemble import RandomForestRegressor
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted
from xgboost import XGBRegressor

from models.evaluation import walk_forward
from models.features import MovieFeatures, RawMovie
from models.intervals import ConformalInterval
from models.movie import MAX_RATING, MIN_RATING

VOTES_FOR_HALF_WEIGHT = 30.0
CALIBRATION_YEARS = 4

TRUSTED_TYPES = [
    "collections.OrderedDict",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMRegressor",
    "models.estimator.RatingModel",
    "models.features.MovieFeatures",
    "models.intervals.ConformalInterval",
    "sklearn.tree._tree.Tree",
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBRegressor",
]


class Trial(Protocol):
    """What a search space needs of an Optuna trial."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int: ...
    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float: ...
    def suggest_categorical(self, name: str, choices: list[Any]) -> Any: ...


@dataclass(frozen=True)
class Family:
    """A kind of learner: how to make one from its parameters, and where to look for good ones."""

    build: Callable[..., Any]
    space: Callable[[Trial], dict[str, Any]]
    default: dict[str, Any]


def _xgboost(seed: int, **params: Any) -> XGBRegressor:
    return XGBRegressor(random_state=seed, tree_method="hist", n_jobs=1, **params)


def _lightgbm(seed: int, **params: Any) -> LGBMRegressor:
    fixed: dict[str, Any] = {
        "n_jobs": 1,
        "verbosity": -1,
        "deterministic": True,
        "force_row_wise": True,
        "subsample_freq": 1,
    }
    return LGBMRegressor(random_state=seed, **fixed, **params)


def _random_forest(seed: int, **params: Any) -> RandomForestRegressor:
    return RandomForestRegressor(random_state=seed, n_jobs=1, **params)


def _xgboost_space(trial: Trial) -> dict[str, Any]:
    return {
        "n_estimators": trial.suggest_int("xgboost_n_estimators", 150, 900, log=True),
        "learning_rate": trial.suggest_float("xgboost_learning_rate", 0.01, 0.12, log=True),
        "max_depth": trial.suggest_int("xgboost_max_depth", 3, 7),
        "min_child_weight": trial.suggest_float("xgboost_min_child_weight", 1.0, 40.0, log=True),
        "subsample": trial.suggest_float("xgboost_subsample", 0.5, 1.0),
        "colsample_bytree": trial.suggest_float("xgboost_colsample_bytree", 0.2, 0.9),
        "reg_lambda": trial.suggest_float("xgboost_reg_lambda", 0.1, 30.0, log=True),
    }


def _lightgbm_space(trial: Trial) -> dict[str, Any]:
    return {
        "n_estimators": trial.suggest_int("lightgbm_n_estimators", 150, 900, log=True),
        "learning_rate": trial.suggest_float("lightgbm_learning_rate", 0.01, 0.12, log=True),
        "num_leaves": trial.suggest_int("lightgbm_num_leaves", 7, 63, log=True),
        "min_child_samples": trial.suggest_int("lightgbm_min_child_samples", 5, 80, log=True),
        "subsample": trial.suggest_float("lightgbm_subsample", 0.5, 1.0),
        "colsample_bytree": trial.suggest_float("lightgbm_colsample_bytree", 0.2, 0.9),
        "reg_lambda": trial.suggest_float("lightgbm_reg_lambda", 0.1, 30.0, log=True),
    }


def _random_forest_space(trial: Trial) -> dict[str, Any]:
    return {
        "n_estimators": trial.suggest_int("random_forest_n_estimators", 60, 200),
        "max_features": trial.suggest_float("random_forest_max_features", 0.15, 0.6),
        "min_samples_leaf": trial.suggest_int("random_forest_min_samples_leaf", 2, 15, log=True),
        "max_samples": trial.suggest_float("random_forest_max_samples", 0.4, 0.95),
    }


FAMILIES: dict[str, Family] = {
    "xgboost": Family(
        _xgboost,
        _xgboost_space,
        {
            "n_estimators": 500,
            "learning_rate": 0.03,
            "max_depth": 5,
            "min_child_weight": 8.0,
            "subsample": 0.8,
            "colsample_bytree": 0.4,
            "reg_lambda": 5.0,
        },
    ),
    "lightgbm": Family(
        _lightgbm,
        _lightgbm_space,
        {
            "n_estimators": 500,
            "learning_rate": 0.03,
            "num_leaves": 21,
            "min_child_samples": 20,
            "subsample": 0.8,
            "colsample_bytree": 0.4,
            "reg_lambda": 5.0,
        },
    ),
    "random_forest": Family(
        _random_forest,
        _random_forest_space,
        {"n_estimators": 120, "max_features": 0.33, "min_samples_leaf": 4, "max_samples": 0.8},
    ),
}


class RatingModel(RegressorMixin, BaseEstimator):
    """Predict ratings of raw movies, with intervals.

    Parameters
    ----------
    family : one of `FAMILIES`.
    params : parameters of the learner; the family's defaults where None.
    histories : whether people's and companies' earlier movies are used.
    seed : of the learner and of the interval's booster.
    """

    def __init__(
        self,
        family: str = "lightgbm",
        params: dict[str, Any] | None = None,
        histories: bool = True,
        seed: int = 0,
    ) -> None:
        self.family = family
        self.params = params
        self.histories = histories
        self.seed = seed

    def fit(self, X: pd.DataFrame, y: ArrayLike | None = None) -> RatingModel:
        """Learn from a frame of rated movies with the columns of `models.movie.FIELDS`; `y` overrides vote_average.

        Votes weight the rows: a mean of five votes is a less certain rating than a mean of five thousand. The interval
        is calibrated on the newest `CALIBRATION_YEARS`, each predicted by a fit that ends before it.
        """
        ratings = np.asarray(X["vote_average"] if y is None else y, dtype=float)
        weights = rating_weights(X["vote_count"])
        self.pipeline_ = Pipeline([("features", MovieFeatures(self.histories)), ("regressor", self.learner())])
        features = self.pipeline_[0].fit(X, ratings).transform(X)
        self.pipeline_[-1].fit(features, ratings, sample_weight=weights)
        end = X["release_date"].max() + pd.Timedelta(days=1)
        residuals, rows = walk_forward_residuals(self.learner(), features, ratings, weights, X, CALIBRATION_YEARS, end)
        self.interval_ = ConformalInterval(self.seed).fit(features[rows], residuals)
        self.learned_until_ = str(X["release_date"].max().date())
        self.n_movies_ = len(X)
        return self

    def predict(self, X: pd.DataFrame | Iterable[RawMovie]) -> NDArray[np.float64]:
        """Return the n predicted ratings of raw movies, 0 to 10."""
        return self.predict_interval(X)[0]

    def predict_interval(
        self, X: pd.DataFrame | Iterable[RawMovie], level: float = 0.9
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return ratings, lower and upper ends of the interval at `level`, n each, 0 to 10."""
        check_is_fitted(self, "pipeline_")
        features = self.pipeline_[0].transform(X)
        ratings = np.asarray(self.pipeline_[-1].predict(features), dtype=float)
        half = self.interval_.half_width(features, level)
        low, high = ratings - half, ratings + half
        return (
            np.clip(ratings, MIN_RATING, MAX_RATING),
            np.clip(low, MIN_RATING, MAX_RATING),
            np.clip(high, MIN_RATING, MAX_RATING),
        )

    def learner(self) -> Any:
        """Return the learner of the family, not fitted yet."""
        if self.family not in FAMILIES:
            raise ValueError(f"family {self.family!r} is unknown: one of {', '.join(FAMILIES)}")
        family = FAMILIES[self.family]
        return family.build(self.seed, **(self.params or family.default))


def rating_weights(votes: ArrayLike) -> NDArray[np.float64]:
    """Return how much each rating is believed, 0 to 1, from its number of votes."""
    n = np.nan_to_num(np.asarray(votes, dtype=float))
    weights: NDArray[np.float64] = np.maximum(n / (n + VOTES_FOR_HALF_WEIGHT), 1e-3)
    return weights


def walk_forward_residuals(
    learner: Any,
    features: NDArray[np.float64],
    ratings: NDArray[np.float64],
    weights: NDArray[np.float64],
    movies: pd.DataFrame,
    years: int,
    end: pd.Timestamp,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return residuals (actual minus predicted) of the last `years` before `end` and the rows they belong to.

    `features` may be computed once for all rows, because a history looks only at what was released before its movie.
    """
    residuals, rows = [], []
    for earlier, judged in walk_forward(movies, years, end):
        model = clone(learner).fit(features[earlier], ratings[earlier], sample_weight=weights[earlier])
        residuals.append(ratings[judged] - model.predict(features[judged]))
        rows.append(judged)
    if not rows:
        raise ValueError(f"no movie of the last {years} years can be judged: collect more years, or more votes")
    return np.concatenate(residuals), np.concatenate(rows)
