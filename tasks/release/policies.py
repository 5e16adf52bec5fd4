"""Which version would have been champion when, by policy, and what the champions said of movies that were to come.

It is the gate's own comparison (`models.comparing`) on versions of past days (`tasks.learning.replaying`): a decision
costs no fit. No registry, ledger or clock is asked. A live prediction is that of the champion on the day before a
movie's release; a version never knows a movie that comes out on its own day.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

import pandas as pd

from models.comparing import count_looks, decide_on, split_unseen
from models.evaluation import MIN_VOTES, TRAILING, baselines
from models.promotion import Gate, Verdict
from tasks.learning.replaying import PastVersion

LOOP, FIRST, NEWEST, BETTER = "the loop", "first champion for ever", "always newest", "better only"
NEVER = 1_000_000  # days until a refresh
Refused = Sequence[tuple[int, Mapping[str, float]]]  # day numbers of what a champion withstood, with their figures


@dataclass(frozen=True)
class Decision:
    """What became of a day's version, and who was champion after it."""

    day: date
    verdict: Verdict
    champion: PastVersion | None


Policy = Callable[[PastVersion, PastVersion | None, Refused], Verdict]


def decide_all(versions: Sequence[PastVersion], movies: pd.DataFrame, gate: Gate) -> dict[str, list[Decision]]:
    """Return the decisions of each policy; `movies` are those that the versions were learned from, oldest first."""

    def by(gate: Gate) -> Policy:
        return lambda challenger, champion, refused: _pass_gate(challenger, champion, refused, movies, gate)

    def first(challenger: PastVersion, champion: PastVersion | None, refused: Refused) -> Verdict:
        return Verdict("kept", "the first stays") if champion else by(gate)(challenger, None, refused)

    policies: dict[str, Policy] = {
        LOOP: by(gate),
        FIRST: first,
        NEWEST: lambda *_: Verdict("better", "it is the newest"),
        BETTER: by(replace(gate, refresh_days=NEVER)),
    }
    return {name: follow(policy, versions) for name, policy in policies.items()}


def follow(policy: Policy, versions: Sequence[PastVersion]) -> list[Decision]:
    """Return what a policy decides on each version in turn."""
    champion: PastVersion | None = None
    refused: list[tuple[int, Mapping[str, float]]] = []
    decisions = []
    for challenger in versions:
        verdict = policy(challenger, champion, refused)
        if verdict.promote:
            champion, refused = challenger, []
        else:
            refused.append((challenger.known_on.toordinal(), verdict.figures))
        decisions.append(Decision(challenger.known_on, verdict, champion))
    return decisions


def _pass_gate(
    challenger: PastVersion, champion: PastVersion | None, refused: Refused, movies: pd.DataFrame, gate: Gate
) -> Verdict:
    """Judge as a promotion does, on the movies that were known on the challenger's day."""
    known = movies[movies["release_date"] < pd.Timestamp(challenger.known_on)]
    train, unseen = split_unseen(known, challenger.as_of, [v.judged_until for v in (challenger, champion) if v])
    return decide_on(
        train,
        unseen,
        challenger.judged(unseen),
        champion.judged(unseen) if champion else None,
        gate,
        look=count_looks(refused, challenger.known_on.toordinal()),
        learned_days=(challenger.known_on - champion.known_on).days if champion else 0,
    )


def predict_live(decisions: Sequence[Decision], movies: pd.DataFrame) -> pd.DataFrame:
    """Return what the champion said of each movie on the day before its release, and what became of it.

    Of movies with votes enough to be judged, by id: `released`, `actual`, `rating`, `low` and `high` of the usual
    interval, `baseline` (the trailing mean on the day of the last decision), `champion` (the day that it knows).
    """
    days = [pd.Timestamp(decision.day) for decision in decisions]
    parts = []
    for decision, day, until in zip(decisions, days, [*days[1:], pd.Timestamp.max], strict=True):
        released = movies["release_date"]
        after = movies[(released > day) & (released <= until) & (movies["vote_count"] >= MIN_VOTES)]
        if decision.champion is None or after.empty:
            continue
        live = decision.champion.shipped(after)
        live["released"], live["actual"] = after["release_date"].to_numpy(), after["vote_average"].to_numpy()
        live["baseline"] = baselines(movies[released < day], after)[TRAILING]
        live["champion"] = pd.Timestamp(decision.champion.known_on)
        parts.append(live)
    if not parts:
        last = f": {decisions[-1].verdict.reason}" if decisions else ""
        raise ValueError(f"no version became champion before a movie came out that can be judged{last}. Begin later")
    return pd.concat(parts)
