"""How sure a prediction is: conformal intervals that widen where the model errs more.

Learned from residuals of predictions made before the rated movie came out, so that the stated share of future ratings
falls inside as long as the future errs like the recent past.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear
from sklearn.base import BaseEstimator

from models.linear import standardise

FOLDS = 4
MIN_RESIDUALS = 30
CLIP = 3.0  # standard deviations: beyond, a straight line is no longer believed


class ConformalInterval(BaseEstimator):
    """Half-widths of intervals around predictions, by normalised residuals.

    A ridge regression learns the size of the error from the features (on real movies narrower, and nearer to the stated
    coverage, than a booster); the quantiles of |residual| / size then set the width for any confidence. The sizes that
    the quantiles come from are cross-fitted. `signs` says of a feature that a larger value never narrows (1) or never
    widens (-1) an interval: who tells more is not told to be less sure.
    """

    def __init__(self, alpha: float = 100.0) -> None:
        self.alpha = alpha

    def fit(
        self, X: NDArray[np.float64], residuals: NDArray[np.float64], signs: NDArray[np.int64] | None = None
    ) -> ConformalInterval:
        """Learn from features of shape (n, f), NaN where missing, and the n out-of-time residuals, oldest first.

        `signs` (f) bounds the slopes: 1 where none may fall, -1 where none may rise, 0 where either may be.
        """
        bounded = np.zeros(X.shape[1], dtype=np.int64) if signs is None else signs
        bounds = np.where(bounded > 0, 0.0, -np.inf), np.where(bounded < 0, 0.0, np.inf)
        if len(residuals) < MIN_RESIDUALS:
            raise ValueError(f"{len(residuals)} residuals are too few for an interval: {MIN_RESIDUALS} are needed")
        size = np.abs(residuals)
        self.floor_ = float(np.quantile(size, 0.5) / 2)
        known = ~np.isnan(X)
        count = np.maximum(known.sum(axis=0), 1)
        self.mean_ = np.where(known, X, 0.0).sum(axis=0) / count
        self.scale_ = np.sqrt((np.where(known, X - self.mean_, 0.0) ** 2).sum(axis=0) / count)
        self.scale_[self.scale_ < 1e-6] = np.inf  # what never differs says nothing
        Z = self._standard(X)
        scores = np.empty(len(size))
        for fold in np.array_split(np.arange(len(size)), FOLDS):
            rest = np.setdiff1d(np.arange(len(size)), fold)
            scores[fold] = size[fold] / self._size(self._ridge(Z[rest], size[rest], bounds), Z[fold])
        self.scores_ = np.sort(scores)
        self.line_ = self._ridge(Z, size, bounds)
        return self

    def half_width(self, X: NDArray[np.float64], level: float = 0.9) -> NDArray[np.float64]:
        """Return the n half-widths in rating points for intervals that hold a share `level` (0 to 1, exclusive)."""
        return self.half_widths(X, (level,))[0]

    def half_widths(self, X: NDArray[np.float64], confidences: Sequence[float]) -> list[NDArray[np.float64]]:
        """Return for each confidence (0 to 1, exclusive) the n half-widths, in rating points, that hold this share."""
        for confidence in confidences:
            if not 0 < confidence < 1:
                raise ValueError(f"confidence {confidence} must lie between 0 and 1, for example 0.9")
        n, sizes = len(self.scores_), self._size(self.line_, self._standard(X))
        return [sizes * self.scores_[min(math.ceil((n + 1) * c), n) - 1] for c in confidences]

    def _standard(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the features in standard deviations from their mean, 0 where missing."""
        return standardise(X, self.mean_, self.scale_, CLIP)

    def _ridge(
        self, Z: NDArray[np.float64], size: NDArray[np.float64], bounds: tuple[NDArray[np.float64], NDArray[np.float64]]
    ) -> NDArray[np.float64]:
        """Return intercept and slopes, which lie within bounds."""
        center = Z.mean(axis=0)
        A = Z - center
        root = np.linalg.cholesky(A.T @ A + self.alpha * np.eye(Z.shape[1]))  # the same least squares, f rows of it
        slopes = lsq_linear(root.T, np.linalg.solve(root, A.T @ (size - size.mean())), bounds).x
        return np.concatenate([[size.mean() - center @ slopes], slopes])

    def _size(self, line: NDArray[np.float64], Z: NDArray[np.float64]) -> NDArray[np.float64]:
        sizes: NDArray[np.float64] = np.maximum(line[0] + Z @ line[1:], self.floor_)
        return sizes
