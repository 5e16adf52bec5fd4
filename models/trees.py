"""Predict with a fitted tree ensemble at the price of its arithmetic: no data frames, checks or thread pools between.

For one movie the boosters are asked through their C interfaces, which Python's wrappers cost more than; for a few, a
Random Forest walks all its trees at once through flat arrays, while scikit-learn asks them one by one. These ways use
names that the libraries keep to themselves. So each is tried when it is made, and one that a library's release has
broken is counted in `FALLBACKS`, logged, and replaced by the public `predict`.
"""

from __future__ import annotations

import ctypes
import json
import logging
import threading
import weakref
from collections import Counter
from typing import Any

import lightgbm
import numpy as np
import xgboost
from lightgbm import LGBMRegressor
from numpy.typing import NDArray
from xgboost import XGBRegressor

FEW = 16  # movies
TOLERANCE = 1e-4  # rating points between the fast way and the public one, on the row that it is tried with
FALLBACKS: Counter[str] = Counter()  # how many fast predictors could not be made, by library
# What predicts few movies fast, by the booster (or a forest's first tree) that it belongs to: a new fit has new ones.
_fast: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
log = logging.getLogger("premiere")


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
            fast = _fast[key] = _make_fast(trees)
        return np.asarray(fast.predict(table), dtype=float)
    return _predict(trees, table)


def _predict(trees: Any, table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Predict as the libraries offer it to everybody."""
    if isinstance(trees, lightgbm.Booster):
        predicted = trees.predict(table, num_threads=1)
    elif isinstance(trees, xgboost.Booster):
        predicted = trees.inplace_predict(table)
    else:
        predicted = trees.predict(table)
    return np.asarray(predicted, dtype=float)


def _make_fast(trees: Any) -> LightGBMRow | XGBoostRow | Forest | Public:
    """Return what predicts few rows fast, or the public way where that cannot be made or answers otherwise."""
    kinds = {lightgbm.Booster: (LightGBMRow, "lightgbm"), xgboost.Booster: (XGBoostRow, "xgboost")}
    kind, library = kinds.get(type(trees), (Forest, "scikit-learn"))
    public = Public(trees)
    try:
        made: LightGBMRow | XGBoostRow | Forest = kind(trees)
        row = np.zeros((1, _width(trees)))
        off = float(np.abs(np.asarray(made.predict(row), dtype=float) - public.predict(row)).max())
        if not off <= TOLERANCE:
            raise RuntimeError(f"it is off by {off:.2g} points")
    except Exception as error:  # whatever a release of the library changed
        FALLBACKS[library] += 1
        log.warning("%s is asked the slow way, as the fast one does not work: %r", library, error)
        return public
    return made


def _width(trees: Any) -> int:
    """Return the number of features of a fitted ensemble."""
    if isinstance(trees, lightgbm.Booster):
        return int(trees.num_feature())
    return int(trees.num_features() if isinstance(trees, xgboost.Booster) else trees.n_features_in_)


class Public:
    """The public way, in the place of a fast one. Like them it holds no reference that keeps a booster alive."""

    def __init__(self, trees: Any) -> None:
        self._trees = weakref.ref(trees)

    def predict(self, table: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the predictions of rows (n, f)."""
        return _predict(self._trees(), table)


class LightGBMRow:
    """One row at a time through a LightGBM booster, which must outlive it."""

    def __init__(self, booster: lightgbm.Booster) -> None:
        from lightgbm.basic import _LIB as LIGHTGBM  # type: ignore[attr-defined]

        self._library, width = LIGHTGBM, booster.num_feature()
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
            if self._library.LGBM_BoosterPredictForMatSingleRowFast(self._config, at, *self._out):
                raise RuntimeError(f"LightGBM: {self._library.LGBM_GetLastError().decode()}")
            return [self._given.value]


class XGBoostRow:
    """One row at a time through an XGBoost booster, which must outlive it."""

    def __init__(self, booster: xgboost.Booster) -> None:
        from xgboost.core import _LIB as XGBOOST

        self._library, self._handle, self._lock = XGBOOST, booster.handle, threading.Lock()
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
            if self._library.XGBoosterPredictFromDense(self._handle, *self._asked, None, *self._out):
                raise RuntimeError(f"XGBoost: {self._library.XGBGetLastError().decode()}")
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
