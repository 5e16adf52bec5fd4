"""What people, companies and collections had done before a given day.

A `History` keeps, for each key (a person, a company, …), the dated scores of the movies it took part in. Every question
is asked at a day and sees only movies released strictly before that day, so the same table serves training and
prediction: a training row never sees itself, nor anything later. Days are `date.toordinal()` numbers.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Hashable, KeysView, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray


class Past(NamedTuple):
    """What one key had done before a day. Scores are rating points against what was expected of the movie."""

    movies: int
    weight: float  # of its movies together: a rating by many voters weighs nearly 1
    total: float  # of weight times score
    best: float
    last: float
    last_day: int
    ratings: float  # sum of the movies' own ratings

    @property
    def mean_rating(self) -> float:
        """The plain mean of its movies' ratings."""
        return self.ratings / self.movies

    def mean(self, shrinkage: float) -> float:
        """Return the mean score, shrunken as if there were `shrinkage` more movies that were as expected."""
        return self.total / (self.weight + shrinkage)


class History:
    """Dated scores by key, cumulated so that any day's past is one binary search, in flat arrays: millions fit."""

    def __init__(
        self,
        keys: Sequence[Hashable],
        days: ArrayLike,
        scores: ArrayLike,
        weights: ArrayLike,
        ratings: ArrayLike,
    ) -> None:
        """Take events in any order, as equally long columns; a key's movies of one day stand by their scores."""
        self._index: dict[Hashable, int] = {}
        codes = np.fromiter((self._index.setdefault(key, len(self._index)) for key in keys), dtype=np.int64)
        columns = pd.DataFrame({"day": days, "score": scores, "weight": weights, "rating": ratings}, dtype=float)
        order = np.lexsort((columns["score"], columns["day"], codes))
        codes, columns = codes[order], columns.iloc[order].reset_index(drop=True)
        columns["total"] = columns["weight"] * columns["score"]
        by_key = columns.groupby(codes)
        self._starts = array("q", np.searchsorted(codes, np.arange(len(self._index) + 1)).astype(np.int64).tobytes())
        self._days = _packed(columns["day"])
        self._last = _packed(columns["score"])
        self._best = _packed(by_key["score"].cummax())
        self._weight, self._total, self._ratings = (_packed(by_key[n].cumsum()) for n in ("weight", "total", "rating"))

    def before(self, key: Hashable, day: int) -> Past | None:
        """Return what `key` had done strictly before `day`, or None for a debut."""
        code = self._index.get(key)
        if code is None:
            return None
        start = self._starts[code]
        at = bisect_left(self._days, day, start, self._starts[code + 1]) - 1
        if at < start:
            return None
        return Past(
            at - start + 1,
            self._weight[at],
            self._total[at],
            self._best[at],
            self._last[at],
            int(self._days[at]),
            self._ratings[at],
        )

    def keys(self) -> KeysView[Hashable]:
        """Return all keys."""
        return self._index.keys()

    def __len__(self) -> int:
        return len(self._index)


def _packed(values: pd.Series) -> array[float]:
    """Return doubles that Python indexes fast."""
    packed = array("d")
    packed.frombytes(values.to_numpy(dtype=np.float64).tobytes())
    return packed


class Level:
    """The mean rating of the five years before a day: the level that moves."""

    YEARS = 5

    def __init__(self, days: NDArray[np.int64], ratings: NDArray[np.float64], unknown: float = 6.3) -> None:
        """Take the release day and the rating of each known movie; `unknown` stands in before the first of them."""
        order = np.argsort(days, kind="stable")
        self._days: list[int] = days[order].tolist()
        self._sums: list[float] = np.concatenate([[0.0], np.cumsum(ratings[order])]).tolist()
        self._unknown = unknown

    def at(self, day: int, until: int | None = None) -> float:
        """Return the mean rating of movies released in the five years before `day`, as far as it was known on `until`.

        Where there is none, the window ends at the newest earlier movie.
        """
        end = bisect_left(self._days, min(day, until or day))
        start = min(bisect_left(self._days, day - self.YEARS * 365), end)
        if start == end and end:
            start = bisect_left(self._days, self._days[end - 1] - self.YEARS * 365)
        if start == end:
            return self._unknown
        return (self._sums[end] - self._sums[start]) / (end - start)
