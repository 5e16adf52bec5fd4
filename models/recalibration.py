"""What a prediction is off by where less is told: put right before it is given.

Where little is told a prediction falls back to what movies usually reach, and the movies learned from are older, and
rated by fewer, than those that people ask about. How much that costs shows in predictions made before the rated movies
came out, against those of the same movies' whole records: what moved in a year moved both, and cancels out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator


class Recalibration(BaseEstimator):
    """Ridge regression of errors on what was not told; where all is told, nothing is put right."""

    def __init__(self, alpha: float = 100.0) -> None:
        self.alpha = alpha

    def fit(self, untold: NDArray[np.float64], errors: NDArray[np.float64]) -> Recalibration:
        """Learn from flags (n, f), 1 where a field was not told, and by how much n predictions were lower for that."""
        self.slopes_ = np.linalg.solve(untold.T @ untold + self.alpha * np.eye(untold.shape[1]), untold.T @ errors)
        return self

    def predict(self, untold: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what is to be added to n predictions, rating points."""
        offsets: NDArray[np.float64] = untold @ self.slopes_
        return offsets

    def contributions(self, untold: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what each flag (n, f) adds to that."""
        shares: NDArray[np.float64] = untold * self.slopes_
        return shares
