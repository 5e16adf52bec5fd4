"""How sure a prediction is: conformal intervals that widen where the model errs more.

Learned from residuals of predictions made before the rated movie came out, so that the stated share of future ratings
falls inside as long as the future errs like the recent past.
"""

from __future__ import annotations

import numpy as np
from lightgbm import LGBMRegressor
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

FOLDS = 4
MIN_RESIDUALS = 30


class ConformalInterval(BaseEstimator):
    """Half-widths of intervals around predictions, by normalised residuals.

    A small booster learns the size of the error from the features; the quantiles of |residual| / size then set the
    width at any level. The sizes that the quantiles come from are cross-fitted.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, X: NDArray[np.float64], residuals: NDArray[np.float64]) -> ConformalInterval:
        """Learn from features of shape (n, f) and the n out-of-time residuals, oldest first."""
        if len(residuals) < MIN_RESIDUALS:
            raise ValueError(f"{len(residuals)} residuals are too few for an interval: {MIN_RESIDUALS} are needed")
        size = np.abs(residuals)
        self.floor_ = float(np.quantile(size, 0.5) / 2)
        scores = np.empty(len(size))
        for fold in np.array_split(np.arange(len(size)), FOLDS):
            rest = np.setdiff1d(np.arange(len(size)), fold)
            scores[fold] = size[fold] / self._size(self._booster().fit(X[rest], size[rest]), X[fold])
        self.scores_ = np.sort(scores)
        self.size_model_ = self._booster().fit(X, size)
        return self

    def half_width(self, X: NDArray[np.float64], level: float = 0.9) -> NDArray[np.float64]:
        """Return the n half-widths in rating points for intervals that hold a share `level` (0 to 1, exclusive)."""
        if not 0 < level < 1:
            raise ValueError(f"level {level} must lie between 0 and 1, for example 0.9")
        n = len(self.scores_)
        rank = min(int(np.ceil((n + 1) * level)), n)
        half: NDArray[np.float64] = self._size(self.size_model_, X) * self.scores_[rank - 1]
        return half

    def _booster(self) -> LGBMRegressor:
        return LGBMRegressor(
            n_estimators=100,
            learning_rate=0.03,
            num_leaves=4,
            min_child_samples=40,
            subsample=0.7,
            subsample_freq=1,
            colsample_bytree=0.5,
            reg_lambda=10.0,
            random_state=self.seed,
            n_jobs=1,
            deterministic=True,
            force_row_wise=True,
            verbosity=-1,
        )

    def _size(self, model: LGBMRegressor, X: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.maximum(model.booster_.predict(X, num_threads=1), self.floor_)
