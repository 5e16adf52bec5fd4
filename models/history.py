"""What people, companies and collections had done before a given day.

A `History` keeps, for each key (a person, a company, …), the dated scores of the movies it took part in. Every question
is asked at a day and sees only movies released strictly before that day, so the same table serves training and
prediction: a training row never sees itself, nor anything later. Days are `date.toordinal()` numbers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


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
    """Dated scores by key, cumulated so that any day's past is one binary search."""

    def __init__(self, events: Iterable[tuple[Hashable, int, float, float, float]]) -> None:
        """Take (key, day, score, weight, rating) in any order; a key's movies of one day stand by their scores."""
        by_key: dict[Hashable, list[tuple[int, float, float, float]]] = {}
        for key, *event in events:
            by_key.setdefault(key, []).append(tuple(event))  # type: ignore[arg-type]
        self._table: dict[Hashable, tuple[list[int], list[Past]]] = {}
        for key, dated in by_key.items():
            dated.sort()
            pasts, total, mass, best, ratings = [], 0.0, 0.0, -np.inf, 0.0
            for movies, (day, score, weight, rating) in enumerate(dated, start=1):
                total += weight * score
                mass += weight
                ratings += rating
                best = max(best, score)
                pasts.append(Past(movies, mass, total, best, score, day, ratings))
            self._table[key] = ([event[0] for event in dated], pasts)

    def before(self, key: Hashable, day: int) -> Past | None:
        """Return what `key` had done strictly before `day`, or None for a debut."""
        entry = self._table.get(key)
        if entry is None:
            return None
        days, pasts = entry
        seen = bisect_left(days, day)
        return pasts[seen - 1] if seen else None

    def __len__(self) -> int:
        return len(self._table)


class Level:
    """The mean rating of the five years before a day: the level that moves."""

    YEARS = 5

    def __init__(self, days: NDArray[np.int64], ratings: NDArray[np.float64], unknown: float = 6.3) -> None:
        """Take the release day and the rating of each known movie; `unknown` stands in before the first of them."""
        order = np.argsort(days, kind="stable")
        self._days: list[int] = days[order].tolist()
        self._sums: list[float] = np.concatenate([[0.0], np.cumsum(ratings[order])]).tolist()
        self._unknown = unknown

    def at(self, day: int) -> float:
        """Return the mean rating of movies released in the five years before `day`.

        Where there is none, the window ends at the newest earlier movie.
        """
        end = bisect_left(self._days, day)
        start = bisect_left(self._days, day - self.YEARS * 365)
        if start == end and end:
            start = bisect_left(self._days, self._days[end - 1] - self.YEARS * 365)
        if start == end:
            return self._unknown
        return (self._sums[end] - self._sums[start]) / (end - start)
