"""How soon the gate promotes a challenger that is truly better, and how often one that is not, by simulation.

Invented errors of 400 movies, those of challenger and champion correlated as two trainings' are; a look a day. Nothing
but `sign_flip` and `spend`, which the gate's check against the champion consists of, decides.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from models.evaluation import sign_flip
from models.promotion import spend

MOVIES, DAILY = 400, 1.1  # of a hold-out; of those that a day adds
CORRELATION = 0.95
CONFIDENCE = 0.95
DAYS = (1, 7, 15, 30, 60, 90, 365)
Errors = NDArray[np.float64]


def first_day(
    runs: int,
    days: int,
    better: float = 0.0,
    *,
    fresh: bool = True,
    window: int = 0,
    tails: int | None = None,
    since: int = 1,
    old_rule: bool = False,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Return for each run the day of the first promotion, infinity for none.

    `better` is the share of the champion's RMSE that a challenger's lacks from day `since` on. A `fresh` one each day
    errs anew; else it is one recipe, unchanged. `window` 0 judges on the same movies every day, 1 on a window that
    grows by `DAILY`, 2 on one that rolls. `tails` are the degrees of freedom of Student's t, None is normal.
    """
    rng = np.random.default_rng(seed)
    movies = MOVIES + int(DAILY * days)
    hard = np.ones((runs, movies)) if tails is None else np.sqrt((tails - 2) / rng.chisquare(tails, (runs, movies)))
    hard = hard.astype(np.float32)
    champion, apart = rng.standard_normal((2, runs, movies), dtype=np.float32) * hard
    day = np.full(runs, np.inf)
    for look in range(1, days + 1):
        new = int(DAILY * look)
        seen = slice(new if window == 2 else 0, MOVIES + (new if window else 0))
        waiting = np.flatnonzero(np.isinf(day))
        if fresh:
            errors = rng.standard_normal((waiting.size, seen.stop - seen.start), dtype=np.float32) * hard[waiting, seen]
        else:
            errors = apart[waiting, seen]
        known = champion[waiting, seen]
        challenger = CORRELATION * known + float(np.sqrt(1 - CORRELATION**2)) * errors
        challenger *= 1 - better * (look >= since)
        day[waiting[_better(known**2 - challenger**2, look, old_rule)]] = look
    return day


def _better(differences: Errors, look: int, old_rule: bool) -> NDArray[np.bool_]:
    """Ask the gate's own question of each row of differences in squared error."""
    size = differences.sum(axis=1) / np.sqrt((differences**2).sum(axis=1))
    if old_rule:  # as near as the share of a bootstrap's resamplings comes
        found: NDArray[np.bool_] = size > norm.isf(1 - CONFIDENCE)
        return found
    found = size > 2.5  # nobody passes below: this only saves time
    found[found] = sign_flip(differences[found]) <= spend(look, CONFIDENCE)
    return found


def main() -> None:
    """Print the share promoted by day."""
    print(f"{'share promoted by day':<58}" + "".join(f"{day:>7}" for day in DAYS))
    kinds = {
        "fresh every day, same movies": {"fresh": True},
        "one recipe, growing window": {"fresh": False, "window": 1},
    }
    for kind, options in kinds.items():
        for better in (0.0, 0.025, 0.05, 0.1):
            for old_rule in (False, True):
                days = first_day(400, DAYS[-1], better, old_rule=old_rule, **options)
                who = f"{better:.1%} better" if better else "equals"
                shares = "".join(f"{(days <= day).mean():7.1%}" for day in DAYS)
                print(f"{who + ', ' + kind + (', the old rule' if old_rule else ''):<58}{shares}")
