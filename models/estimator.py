"""The learners: three families with their search spaces, and the model that is registered.

`RatingModel` takes raw movies, records and questions alike, and gives ratings with intervals. Feature preparation is
fitted inside it, so training and serving cannot differ. Its rating is a blend of a tree ensemble, one of `FAMILIES`,
and of a linear member that reads the words too, put right by what earlier predictions were off by where as little was
told. It is saved without pickle: `TRUSTED_TYPES` names what a reader must trust.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
from lightgbm import LGBMRegressor
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted
from xgboost import XGBRegressor

from models.facts import RawMovie, iterate, written
from models.feature_table import FeatureTable, Rows
from models.folds import learnable, make_folds
from models.intervals import ConformalInterval
from models.linear import LinearText
from models.movie import MAX_RATING, MIN_RATING
from models.reasons import Neighbour, Neighbours, Reason, gather, tree_contributions
from models.recalibration import Recalibration
from models.trees import predict_trees

CALIBRATION_YEARS = 8
# What tells how wrong a rating may be, beside the rating itself and how far its two members disagree.
UNCERTAINTY: tuple[str, ...] = ("expected", "runtime", "told_budget", "budget_log", "language_en", "title_translated")
UNCERTAINTY += tuple(
    f"genre_{name}" for name in ("Drama", "Horror", "Animation", "Documentary", "Comedy", "Action", "Romance")
)
UNCERTAINTY += tuple(f"{role}_count" for role in ("director", "writer", "cast", "producer", "company"))
# How many of these are known tells it, too.
COUNTED = tuple("runtime budget_log n_genres n_companies n_directors n_writers overview_words cast_mean".split())

UNTOLD = ("month", "title_words")  # NaN where no date and no title are told; of all else there are flags

ALIKE = ("genre_", "language_", "country_", "year", "runtime", "budget_log", "expected", "director_mean", "cast_mean")

TRUSTED_TYPES = [
    "collections.OrderedDict",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMRegressor",
    "models.estimator.RatingModel",
    "models.expectation.Expectation",
    "models.features.MovieFeatures",
    "models.intervals.ConformalInterval",
    "models.linear.LinearText",
    "models.recalibration.Recalibration",
    "models.reasons.Neighbours",
    "sklearn.tree._tree.Tree",
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBRegressor",
]


class Trial(Protocol):
    """What a search space needs of an Optuna trial."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int: ...
    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float: ...
    def suggest_categorical(self, name: str, choices: list[Any]) -> Any: ...


class _Columns(NamedTuple):
    """Where `UNCERTAINTY`, `COUNTED`, and what says that a field was not told stand in the features."""

    uncertainty: list[int]
    counted: list[int]
    untold: list[int]


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
        "learning_rate": trial.suggest_float("xgboost_learning_rate", 0.01, 0.06, log=True),
        "max_depth": trial.suggest_int("xgboost_max_depth", 2, 6),
        "min_child_weight": trial.suggest_float("xgboost_min_child_weight", 1.0, 40.0, log=True),
        "subsample": trial.suggest_float("xgboost_subsample", 0.5, 1.0),
        "colsample_bytree": trial.suggest_float("xgboost_colsample_bytree", 0.1, 0.6),
        "reg_lambda": trial.suggest_float("xgboost_reg_lambda", 0.1, 30.0, log=True),
    }


def _lightgbm_space(trial: Trial) -> dict[str, Any]:
    return {
        "learning_rate": trial.suggest_float("lightgbm_learning_rate", 0.01, 0.06, log=True),
        "num_leaves": trial.suggest_int("lightgbm_num_leaves", 6, 32, log=True),
        "min_child_samples": trial.suggest_int("lightgbm_min_child_samples", 5, 80, log=True),
        "subsample": trial.suggest_float("lightgbm_subsample", 0.5, 1.0),
        "colsample_bytree": trial.suggest_float("lightgbm_colsample_bytree", 0.1, 0.6),
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
            "learning_rate": 0.02,
            "max_depth": 4,
            "min_child_weight": 8.0,
            "subsample": 0.7,
            "colsample_bytree": 0.3,
            "reg_lambda": 5.0,
        },
    ),
    "lightgbm": Family(
        _lightgbm,
        _lightgbm_space,
        {
            "n_estimators": 500,
            "learning_rate": 0.02,
            "num_leaves": 16,
            "min_child_samples": 15,
            "subsample": 0.7,
            "colsample_bytree": 0.3,
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
    family : the tree ensemble, one of `FAMILIES`.
    params : parameters of its learner; the family's defaults where None.
    linear_share : weight of the linear member in the blend, 0 to 1.
    histories : whether people's and companies' earlier movies are used.
    seed : of the learner.
    """

    def __init__(
        self,
        family: str = "lightgbm",
        params: dict[str, Any] | None = None,
        linear_share: float = 0.5,
        histories: bool = True,
        seed: int = 0,
    ) -> None:
        self.family = family
        self.params = params
        self.linear_share = linear_share
        self.histories = histories
        self.seed = seed

    def fit(self, X: pd.DataFrame | FeatureTable, y: ArrayLike | None = None) -> RatingModel:
        """Learn from a frame of rated movies with the columns of `models.movie.FIELDS`, or from its feature table.

        `y` overrides the vote_average of a frame.

        Recent ratings by many voters weigh most; each movie is learned from as its record and as people ask about it
        (`models.questions`). What is off, and the interval, are calibrated on all ways of asking about the movies of
        the newest `CALIBRATION_YEARS`, each year predicted by a fit, and from histories, that end before it.
        """
        self.learner()  # an unknown family is refused before the work
        if isinstance(X, FeatureTable):
            known = X
        else:
            rated = X if y is None else X.assign(vote_average=np.asarray(y, dtype=float))
            known = FeatureTable.of(rated, self.histories)
        if known.features.histories != self.histories:
            raise ValueError(
                f"the table was numbered with histories={known.features.histories}, the model wants otherwise"
            )
        self.features_, self._columns = known.features, None
        end = known.movies["release_date"].max() + pd.Timedelta(days=1)
        rows, weights = learnable(known.movies, end)
        learned = known.learn(rows, weights[rows], end)
        self.trees_ = self.learner().fit(learned.table, learned.ratings, sample_weight=learned.weights)
        self.linear_ = LinearText().fit(*learned, self.features_.columns_)

        standard = self.linear_.standardised(known.records.table[rows])
        self.neighbours_ = Neighbours().fit(standard[:, self._alike()], known.movies.iloc[rows])
        told: list[tuple[NDArray[np.float64], ...]] = []  # features, members, residuals, and those of the whole records
        for fold in make_folds(known, CALIBRATION_YEARS, end):
            learner, views = fold.fit(self.learner()), [(fold.table, fold.linear), *fold.questions.values()]
            members = [(table, learner.predict(table), linear) for table, linear in views]
            residuals = [fold.ratings - self._blend(trees, linear) for _, trees, linear in members]
            told += [(*member, residual, residuals[0]) for member, residual in zip(members, residuals, strict=True)]
        table, trees, linear, residual, of_record = (np.concatenate(parts) for parts in zip(*told, strict=True))
        untold = self._untold(table)
        self.recalibration_ = Recalibration().fit(untold, residual - of_record)
        left = residual - self.recalibration_.predict(untold)
        self.interval_ = ConformalInterval().fit(self._uncertainty(table, trees, linear, untold), left, self._signs())
        self.learned_until_ = str(known.movies["release_date"].max().date())
        self.n_movies_ = len(known.movies)
        return self

    def predict(self, X: pd.DataFrame | Iterable[RawMovie]) -> NDArray[np.float64]:
        """Return the n predicted ratings of raw movies, 0 to 10."""
        return self.predict_interval(X)[0]

    def predict_interval(
        self, X: pd.DataFrame | Iterable[RawMovie], level: float = 0.9
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return ratings, lower and upper ends of the interval at `level`, n each, 0 to 10."""
        ratings, ends = self.predict_intervals(self.rows(X), (level,))
        return ratings, *ends[level]

    def predict_intervals(
        self, rows: Rows, confidences: Sequence[float]
    ) -> tuple[NDArray[np.float64], dict[float, tuple[NDArray[np.float64], NDArray[np.float64]]]]:
        """Return n ratings of numbered movies, and for each confidence the ends of their intervals, 0 to 10."""
        if not hasattr(self, "interval_"):  # check_is_fitted costs a tenth of a prediction
            raise NotFittedError("fit RatingModel before it can predict")
        trees, linear = predict_trees(self.trees_, rows.table), self.linear_.predict(*rows)
        untold = self._untold(rows.table)
        ratings = self._blend(trees, linear) + self.recalibration_.predict(untold)
        uncertainty, ends = self._uncertainty(rows.table, trees, linear, untold), {}
        for confidence, half in zip(confidences, self.interval_.half_widths(uncertainty, confidences), strict=True):
            ends[confidence] = _clipped(ratings - half), _clipped(ratings + half)
        return _clipped(ratings), ends

    def rows(self, X: pd.DataFrame | Iterable[RawMovie]) -> Rows:
        """Return raw movies as the model takes them."""
        if not hasattr(self, "features_"):
            raise NotFittedError("fit RatingModel before it can predict")
        if not isinstance(X, pd.DataFrame):
            X = list(X)
        return Rows(self.features_.transform(X), [written(movie) for movie in iterate(X)])

    def linear(self, X: pd.DataFrame) -> NDArray[np.float64]:
        """Return the n ratings that the linear member alone would give: a baseline for the whole."""
        return self.linear_.predict(*self.rows(X))

    def explain(self, movie: RawMovie) -> tuple[float, list[Reason]]:
        """Return the average rating and what each raw field adds to it; together they are the prediction.

        The prediction meant is the one before it is clipped to 0 to 10.
        """
        return self.explain_each([movie])[0]

    def explain_each(self, movies: Sequence[RawMovie], rows: Rows | None = None) -> list[tuple[float, list[Reason]]]:
        """Return what `explain` says of each movie, at a fraction of its price; `rows` are they, if numbered."""
        check_is_fitted(self, "interval_")
        if not movies:
            return []
        (table, texts), sources = rows or self.rows(movies), self.features_.sources()
        words = list(sources).index("overview_words")
        shares = (1 - self.linear_share) * tree_contributions(self.trees_, table)
        shares += self.linear_share * self.linear_.contributions(table, texts, words)
        points = self.features_.spread_expected(shares[:, :-1], table, movies)
        points[:, self._where().untold] += self.recalibration_.contributions(self._untold(table))
        return [
            (base, gather(row, sources, movie, self.features_.pasts(movie)))
            for base, row, movie in zip(shares[:, -1].tolist(), points, movies, strict=True)
        ]

    def similar(self, movie: RawMovie, count: int = 5) -> list[Neighbour]:
        """Return the known movies most like this one, with their ratings."""
        check_is_fitted(self, "interval_")
        standard = self.linear_.standardised(self.features_.transform([movie]))[0, self._alike()]
        return self.neighbours_.find(standard, movie, count)

    def compact(self) -> None:
        """Make ready to predict, and forget what only a stored model needs: it can be stored no more."""
        check_is_fitted(self, "interval_")
        self.features_.compact()

    def learner(self) -> Any:
        """Return the learner of the family, not fitted yet."""
        if self.family not in FAMILIES:
            raise ValueError(f"family {self.family!r} is unknown: one of {', '.join(FAMILIES)}")
        family = FAMILIES[self.family]
        return family.build(self.seed, **(self.params or family.default))

    def _alike(self) -> list[int]:
        """Return the columns by which people call two movies alike."""
        return [n for n, name in enumerate(self.features_.columns_) if name.startswith(ALIKE)]

    def _blend(self, trees: NDArray[np.float64], linear: NDArray[np.float64]) -> NDArray[np.float64]:
        return (1 - self.linear_share) * trees + self.linear_share * linear

    def _uncertainty(
        self,
        table: NDArray[np.float64],
        trees: NDArray[np.float64],
        linear: NDArray[np.float64],
        untold: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        where = self._where()
        known = (table[:, where.counted] == table[:, where.counted]).sum(axis=1)  # NaN equals nothing
        members = np.array([self._blend(trees, linear), np.abs(trees - linear), known]).T
        return np.concatenate([members, table[:, where.uncertainty], untold], axis=1)

    def _signs(self) -> NDArray[np.int64]:
        """Return how uncertainty features may move a width: what is told (-1) never up, what is not (1) never down."""
        where = self._where()
        uncertainty = [-1 if self.features_.columns_[column].startswith("told_") else 0 for column in where.uncertainty]
        return np.array([0, 0, -1, *uncertainty, *([1] * len(where.untold))], dtype=np.int64)

    def _untold(self, table: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return flags (n, f), 1 where a field was not told."""
        return np.isnan(table[:, self._where().untold]).astype(float)

    def _where(self) -> _Columns:
        if self._columns is None:
            names = self.features_.columns_
            at = {name: n for n, name in enumerate(names)}
            uncertainty, counted = ([at[name] for name in wanted if name in at] for wanted in (UNCERTAINTY, COUNTED))
            untold = [n for n, name in enumerate(names) if name in UNTOLD or name.startswith("told_")]
            self._columns = _Columns(uncertainty, counted, untold)
        return self._columns

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in super().__getstate__().items() if k != "_columns"}

    _columns: _Columns | None = None


def _clipped(ratings: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(ratings, MIN_RATING, MAX_RATING)
