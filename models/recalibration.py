"""What earlier predictions were off by, by what they had been told: put right before the next one is made.

Where little is told a prediction falls back to what movies usually reach, and the movies learned from are older, and
rated by fewer, than those that people ask about. How much that costs shows in predictions that were made before the
rated movies came out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator


class Recalibration(BaseEstimator):
    """Ridge regression of out-of-time errors on what was not told."""

    def __init__(self, alpha: float = 100.0) -> None:
        self.alpha = alpha

    def fit(self, untold: NDArray[np.float64], residuals: NDArray[np.float64]) -> Recalibration:
        """Learn from flags (n, f), 1 where a field was not told, and the n residuals, actual minus predicted."""
        self.center_, self.base_ = untold.mean(axis=0), float(residuals.mean())
        A = untold - self.center_
        self.slopes_ = np.linalg.solve(A.T @ A + self.alpha * np.eye(A.shape[1]), A.T @ (residuals - self.base_))
        return self

    def predict(self, untold: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what is to be added to n predictions, rating points."""
        offsets: NDArray[np.float64] = self.base_ + (untold - self.center_) @ self.slopes_
        return offsets

    def contributions(self, untold: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what each flag (n, f) adds to that; `base_` is the rest."""
        shares: NDArray[np.float64] = (untold - self.center_) * self.slopes_
        return shares
