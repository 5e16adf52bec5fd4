"""Decide whether a challenger replaces the champion. Fails closed: missing, NaN, empty or a tie keeps the champion.

A challenger that is truly better and one that only knows more are told apart: the second is a refresh.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom

from models.evaluation import LINEAR, interval_score, metrics, paired_bootstrap, sign_flip

MIN_MOVIES = 50  # of a hold-out, and of a segment of it that has its full say
CHANCE = 0.05  # intervals fail where so few hits would be rarer than this
PACE = 200  # looks at a champion after which an eighth of the risk is left to spend; half of it goes in the first 52
RESERVE = 0.1  # of the risk, for what a saddlepoint is off by: a few per cent of a chance

Ends = tuple[NDArray[np.float64], NDArray[np.float64]]
Intervals = Mapping[float, tuple[ArrayLike, ArrayLike]]


@dataclass(frozen=True)
class Gate:
    """What a challenger must reach.

    confidence : how certain it must be that it is better than a baseline; and that no challenger of one champion, over
        all looks together, is taken for better by luck. 0.5 to 1.
    segment_margin : how much worse than the champion its RMSE may be in a segment, rating points; in one of fewer than
        `MIN_MOVIES` the difference counts by their share of that.
    coverage_margin : how far below the stated level the true coverage of its intervals may lie, 0 to 0.5; what it held
        on the hold-out must be possible with that.
    interval_margin : by what share the mean score of its intervals may exceed that of the champion's, 0 to 1.
    refresh_days : how many days more than the champion it must know to replace it without being better, 1 or more.
    refresh_margin : how much worse than the champion its RMSE may be then, rating points, 0 to 1.
    """

    confidence: float = 0.95
    segment_margin: float = 0.05
    coverage_margin: float = 0.03
    interval_margin: float = 0.05
    refresh_days: int = 30
    refresh_margin: float = 0.03

    def __post_init__(self) -> None:
        rules: dict[str, tuple[Callable[[Any], bool], str]] = {
            "confidence": (lambda v: 0.5 < v < 1, "lie between 0.5 and 1"),
            "segment_margin": (lambda v: 0 <= v <= 10, "be 0 to 10 rating points"),
            "coverage_margin": (lambda v: 0 <= v < 0.5, "be 0 or more, and less than 0.5"),
            "interval_margin": (lambda v: 0 <= v <= 1, "be 0 to 1"),
            "refresh_days": (lambda v: v >= 1 and v % 1 == 0, "be a whole number of days, 1 or more"),
            "refresh_margin": (lambda v: 0 < v <= 1, "be more than 0 rating points, and at most 1"),
        }
        for name, (holds, rule) in rules.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Real) or not holds(value):
                raise ValueError(f"{name} {value!r} must {rule}: {getattr(Gate, name)} is usual")


@dataclass(frozen=True)
class Predictions:
    """What a model says of n movies: ratings (n), and the ends (n each) of the intervals by level (0 to 1)."""

    ratings: ArrayLike
    intervals: Intervals
    linear: ArrayLike | None = None  # what its linear member alone says (n)


@dataclass(frozen=True)
class Check:
    """One thing that the gate asks, and how it came out."""

    name: str
    passed: bool
    words: str


@dataclass(frozen=True)
class Verdict:
    """What becomes of the challenger, the reason in words, and the figures and checks behind it.

    "better" and "refreshed" replace the champion, the second without a claim to be better; "kept" does not.
    """

    outcome: Literal["better", "refreshed", "kept"]
    reason: str
    figures: dict[str, float] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)

    @property
    def promote(self) -> bool:
        """Whether the challenger becomes champion."""
        return self.outcome in ("better", "refreshed")


def spend(look: ArrayLike, confidence: float) -> NDArray[np.float64]:
    """Return the chance of a false "better" that a look (1, 2, …) at a champion may take.

    Those of all looks together, for ever, are 1 - confidence, less a reserve: the first take most, none is without.
    """
    left = [(1 + (np.asarray(look, dtype=float) - earlier) / PACE) ** -3.0 for earlier in (1, 0)]
    risk: NDArray[np.float64] = (1 - RESERVE) * (1 - confidence) * (left[0] - left[1])
    return risk


def decide(
    actual: ArrayLike,
    challenger: Predictions,
    baselines: Mapping[str, ArrayLike],
    champion: Predictions | None = None,
    segments: Mapping[str, NDArray[np.bool_]] | None = None,
    gate: Gate | None = None,
    look: int = 1,
    learned_days: float = 0,
    usual: Intervals | None = None,
    asked: Mapping[str, tuple[Predictions, Predictions | None]] | None = None,
) -> Verdict:
    """Judge predictions of n movies, which neither model was fitted on.

    `baselines` and, for a first model, the `usual` intervals are those of `models.evaluation`; `segments` are parts of
    the n movies, by name. `look` counts the comparisons with this champion, this one included; only the same
    challenger on the same movies is no new look. `learned_days` is by how much the challenger's knowledge is newer.
    `asked` are, by way of asking, what challenger and champion say of the same movies when less of them is told.

    Guaranteed: among challengers that are only as good as the champion, whose errors could be exchanged with its own,
    the chance that any is ever called better is at most 1 - confidence, however they depend on each other and however
    heavy the tails of their errors are; where worse ones are rarely but grossly wrong, it holds only as nearly as the
    movies show such errors. Not guaranteed: that many refreshes, each less than `refresh_margin` worse, do not add up.
    """
    gate = gate or Gate()
    figures: dict[str, float] = {}
    try:
        y, new = np.asarray(actual, dtype=float), np.asarray(challenger.ratings, dtype=float)
        if y.size < MIN_MOVIES:
            return Verdict("kept", f"{y.size} movies to judge on are too few: {MIN_MOVIES} are needed")
        old = None if champion is None else np.asarray(champion.ratings, dtype=float)
        rivals = {f"baseline {name}": np.asarray(values, dtype=float) for name, values in baselines.items()}
        everyone = {"challenger": new} | rivals | ({} if old is None else {"the champion": old})
        figures = {f"{name} rmse": metrics(y, values)["rmse"] for name, values in everyone.items()}
        theirs = (usual or {}) if champion is None else champion.intervals
        if not (rivals and challenger.intervals and theirs):
            needed = "baselines are needed, and intervals of both sides"
            return Verdict("kept", f"there is nothing to compare with: {needed}", figures)
        intervals = _pair(challenger.intervals, theirs, y)
        parts = {name: _members(part, name, y) for name, part in (segments or {}).items()}
        ways = {way: _asked(*sides, way, y, old is not None) for way, sides in (asked or {}).items()}
        if not (look >= 1 and look % 1 == 0):
            raise ValueError(f"look {look} is none: count the comparisons with this champion, from 1")
    except (ValueError, TypeError) as error:
        return Verdict("kept", f"predictions cannot be judged: {error}", figures)
    checks = [_beats(y, new, name, values, figures, gate) for name, values in rivals.items()]
    better = refresh = None
    if old is not None:
        better = _is_truly_better(y, new, old, look, figures, gate)
        checks.append(better)
        if not better.passed and learned_days >= gate.refresh_days:
            refresh = _is_refresh(y, new, old, learned_days, figures, gate)
            checks.append(refresh)
    whose = "the champion's" if champion else "usual ones"
    for level, (own, rival) in intervals.items():
        checks.append(_holds(y, own, level, figures, gate))
        checks.append(_is_sharp(y, own, rival, level, whose, figures, gate))
    if old is not None:
        checks += [_is_no_worse(y[p], new[p], old[p], name, figures, gate) for name, p in parts.items() if p.any()]
    for way, (ratings, ends_by_level, before) in ways.items():
        checks += [_holds(y, ends, level, figures, gate, f" asked by {way}") for level, ends in ends_by_level.items()]
        checks += [_is_no_worse(y, ratings, before, f"asked by {way}", figures, gate)] if before is not None else []
    failed = [check for check in checks if not check.passed]
    if refresh and refresh.passed and failed == [better]:
        return Verdict("refreshed", refresh.words, figures, checks)
    if failed:
        return Verdict("kept", "; ".join(check.words for check in failed), figures, checks)
    return Verdict("better", better.words if better else _of_a_first(y, figures), figures, checks)


def _of_a_first(y: NDArray[np.float64], figures: dict[str, float]) -> str:
    """Say what a first model beats, and of its own half that it does not where it does not."""
    own, half = figures["challenger rmse"], figures.get(f"baseline {LINEAR} rmse", math.inf)
    if own < half:
        return f"challenger {own:.4f} beats every baseline on {y.size} movies"
    return (
        f"challenger {own:.4f} beats every baseline that needs no model on {y.size} movies; the {half:.4f} of its "
        "linear member alone is less by no more than chance explains"
    )


def _pair(own: Intervals, rival: Intervals, y: NDArray[np.float64]) -> dict[float, tuple[Ends, Ends]]:
    """Return both sides' ends by level. Raises ValueError where levels differ, or an end is missing."""
    if own.keys() != rival.keys():
        raise ValueError(f"levels of intervals differ, {sorted(own)} and {sorted(rival)}: ask both for the same")
    return {level: (_ends(own[level], level, y), _ends(rival[level], level, y)) for level in own}


def _asked(
    challenger: Predictions, champion: Predictions | None, way: str, y: NDArray[np.float64], has_champion: bool
) -> tuple[NDArray[np.float64], dict[float, Ends], NDArray[np.float64] | None]:
    """Return the challenger's ratings and intervals, and the champion's ratings, when asked in one way."""
    if has_champion != (champion is not None) or not challenger.intervals:
        raise ValueError(f"asked by {way}, both sides must answer, with intervals")
    ratings = [np.asarray(side.ratings, dtype=float) for side in (challenger, champion) if side]
    for each in ratings:
        metrics(y, each)
    ends = {level: _ends(both, level, y) for level, both in challenger.intervals.items()}
    return ratings[0], ends, ratings[1] if champion else None


def _ends(ends: tuple[ArrayLike, ArrayLike], level: float, y: NDArray[np.float64]) -> Ends:
    low, high = (np.asarray(end, dtype=float) for end in ends)
    if not (0 < level < 1 and low.shape == high.shape == y.shape):
        raise ValueError(f"intervals of {level} need a level between 0 and 1, and two ends for each of {y.size} movies")
    if not ((low <= high) & (low < np.inf) & (high > -np.inf)).all():
        raise ValueError(
            f"intervals of {level:.0%} hold no rating: a low end must be a number, and the high one no less"
        )
    return low, high


def _members(part: ArrayLike, name: str, y: NDArray[np.float64]) -> NDArray[np.bool_]:
    members = np.asarray(part)
    if members.dtype != bool or members.shape != y.shape:
        raise ValueError(f"segment {name} must say True or False of each of {y.size} movies")
    return members


def _beats(
    y: NDArray[np.float64],
    challenger: NDArray[np.float64],
    name: str,
    rival: NDArray[np.float64],
    figures: dict[str, float],
    gate: Gate,
) -> Check:
    """Ask for certainty against what needs no model; of a model's own half, that the whole be not surely worse."""
    certainty = float((paired_bootstrap(y, rival, challenger) < 0).mean())
    figures[f"certainty against {name}"] = certainty
    own_half = name == f"baseline {LINEAR}"
    needed = 1 - gate.confidence if own_half else gate.confidence
    words = (
        f"challenger {figures['challenger rmse']:.4f} against {name} {figures[f'{name} rmse']:.4f}: better in "
        f"{certainty:.1%} of resamplings, {needed:.0%} are needed"
    )
    return Check(f"{'not surely worse' if own_half else 'better'} than {name}", certainty >= needed, words)


def _is_truly_better(
    y: NDArray[np.float64],
    challenger: NDArray[np.float64],
    champion: NDArray[np.float64],
    look: int,
    figures: dict[str, float],
    gate: Gate,
) -> Check:
    luck = float(sign_flip((y - champion) ** 2 - (y - challenger) ** 2)[0])
    risk = float(spend(look, gate.confidence))
    figures |= {"look": float(look), "certainty against the champion": 1 - luck, "certainty needed": 1 - risk}
    passed = luck <= risk
    words = (
        f"challenger {figures['challenger rmse']:.4f} {'beats' if passed else 'against'} the champion's "
        f"{figures['the champion rmse']:.4f} on {y.size} movies: certain to {_percent(1 - luck)}, look {look} at this "
        f"champion needs {_percent(1 - risk)}"
    )
    return Check("better than the champion", passed, words)


def _percent(certainty: float) -> str:
    """Write a certainty, rounded down: only what is certain is 100 %."""
    return f"{math.floor(certainty * 1e5) / 1e3:.3f}%"


def _is_refresh(
    y: NDArray[np.float64],
    challenger: NDArray[np.float64],
    champion: NDArray[np.float64],
    learned_days: float,
    figures: dict[str, float],
    gate: Gate,
) -> Check:
    worse = float(np.quantile(paired_bootstrap(y, champion, challenger), gate.confidence))
    figures |= {"days learned more": float(learned_days), "at most worse than the champion": worse}
    passed = worse < gate.refresh_margin
    words = (
        f"{'refreshed' if passed else 'not refreshed'}, not better: challenger {figures['challenger rmse']:.4f} knows "
        f"{learned_days:.0f} days more than the champion {figures['the champion rmse']:.4f}; RMSE against it at most "
        f"{worse:+.3f} in {gate.confidence:.0%} of resamplings, less than {gate.refresh_margin:+.3f} is needed"
    )
    return Check("no worse than the champion", passed, words)


def _holds(
    y: NDArray[np.float64], ends: Ends, level: float, figures: dict[str, float], gate: Gate, how: str = ""
) -> Check:
    hits = (y >= ends[0]) & (y <= ends[1])
    share = figures[f"coverage at {level:.0%}{how}"] = float(hits.mean())
    passed = float(binom.cdf(hits.sum(), y.size, level - gate.coverage_margin)) >= CHANCE
    words = f"intervals of {level:.0%}{how} held {share:.1%}"
    return Check(f"intervals of {level:.0%}{how}", passed, words if passed else f"{words}: fewer than chance explains")


def _is_sharp(
    y: NDArray[np.float64], own: Ends, rival: Ends, level: float, whose: str, figures: dict[str, float], gate: Gate
) -> Check:
    score, other = (float(interval_score(y, *ends, level).mean()) for ends in (own, rival))
    scores = {"challenger": score, whose: other}
    figures |= {f"{n} interval score at {level:.0%}": s for n, s in scores.items() if math.isfinite(s)}  # JSON has none
    most = other * (1 + gate.interval_margin)
    words = f"intervals of {level:.0%}: score (width and misses) {score:.3f} against {whose} {other:.3f}"
    words += f", at most {most:.3f} is allowed"
    return Check(f"interval score at {level:.0%}", math.isfinite(score) and score <= most, words)


def _is_no_worse(
    y: NDArray[np.float64],
    challenger: NDArray[np.float64],
    champion: NDArray[np.float64],
    name: str,
    figures: dict[str, float],
    gate: Gate,
) -> Check:
    """Hold a segment to the margin; the fewer its movies, the less their difference counts.

    Small ones are not pooled: they overlap, and a few bad movies would hide among many.
    """
    worse = metrics(y, challenger)["rmse"] - metrics(y, champion)["rmse"]
    counted = worse * min(1, y.size / MIN_MOVIES)
    figures[f"{name}: rmse against the champion"] = worse
    words = f"{name} ({y.size} movies): RMSE {worse:+.3f} against the champion"
    words += f", which counts as {counted:+.3f}" if y.size < MIN_MOVIES else ""
    words += f", at most {gate.segment_margin:+.3f} is allowed"
    return Check(f"segment {name}", counted <= gate.segment_margin, words)
