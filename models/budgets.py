"""What movies usually cost at a time: the level that a budget is held against."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.facts import LEAST_BUDGET, NAN

BUDGET_YEARS, BUDGET_MOVIES = 5, 10  # the level is the median of so many years, of so many movies at least


def known_budgets(amounts: Iterable[Any], days: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the release days, ascending, and the log budgets of the movies that tell both."""
    budgets = np.array([float(amount or 0) for amount in amounts])
    known = np.flatnonzero((budgets >= LEAST_BUDGET) & (days > 0))  # NaN compares false
    order = known[np.lexsort((budgets[known], days[known]))]
    return days[order], np.log(budgets[order])


def budget_level(days: NDArray[np.int64], logs: NDArray[np.float64], year: int, known_until: int | None) -> float:
    """Return the median log budget of the five years before a year, as far as it was known on a day."""
    start, end = (date(max(y, 1), 1, 1).toordinal() for y in (year - BUDGET_YEARS, year))
    first, last = np.searchsorted(days, [start, min(end, known_until or end)])
    return float(np.median(logs[first:last])) if last - first >= BUDGET_MOVIES else NAN
