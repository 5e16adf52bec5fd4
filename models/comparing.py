"""The comparison that the gate decides on: the same movies, new to both sides, by every way of asking.

It is the same for versions of a registry and for those of a replay (`tasks.release`): both hand over what the fits that
are judged said. It fits nothing and keeps no count; which look at a champion a comparison is follows from those that
were refused before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

from models.evaluation import baselines, segments, split_by_release, usual_intervals
from models.promotion import Gate, Predictions, Verdict, decide
from models.questions import RECORD, WAYS

LOOK = "look"  # the figure of a comparison that counts as a look at the champion


def split_unseen(
    movies: pd.DataFrame, as_of: pd.Timestamp, judged_until: Iterable[str | pd.Timestamp]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the movies before the hold-out of a day, and those of the hold-out that are new to all sides.

    `judged_until` are the days that the fits to be judged learned until.
    """
    train, holdout = split_by_release(movies, as_of)
    return train, holdout[holdout["release_date"] > max(pd.Timestamp(day) for day in judged_until)]


def decide_on(
    train: pd.DataFrame,
    unseen: pd.DataFrame,
    challenger: Mapping[str, Predictions],
    champion: Mapping[str, Predictions] | None,
    gate: Gate,
    look: int,
    learned_days: int,
) -> Verdict:
    """Decide by what both say of unseen movies, as whole records and by way of asking.

    `train` are the movies before them, which baselines are made of. `look` and `learned_days` are those of
    `models.promotion.decide`.
    """
    new, old = challenger[RECORD], champion[RECORD] if champion else None
    return decide(
        unseen["vote_average"].to_numpy(dtype=float),
        new,
        baselines(train, unseen, new.linear),
        old,
        segments(unseen),
        gate,
        look=look,
        learned_days=learned_days,
        usual=usual_intervals(train, unseen, new.intervals),
        asked={way: (challenger[way], champion[way] if champion else None) for way in WAYS},
    )


def count_looks(refused: Iterable[tuple[int, Mapping[str, float]]], challenger: int) -> int:
    """Return which comparison with a champion that of a challenger is, from 1: each challenger counts once.

    `refused` are the challengers that this champion withstood, with the figures of their verdicts, oldest first.
    """
    order = list(dict.fromkeys(number for number, figures in refused if LOOK in figures))
    return (order.index(challenger) if challenger in order else len(order)) + 1
