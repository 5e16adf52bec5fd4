"""Decide whether a challenger replaces the champion. Fails closed: missing, NaN, empty or a tie keeps the champion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom

from models.evaluation import metrics, paired_bootstrap

MIN_MOVIES = 50  # of a hold-out, and of a slice of it that has a say
CHANCE = 0.05  # intervals fail where so few hits would be rarer than this


@dataclass(frozen=True)
class Gate:
    """What a challenger must reach.

    confidence : share of a paired bootstrap's resamplings in which it must be better, than the champion and than every
        baseline. 0 to 1.
    slice_margin : how much worse than the champion its RMSE may be in a slice of `MIN_MOVIES` or more, rating points.
    coverage_margin : how far below the stated level the true coverage of its intervals may lie, 0 to 1; what it held
        on the hold-out must be possible with that.
    """

    confidence: float = 0.95
    slice_margin: float = 0.05
    coverage_margin: float = 0.03

    def __post_init__(self) -> None:
        if not 0.5 < self.confidence < 1:
            raise ValueError(f"confidence {self.confidence} must lie between 0.5 and 1: 0.95 is usual")
        if not (self.slice_margin >= 0 and 0 <= self.coverage_margin < 0.5):
            raise ValueError("slice_margin must be 0 or more rating points, coverage_margin 0 to 0.5")


@dataclass(frozen=True)
class Check:
    """One thing that the gate asks, and how it came out."""

    name: str
    passed: bool
    words: str


@dataclass(frozen=True)
class Verdict:
    """Whether the challenger wins, the reason in words, and the figures and checks behind it."""

    promote: bool
    reason: str
    figures: dict[str, float] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)


def decide(
    actual: ArrayLike,
    challenger: ArrayLike,
    inside: Mapping[float, ArrayLike],
    baselines: Mapping[str, ArrayLike],
    champion: ArrayLike | None = None,
    slices: Mapping[str, NDArray[np.bool_]] | None = None,
    gate: Gate | None = None,
) -> Verdict:
    """Judge predictions of n movies, which neither model was fitted on.

    `inside` says for each level (0 to 1) which of the n ratings fell into the challenger's intervals; `slices` are
    parts of the n movies, by name.
    """
    gate = gate or Gate()
    y = np.asarray(actual, dtype=float)
    if y.size < MIN_MOVIES:
        return Verdict(False, f"{y.size} movies to judge on are too few: {MIN_MOVIES} are needed")
    rivals = {f"baseline {name}": predictions for name, predictions in baselines.items()}
    if champion is not None:
        rivals["the champion"] = champion
    try:
        figures = {"challenger rmse": metrics(y, challenger)["rmse"]}
        figures |= {f"{name} rmse": metrics(y, predictions)["rmse"] for name, predictions in rivals.items()}
    except ValueError as error:
        return Verdict(False, f"predictions cannot be judged: {error}")
    if not rivals or not inside:
        return Verdict(False, "there is nothing to compare with: baselines and intervals are needed", figures)
    checks = [_is_better(y, challenger, name, predictions, figures, gate) for name, predictions in rivals.items()]
    checks += [_holds(np.asarray(hits, dtype=bool), level, y.size, figures, gate) for level, hits in inside.items()]
    if champion is not None:
        checks += [
            _is_no_worse(y[part], np.asarray(challenger)[part], np.asarray(champion)[part], name, figures, gate)
            for name, part in (slices or {}).items()
            if part.sum() >= MIN_MOVIES
        ]
    failed = [check for check in checks if not check.passed]
    if failed:
        return Verdict(False, "; ".join(check.words for check in failed), figures, checks)
    against = f"the champion's {figures['the champion rmse']:.4f}" if champion is not None else "every baseline"
    reason = f"challenger {figures['challenger rmse']:.4f} beats {against} on {y.size} movies"
    return Verdict(True, reason, figures, checks)


def _is_better(
    y: NDArray[np.float64],
    challenger: ArrayLike,
    name: str,
    rival: ArrayLike,
    figures: dict[str, float],
    gate: Gate,
) -> Check:
    certainty = float((paired_bootstrap(y, rival, challenger) < 0).mean())
    figures[f"certainty against {name}"] = certainty
    words = (
        f"challenger {figures['challenger rmse']:.4f} against {name} {figures[f'{name} rmse']:.4f}: better in "
        f"{certainty:.1%} of resamplings, {gate.confidence:.0%} are needed"
    )
    return Check(f"better than {name}", certainty >= gate.confidence, words)


def _holds(hits: NDArray[np.bool_], level: float, movies: int, figures: dict[str, float], gate: Gate) -> Check:
    share = float(hits.mean()) if hits.size == movies else float("nan")
    figures[f"coverage at {level:.0%}"] = share
    passed = hits.size == movies and float(binom.cdf(hits.sum(), movies, level - gate.coverage_margin)) >= CHANCE
    words = f"intervals of {level:.0%} held {share:.1%}"
    return Check(f"intervals of {level:.0%}", passed, words if passed else f"{words}: fewer than chance explains")


def _is_no_worse(
    y: NDArray[np.float64],
    challenger: NDArray[np.float64],
    champion: NDArray[np.float64],
    name: str,
    figures: dict[str, float],
    gate: Gate,
) -> Check:
    worse = metrics(y, challenger)["rmse"] - metrics(y, champion)["rmse"]
    figures[f"{name}: rmse against the champion"] = worse
    words = (
        f"{name} ({y.size} movies): RMSE {worse:+.3f} against the champion, at most {gate.slice_margin:+.3f} is allowed"
    )
    return Check(f"slice {name}", worse <= gate.slice_margin, words)
