"""Predict with a fitted tree ensemble at the price of its arithmetic: no data frames, checks or thread pools between.

For one movie the boosters are asked through their C interfaces, which Python's wrappers cost more than; for a few, a
Random Forest walks all its trees at once through flat arrays, while scikit-learn asks them one by one.
"""

from __future__ import annotations

import ctypes
import json
import threading
import weakref
from typing import Any

import lightgbm
import numpy as np
import xgboost
from lightgbm import LGBMRegressor
from lightgbm.basic import _LIB as LIGHTGBM  # type: ignore[attr-defined]
from numpy.typing import NDArray
from xgboost import XGBRegressor
from xgboost.core import _LIB as XGBOOST

FEW = 16  # movies
# What predicts few movies fast, by the booster (or a forest's first tree) that it belongs to: a new fit has new ones.
_fast: weakref.WeakKeyDictionary[Any, LightGBMRow | XGBoostRow | Forest] = weakref.WeakKeyDictionary()


def predict_trees(trees: Any, table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the n predictions of features (n, f): those of `trees.predict`, in double precision.

    `trees` is a fitted estimator of one of the families, or LightGBM's own booster.
    """
    if isinstance(trees, LGBMRegressor):
        trees = trees.booster_
    elif isinstance(trees, XGBRegressor):
        trees = trees.get_booster()
    booster = isinstance(trees, lightgbm.Booster | xgboost.Booster)
    if len(table) == 1 or (len(table) <= FEW and not booster):
        key = trees if booster else trees.estimators_[0]
        fast = _fast.get(key)
        if fast is None:
            kind = {lightgbm.Booster: LightGBMRow, xgboost.Booster: XGBoostRow}.get(type(trees), Forest)
            fast = _fast[key] = kind(trees)
        return np.asarray(fast.predict(table), dtype=float)
    if isinstance(trees, lightgbm.Booster):
        predicted = trees.predict(table, num_threads=1)
    elif booster:
        predicted = trees.inplace_predict(table)
    else:
        predicted = trees.predict(table)
    return np.asarray(predicted, dtype=float)


class LightGBMRow:
    """One row at a time through a LightGBM booster, which must outlive it."""

    def __init__(self, booster: lightgbm.Booster) -> None:
        width = booster.num_feature()
        self._lock = threading.Lock()  # the library keeps one buffer for all who ask
        self._config, self._length, self._given = ctypes.c_void_p(), ctypes.c_int64(), ctypes.c_double()
        normal, first, every, double = (ctypes.c_int(number) for number in (0, 0, -1, 1))
        failed = LIGHTGBM.LGBM_BoosterPredictForMatSingleRowFastInit(
            *(booster._handle, normal, first, every, double, ctypes.c_int32(width)),
            *(b"num_threads=1", ctypes.byref(self._config)),
        )
        if failed:
            raise RuntimeError(f"LightGBM: {LIGHTGBM.LGBM_GetLastError().decode()}")
        weakref.finalize(self, LIGHTGBM.LGBM_FastConfigFree, self._config)
        self._out = ctypes.byref(self._length), ctypes.byref(self._given)

    def predict(self, row: NDArray[np.float64]) -> list[float]:
        """Return the prediction of one row, (f) or (1, f)."""
        row = np.ascontiguousarray(row, dtype=np.float64)
        at = ctypes.c_void_p(row.ctypes.data)
        with self._lock:
            if LIGHTGBM.LGBM_BoosterPredictForMatSingleRowFast(self._config, at, *self._out):
                raise RuntimeError(f"LightGBM: {LIGHTGBM.LGBM_GetLastError().decode()}")
            return [self._given.value]


class XGBoostRow:
    """One row at a time through an XGBoost booster, which must outlive it."""

    def __init__(self, booster: xgboost.Booster) -> None:
        self._handle, self._lock = booster.handle, threading.Lock()
        self._row = np.empty((1, booster.num_features()))
        interface = self._row.__array_interface__
        plain = {key: interface[key] for key in ("data", "shape", "typestr", "version")} | {"strides": None}
        asked = {"type": 0, "training": False, "iteration_begin": 0, "iteration_end": 0, "strict_shape": False}
        self._asked = json.dumps(plain).encode(), json.dumps(asked | {"missing": float("nan"), "cache_id": 0}).encode()
        self._shape, self._length = ctypes.POINTER(ctypes.c_uint64)(), ctypes.c_uint64()
        self._given = ctypes.POINTER(ctypes.c_float)()
        self._out = tuple(ctypes.byref(out) for out in (self._shape, self._length, self._given))

    def predict(self, row: NDArray[np.float64]) -> list[float]:
        """Return the prediction of one row, (f) or (1, f)."""
        with self._lock:
            self._row[0] = row
            if XGBOOST.XGBoosterPredictFromDense(self._handle, *self._asked, None, *self._out):
                raise RuntimeError(f"XGBoost: {XGBOOST.XGBGetLastError().decode()}")
            return [float(self._given[0])]


class Forest:
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
