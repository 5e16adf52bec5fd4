from __future__ import annotations

import numpy as np
import pytest

from models.promotion import Gate, decide

rng = np.random.default_rng(0)
ACTUAL = rng.normal(6, 1, 200)
GOOD, FAIR, POOR = (ACTUAL + rng.normal(0, size, 200) for size in (0.5, 0.8, 3.0))
BASELINES = {"training mean": np.full(200, 6.0)}
HELD = {0.9: np.arange(200) % 10 > 0}  # nine of ten


def test_the_first_model_must_beat_the_baselines() -> None:
    assert decide(ACTUAL, GOOD, HELD, BASELINES).promote
    verdict = decide(ACTUAL, POOR, HELD, BASELINES)
    assert not verdict.promote
    assert "baseline training mean" in verdict.reason


def test_a_better_challenger_wins_and_a_worse_one_does_not() -> None:
    assert decide(ACTUAL, GOOD, HELD, BASELINES, champion=FAIR).promote
    assert not decide(ACTUAL, FAIR, HELD, BASELINES, champion=GOOD).promote


def test_a_tie_keeps_the_champion() -> None:
    verdict = decide(ACTUAL, GOOD, HELD, BASELINES, champion=GOOD)
    assert not verdict.promote
    assert "0% of resamplings" in verdict.reason


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_what_is_no_number_keeps_the_champion(broken: float) -> None:
    for challenger, champion in ((np.append(GOOD[1:], broken), FAIR), (GOOD, np.append(FAIR[1:], broken))):
        assert not decide(ACTUAL, challenger, HELD, BASELINES, champion=champion).promote


def test_too_few_or_missing_predictions_keep_the_champion() -> None:
    assert "too few" in decide([], [], {}, {}, champion=[]).reason
    assert "too few" in decide(ACTUAL[:20], GOOD[:20], {0.9: HELD[0.9][:20]}, BASELINES).reason
    assert "cannot be judged" in decide(ACTUAL, GOOD[:100], HELD, BASELINES, champion=FAIR).reason
    assert "nothing to compare" in decide(ACTUAL, GOOD, {}, BASELINES, champion=FAIR).reason
    assert not decide(ACTUAL, GOOD, {0.9: HELD[0.9][:100]}, BASELINES).promote


def test_intervals_that_hold_too_little_keep_the_champion() -> None:
    narrow = {0.9: np.arange(200) % 10 > 2}  # seven of ten
    verdict = decide(ACTUAL, GOOD, narrow, BASELINES, champion=FAIR)
    assert not verdict.promote
    assert "intervals of 90% held 70.0%" in verdict.reason
    wide = {0.9: np.ones(200, dtype=bool)}  # too wide is a lesser sin: the error decides
    assert decide(ACTUAL, GOOD, wide, BASELINES, champion=FAIR).promote


def test_a_large_slice_that_gets_worse_keeps_the_champion_and_a_small_one_has_no_say() -> None:
    challenger = GOOD.copy()
    challenger[:60] = ACTUAL[:60] + 1.0
    slices = {"in Korean": np.arange(200) < 60}
    champion = FAIR.copy()
    champion[60:] = ACTUAL[60:] + 2.0  # the champion is far worse elsewhere
    verdict = decide(ACTUAL, challenger, HELD, BASELINES, champion, slices)
    assert not verdict.promote
    assert verdict.reason.startswith("in Korean (60 movies): RMSE +0.")
    assert [check.name for check in verdict.checks if not check.passed] == ["slice in Korean"]
    assert decide(ACTUAL, challenger, HELD, BASELINES, champion, {"in Korean": np.arange(200) < 40}).promote
    assert decide(ACTUAL, challenger, HELD, BASELINES, champion, slices, Gate(slice_margin=0.9)).promote


def test_the_verdict_carries_its_figures_and_every_check() -> None:
    verdict = decide(ACTUAL, GOOD, HELD, BASELINES, champion=FAIR, slices={"all": ACTUAL > -99})
    figures = verdict.figures
    assert figures["challenger rmse"] < figures["the champion rmse"] < figures["baseline training mean rmse"]
    assert figures["certainty against the champion"] >= 0.95
    assert figures["coverage at 90%"] == pytest.approx(0.9)
    assert [check.name for check in verdict.checks] == [
        *("better than baseline training mean", "better than the champion", "intervals of 90%", "slice all")
    ]


@pytest.mark.parametrize(
    "bad", [{"confidence": 0.2}, {"confidence": 1.0}, {"slice_margin": -1}, {"coverage_margin": 1}]
)
def test_a_gate_that_lets_everything_through_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"confidence|margin"):
        Gate(**bad)
