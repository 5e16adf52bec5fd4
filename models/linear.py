"""A linear member beside the trees: ridge regression on the features and on the words of the synopsis.

Alone it is about as good as a booster, and errs differently: their mean is better than either.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge

TEXT_WEIGHT = 6.0
CLIP = 4.0  # standard deviations: beyond, a straight line is no longer believed
MIN_DOCUMENTS = 5
# feature -> where its straight line bends: below the first or above the second value it counts as that value
HINGES = {
    "runtime": [(-np.inf, 100.0)],
    "budget_log": [(-np.inf, 16.5)],
    "overview_characters": [(-np.inf, 250.0)],
    "year": [(2005.0, np.inf), (1980.0, np.inf)],
}


_WORD = re.compile(r"\b\w\w+\b")  # TfidfVectorizer's own pattern


def standardise(
    X: NDArray[np.float64], mean: NDArray[np.float64], scale: NDArray[np.float64], most: float
) -> NDArray[np.float64]:
    """Return columns (n, f) in standard deviations from their means, `most` at most, 0 where missing."""
    Z: NDArray[np.float64] = (X - mean) / scale
    Z[np.isnan(Z)] = 0.0
    return np.minimum(np.maximum(Z, -most), most)  # np.clip costs twice as much for one row


class _Tables:
    """Coefficients folded for look-ups: the result of scikit-learn's sparse algebra at a fraction of its cost."""

    def __init__(self, coefficients: NDArray[np.float64], words: TfidfVectorizer | None, dense: int) -> None:
        self.dense = coefficients[:dense]
        self._terms: dict[str, tuple[float, float]] = {}
        if words is not None:
            terms, idf = words.vocabulary_, words.idf_
            self._terms = {t: (float(idf[n]), float(idf[n] * coefficients[dense + n])) for t, n in terms.items()}

    def words(self, text: str) -> float:
        """Return what the words of a text add: coefficients by sublinear, normalised TF-IDF."""
        counts = Counter(word for word in _WORD.findall(text.lower()) if word in self._terms)
        length = total = 0.0
        for word, count in counts.items():
            idf, weight = self._terms[word]
            frequency = 1 + math.log(count)
            length += (frequency * idf) ** 2
            total += frequency * weight
        return TEXT_WEIGHT * total / math.sqrt(length) if length else 0.0


class LinearText(BaseEstimator):
    """Ridge on standardised features, on flags for what is missing, on hinges, and on TF-IDF words."""

    def __init__(self, alpha: float = 100.0) -> None:
        self.alpha = alpha

    def fit(
        self,
        X: NDArray[np.float64],
        texts: Sequence[str],
        y: NDArray[np.float64],
        weights: NDArray[np.float64],
        names: Sequence[str],
    ) -> LinearText:
        """Learn from features (n, f) with their names, n texts, ratings and weights."""
        self.names_, self._columns = list(names), None
        Z = self._expand(X)
        with np.errstate(all="ignore"):
            known = np.where(np.isnan(Z), 0.0, Z)
            count = np.maximum((~np.isnan(Z)).sum(axis=0), 1)
            self.mean_ = known.sum(axis=0) / count
            self.scale_ = np.sqrt((np.where(np.isnan(Z), 0.0, (Z - self.mean_) ** 2)).sum(axis=0) / count)
        self.scale_[self.scale_ < 1e-6] = 1e9  # what never differs says nothing
        self.words_ = TfidfVectorizer(
            min_df=min(MIN_DOCUMENTS, len(texts)),
            max_df=0.2,
            sublinear_tf=True,
            stop_words="english",
            max_features=6000,
        )
        try:
            self.words_.fit(texts)
            # Plain numbers: skops stores each of NumPy's as a file of its own.
            self.words_.vocabulary_ = {term: int(n) for term, n in self.words_.vocabulary_.items()}
        except ValueError:  # no word is frequent enough, as in a source without texts
            self.words_ = None
        self.ridge_ = Ridge(alpha=self.alpha, solver="sparse_cg", tol=1e-4, random_state=0)
        design = self._design(X, texts)
        self.ridge_.fit(design, y, sample_weight=weights)
        self.center_ = np.asarray(design.T @ weights).ravel() / weights.sum()  # the average movie
        self._tables = None
        return self

    def predict(self, X: NDArray[np.float64], texts: Sequence[str]) -> NDArray[np.float64]:
        """Return n ratings."""
        tables = self._tables or self._load()
        dense = self._standard(X) @ tables.dense + self.ridge_.intercept_
        ratings: NDArray[np.float64] = dense + [tables.words(text) for text in texts]
        return ratings

    def standardised(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the features (n, f) in standard deviations from the mean, 0 where missing."""
        return self._standard(X)[:, : len(self.names_)]

    def contributions(self, X: NDArray[np.float64], texts: Sequence[str], words: int) -> NDArray[np.float64]:
        """Return contributions (n, n_features + 1) against the average movie, the last one the base.

        Those of all words together are counted to the feature in column `words`.
        """
        design = self._design(X, texts)
        shares = (design.toarray() - self.center_) * self.ridge_.coef_
        width = len(self.names_)
        gathered = np.zeros((len(X), width + 1))
        gathered[:, :width] = shares[:, :width] + shares[:, width : 2 * width]
        for column, name in enumerate(name for name, pairs in HINGES.items() for _ in pairs):
            gathered[:, self.names_.index(name)] += shares[:, 2 * width + column]
        gathered[:, words] += shares[:, 2 * width + sum(map(len, HINGES.values())) :].sum(axis=1)
        gathered[:, -1] = self.ridge_.intercept_ + self.center_ @ self.ridge_.coef_
        return gathered

    def _load(self) -> _Tables:
        """Fold the learned coefficients; they are no part of the stored model."""
        self._tables = _Tables(self.ridge_.coef_, self.words_, len(self.mean_))
        return self._tables

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in super().__getstate__().items() if k not in ("_tables", "_columns")}

    _tables: _Tables | None = None
    _columns: Any = None  # where counts and bends stand, looked up once

    def _expand(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._columns is None:
            bends = [(self.names_.index(name), *pair) for name, pairs in HINGES.items() for pair in pairs]
            counts = [n for n, name in enumerate(self.names_) if name.endswith("_count")]
            self._columns = (counts, *(list(values) for values in zip(*bends, strict=True)))
        counted, bent, lows, highs = self._columns
        lines = X.copy()
        lines[:, counted] = np.log1p(X[:, counted])
        return np.concatenate([lines, np.isnan(X), np.minimum(np.maximum(X[:, bent], lows), highs)], axis=1)

    def _standard(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return all dense columns of the design, standardised."""
        return standardise(self._expand(X), self.mean_, self.scale_, CLIP)

    def _design(self, X: NDArray[np.float64], texts: Sequence[str]) -> Any:
        Z = self._standard(X)
        if self.words_ is None:
            return sp.csr_matrix(Z)
        return sp.hstack([sp.csr_matrix(Z), TEXT_WEIGHT * self.words_.transform(texts)]).tocsr()
