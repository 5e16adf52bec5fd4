"""What a flow's parameters may be: one rule a name, which means the same in every flow.

Prefect sees to the types; what makes no sense is told here, before anything is asked of TMDB or written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, get_args

from prefect import runtime

from models.movie import FIRST_DATE, LAST_DATE
from tasks.ledger import Target
from tasks.source import RatingsName

FIRST_DAY = date(1900, 1, 1)  # before it nobody could have known enough movies to learn from
AHEAD = timedelta(days=731)
MOST_SEED = 2**31 - 1  # LightGBM's


@dataclass(frozen=True)
class Rule:
    """What must hold of a value (never so of NaN), in code and in words, and what to do where it does not."""

    holds: Callable[[Any], bool]
    words: str
    remedy: str


def _last_day() -> date:
    """The run's date and two years."""
    today: date = runtime.flow_run.scheduled_start_time.date()
    return today + AHEAD


_RELEASE = Rule(
    lambda day: FIRST_DATE <= day <= LAST_DATE,
    f"lie between {FIRST_DATE}, the year of the oldest film, and {LAST_DATE}",
    "name a day on which movies come out",
)
_TARGETS = Rule(
    lambda targets: len(targets) > 0 and set(targets) <= set(get_args(Target)),
    f"name one or more of {', '.join(get_args(Target))}",
    "leave it out for the default",
)
_MARGIN = "0 allows nothing"
RULES: dict[str, Rule] = {
    "start": _RELEASE,
    "end": _RELEASE,
    "min_votes": Rule(lambda votes: votes >= 0, "be 0 or more", "0 takes every movie"),
    "max_refused": Rule(lambda share: 0 <= share <= 1, "be a share, 0 to 1", "0.05 is usual"),
    "source": Rule(
        lambda name: name in get_args(RatingsName),
        f"be one of {', '.join(get_args(RatingsName))}",
        "leave it out to have it chosen",
    ),
    "trials": Rule(lambda trials: trials >= 1, "be 1 or more", "60 is usual"),
    "as_of": Rule(
        lambda day: FIRST_DAY <= day <= _last_day(),
        f"lie between {FIRST_DAY} and two years after the run's date",
        "leave it out for the run's date",
    ),
    "seed": Rule(lambda seed: 0 <= seed <= MOST_SEED, f"lie between 0 and {MOST_SEED}", "0 is usual"),
    "minutes": Rule(lambda minutes: minutes >= 0, "be 0 or more", "inf sets no limit"),
    "version": Rule(
        lambda number: number >= 1, "be a number in the registry, 1 or more", "leave it out for the challenger"
    ),
    "ship_to": _TARGETS,
    "to": _TARGETS,
    "confidence": Rule(lambda share: 0.5 < share < 1, "lie between 0.5 and 1", "0.95 is usual"),
    "segment_margin": Rule(lambda points: 0 <= points <= 10, "be 0 to 10 rating points", _MARGIN),
    "interval_margin": Rule(lambda share: 0 <= share <= 1, "be a share, 0 to 1", _MARGIN),
    "refresh_days": Rule(lambda days: days >= 1, "be 1 day or more", "30 is usual"),
    "refresh_margin": Rule(lambda points: 0 < points <= 1, "be more than 0 rating points, at most 1", _MARGIN),
    "years": Rule(lambda years: 1 <= years <= 150, "be 1 to 150 years", "20 is usual"),
    "leave": Rule(
        lambda number: number >= 1, "be a number in the registry, 1 or more", "leave it out for the champion"
    ),
    "coverage_margin": Rule(lambda share: 0 <= share < 0.5, "be a share, 0 to less than 0.5", _MARGIN),
    "latency_ms": Rule(lambda ms: ms > 0, "be more than 0 milliseconds", "250 is usual"),
}


def check_parameters(**given: Any) -> None:
    """Raise ValueError, with name, rule and remedy, for each parameter that makes no sense; None stands for a default.

    What has no rule is free: a text, or true and false.
    """
    faults = [
        f"{name} is {value}: it must {RULES[name].words}; {RULES[name].remedy}"
        for name, value in given.items()
        if name in RULES and value is not None and not RULES[name].holds(value)
    ]
    start, end = given.get("start"), given.get("end")
    if start and end and start > end:
        faults.append(f"start is {start}, after end, which is {end}: it must be the earlier one; change places")
    if given.get("adopt") and given.get("restore"):
        faults.append("adopt and restore are both set: they exclude each other; choose one")
    if faults:
        raise ValueError(". ".join(faults))
