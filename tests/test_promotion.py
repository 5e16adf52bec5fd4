from __future__ import annotations

import numpy as np
import pytest

from models.promotion import decide

rng = np.random.default_rng(0)
ACTUAL = rng.normal(6, 1, 200)
GOOD, FAIR, POOR = (ACTUAL + rng.normal(0, size, 200) for size in (0.5, 0.8, 3.0))
BASELINES = {"training mean": np.full(200, 6.0)}


def test_the_first_model_must_beat_the_baselines() -> None:
    assert decide(ACTUAL, GOOD, BASELINES).promote
    verdict = decide(ACTUAL, POOR, BASELINES)
    assert not verdict.promote
    assert "baseline training mean" in verdict.reason


def test_a_better_challenger_wins_and_a_worse_one_does_not() -> None:
    assert decide(ACTUAL, GOOD, BASELINES, champion=FAIR).promote
    assert not decide(ACTUAL, FAIR, BASELINES, champion=GOOD).promote


def test_a_tie_keeps_the_champion() -> None:
    verdict = decide(ACTUAL, GOOD, BASELINES, champion=GOOD)
    assert not verdict.promote
    assert "0% of resamplings" in verdict.reason


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_what_is_no_number_keeps_the_champion(broken: float) -> None:
    for challenger, champion in ((np.append(GOOD[1:], broken), FAIR), (GOOD, np.append(FAIR[1:], broken))):
        assert not decide(ACTUAL, challenger, BASELINES, champion=champion).promote


def test_too_few_or_missing_predictions_keep_the_champion() -> None:
    assert "too few" in decide([], [], {}, champion=[]).reason
    assert "too few" in decide(ACTUAL[:20], GOOD[:20], {}).reason
    assert "cannot be judged" in decide(ACTUAL, GOOD[:100], BASELINES, champion=FAIR).reason


def test_the_verdict_carries_its_figures() -> None:
    figures = decide(ACTUAL, GOOD, BASELINES, champion=FAIR).figures
    assert figures["challenger rmse"] < figures["the champion rmse"] < figures["baseline training mean rmse"]
    assert figures["certainty against the champion"] >= 0.95
