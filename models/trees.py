"""Predict with a fitted tree ensemble at the price of its arithmetic: no data frames, checks or thread pools between.

For a few movies a Random Forest walks all its trees at once through flat arrays; scikit-learn asks them one by one.
"""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
from lightgbm import LGBMRegressor
from numpy.typing import NDArray
from xgboost import XGBRegressor

FEW = 16  # movies
_forests: weakref.WeakKeyDictionary[Any, _Forest] = weakref.WeakKeyDictionary()


def predict_trees(trees: Any, table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the n predictions of features (n, f): those of `trees.predict`, in double precision."""
    if isinstance(trees, LGBMRegressor):
        predicted = trees.booster_.predict(table, num_threads=1)
    elif isinstance(trees, XGBRegressor):
        predicted = trees.get_booster().inplace_predict(table)
    elif len(table) <= FEW:
        if trees not in _forests:
            _forests[trees] = _Forest(trees)
        predicted = _forests[trees].predict(table)
    else:
        predicted = trees.predict(table)
    return np.asarray(predicted, dtype=float)


class _Forest:
    """A Random Forest as flat arrays over the nodes of all its trees; a leaf is its own child."""

    def __init__(self, forest: Any) -> None:
        trees = [estimator.tree_ for estimator in forest.estimators_]
        starts = np.cumsum([0, *(tree.node_count for tree in trees)])
        self.roots, self.depth = starts[:-1], max(tree.max_depth for tree in trees)
        leaf = np.concatenate([tree.children_left < 0 for tree in trees])
        own = np.arange(len(leaf))
        left, right = (
            np.concatenate([getattr(tree, name) + start for tree, start in zip(trees, starts[:-1], strict=True)])
            for name in ("children_left", "children_right")
        )
        self.left, self.right = np.where(leaf, own, left), np.where(leaf, own, right)
        self.feature = np.where(leaf, 0, np.concatenate([tree.feature for tree in trees]))
        self.threshold = np.concatenate([tree.threshold for tree in trees])
        self.missing_left = np.concatenate([tree.missing_go_to_left for tree in trees]).astype(bool)
        self.value = np.concatenate([tree.value[:, 0, 0] for tree in trees])

    def predict(self, table: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mean of all trees for each row."""
        single = table.astype(np.float32)  # as scikit-learn compares
        rows = np.arange(len(table))[:, np.newaxis]
        nodes = np.tile(self.roots, (len(table), 1))
        for _ in range(self.depth):
            values = single[rows, self.feature[nodes]]
            go_left = np.where(np.isnan(values), self.missing_left[nodes], values <= self.threshold[nodes])
            nodes = np.where(go_left, self.left[nodes], self.right[nodes])
        mean: NDArray[np.float64] = self.value[nodes].mean(axis=1)
        return mean
