"""Decide whether a challenger replaces the champion. Fails closed: missing, NaN, empty or a tie keeps the champion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from models.evaluation import metrics, paired_bootstrap

CONFIDENCE = 0.95
MIN_MOVIES = 50


@dataclass(frozen=True)
class Verdict:
    """Whether the challenger wins, the reason in words, and the figures behind it."""

    promote: bool
    reason: str
    figures: dict[str, float] = field(default_factory=dict)


def decide(
    actual: ArrayLike,
    challenger: ArrayLike,
    baselines: Mapping[str, ArrayLike],
    champion: ArrayLike | None = None,
    confidence: float = CONFIDENCE,
) -> Verdict:
    """Judge predictions for the same movies, which neither model was fitted on.

    The challenger must beat every baseline, and the champion where there is one, with at least `confidence` of the
    resamplings of a paired bootstrap.
    """
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
    for name, predictions in rivals.items():
        certainty = float((paired_bootstrap(y, predictions, challenger) < 0).mean())
        figures[f"certainty against {name}"] = certainty
        if certainty < confidence:
            reason = (
                f"challenger {figures['challenger rmse']:.4f} against {name} {figures[f'{name} rmse']:.4f}: better in "
                f"{certainty:.0%} of resamplings, {confidence:.0%} are needed"
            )
            return Verdict(False, reason, figures)
    against = f"the champion's {figures['the champion rmse']:.4f}" if champion is not None else "every baseline"
    return Verdict(True, f"challenger {figures['challenger rmse']:.4f} beats {against} on {y.size} movies", figures)
