"""What the plain facts alone let one expect of a movie: the measure by which its people are judged.

A director whose horror films reach 6.5 does well, one whose dramas do does not. So histories hold ratings against this
expectation. It is honest in time: the calendar is cut every `STEP` years, and a movie is judged by a small booster that
learned from movies released before the cut that precedes it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from datetime import date
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from models.history import Level
from models.trees import predict_trees

STEP, FIRST_YEAR = 2, 1960
MIN_MOVIES = 200
MOST_MOVIES = 20_000  # the newest; more teach so small a booster nothing, and cost the same for each cut
MIN_VOTES = 20
VOTES_FOR_HALF_WEIGHT = 50.0
PARAMETERS: dict[str, Any] = {
    "learning_rate": 0.05,
    "num_leaves": 8,
    "min_child_samples": 15,
    "subsample": 0.7,
    "subsample_freq": 1,
    "colsample_bytree": 0.3,
    "reg_lambda": 5.0,
    "seed": 0,
    "num_threads": 1,
    "verbosity": -1,
    "deterministic": True,
    "force_row_wise": True,
}
ROUNDS = 200


class Expectation(BaseEstimator):
    """Expected ratings from plain facts, each from a model of the past only."""

    def fit(
        self,
        facts: NDArray[np.float64],
        questions: NDArray[np.float64],
        days: NDArray[np.int64],
        ratings: NDArray[np.float64],
        votes: NDArray[np.float64],
    ) -> Expectation:
        """Learn one model for each cut from facts of n movies (n, f), of records and of questions about the same.

        Release days (0: unknown), ratings and votes are n each.
        """
        usable = (votes >= MIN_VOTES) & (days > 0)
        self.level_days_, self.level_ratings_ = days[usable], ratings[usable]
        self.cuts_: list[int] = []
        self.models_: list[str] = []
        newest = int(days[usable].max()) if usable.any() else 0
        for year in range(FIRST_YEAR, date.fromordinal(newest).year + 1 if newest else 0):
            cut = date(year, 1, 1).toordinal()
            earlier = usable & (days < cut)
            if year % STEP or earlier.sum() < MIN_MOVIES:
                continue
            rows = np.flatnonzero(earlier)
            rows = rows[np.argsort(days[rows], kind="stable")][-MOST_MOVIES:]
            data = lightgbm.Dataset(
                np.concatenate([facts[rows], questions[rows]]),
                np.tile(ratings[rows], 2),
                weight=np.tile(votes[rows] / (votes[rows] + VOTES_FOR_HALF_WEIGHT), 2),
                params={"verbosity": -1},
            )
            booster = lightgbm.train(PARAMETERS, data, num_boost_round=ROUNDS)
            self.cuts_.append(cut)
            self.models_.append(booster.model_to_string())
        self._boosters = self._level = self._known = None
        return self

    def before(self, day: int) -> Expectation:
        """Return what a fit on the movies released before a day learns: the cuts that it makes, and no later level."""
        earlier, known = Expectation(), self.level_days_ < day
        earlier.level_days_, earlier.level_ratings_ = self.level_days_[known], self.level_ratings_[known]
        newest = int(earlier.level_days_.max()) if known.any() else 0
        kept = bisect_right(self.cuts_, newest)
        earlier.cuts_, earlier.models_ = self.cuts_[:kept], self.models_[:kept]
        return earlier

    def predict(
        self, facts: NDArray[np.float64], days: NDArray[np.int64], until: NDArray[np.int64] | None = None
    ) -> NDArray[np.float64]:
        """Return the n expected ratings of movies with these facts (n, f) and release days.

        With `until`, a day for each of them, nothing counts that came out on it or later.
        """
        until = days if until is None else until
        if len(facts) == 1 and (number := self._number(int(until[0]))) >= 0:
            return predict_trees(self._booster(number), facts)
        expected = np.empty(len(facts))
        which = self._which(until)
        for number in np.unique(which).tolist():
            rows = np.flatnonzero(which == number)
            if number < 0:  # too little was known: the level of the time
                self._level = self._level or Level(self.level_days_, self.level_ratings_)
                expected[rows] = [self._level.at(_year_start(int(days[row])), int(until[row])) for row in rows]
            else:
                expected[rows] = predict_trees(self._booster(number), facts[rows])
        return expected

    def contributions(self, facts: NDArray[np.float64], days: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return what each fact (n, f) adds to its movie's expected rating; zeros where too little was known."""
        shares = np.zeros(facts.shape)
        which = self._which(days)
        for number in np.unique(which[which >= 0]).tolist():
            rows = np.flatnonzero(which == number)
            told = self._booster(number).predict(facts[rows], pred_contrib=True, num_threads=1)
            shares[rows] = np.asarray(told, dtype=float)[:, :-1]
        return shares

    def _which(self, days: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.array([self._number(day) for day in days.tolist()], dtype=np.int64)

    def _number(self, day: int) -> int:
        """Return the number of the booster that judges by what came out before a day, -1 where there is none.

        A cut counts once a movie has come out on it or later: before, nobody can tell whether all that precedes it is
        known, and a model that was fitted then could not have learned from it.
        """
        if self._known is None:
            self._known = np.sort(self.level_days_).tolist()
        at = bisect_left(self._known, day)
        return bisect_right(self.cuts_, self._known[at - 1]) - 1 if at else -1

    def _booster(self, number: int) -> lightgbm.Booster:
        """Read a booster when it is first needed: of sixty years, a service needs the last ones."""
        if self._boosters is None:
            self._boosters = {}
        if number not in self._boosters:
            self._boosters[number] = lightgbm.Booster(model_str=self.models_[number])
        return self._boosters[number]

    _boosters: dict[int, lightgbm.Booster] | None = None
    _level: Level | None = None
    _known: list[int] | None = None  # the days on which movies that teach came out, in order

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in super().__getstate__().items() if k not in ("_boosters", "_level", "_known")}


def _year_start(day: int) -> int:
    return date(date.fromordinal(day).year, 1, 1).toordinal()
