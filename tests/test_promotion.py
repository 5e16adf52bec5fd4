from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.evaluation import LINEAR
from models.promotion import Gate, Predictions, Verdict, decide

rng = np.random.default_rng(0)
ACTUAL = rng.normal(6, 1, 200)
OFF = rng.normal(0, 1, (3, 200))
GOOD, FAIR, POOR = (ACTUAL + size * off for size, off in zip((0.5, 0.8, 3.0), OFF, strict=True))
BASELINES = {"training mean": np.full(200, 6.0)}


def said(ratings: NDArray[np.float64], wide: float = 1.0, misses: int = 10) -> Predictions:
    """Ratings with intervals of 90 % that miss one movie in `misses`, by 0.1."""
    out = np.arange(len(ratings)) % misses == 0
    low = np.resize(ACTUAL, len(ratings)) - wide / 2 + (wide / 2 + 0.1) * out
    return Predictions(ratings, {0.9: (low, low + wide)})


USUAL = said(ACTUAL, wide=4.0).intervals


def first(challenger: Predictions, baselines: dict[str, Any] = BASELINES, **options: Any) -> Verdict:
    return decide(ACTUAL, challenger, baselines, usual=USUAL, **options)


def duel(challenger: Predictions, champion: Predictions, segments: Any = None, **options: Any) -> Verdict:
    return decide(ACTUAL, challenger, BASELINES, champion, segments, **options)


def test_the_first_model_must_beat_the_baselines() -> None:
    verdict = first(said(GOOD))
    assert (verdict.promote, verdict.outcome) == (True, "better")
    assert "beats every baseline on 200 movies" in verdict.reason
    verdict = first(said(POOR))
    assert not verdict.promote
    assert "baseline training mean" in verdict.reason


def test_no_baseline_is_beaten_in_words_only() -> None:
    lower, higher = ACTUAL + 0.45 * OFF[0], ACTUAL + 0.51 * OFF[0]
    verdict = first(said(GOOD), BASELINES | {LINEAR: lower})
    assert verdict.outcome == "kept"
    assert "baseline linear model" in verdict.reason
    assert first(said(GOOD), BASELINES | {LINEAR: GOOD}).outcome == "kept"
    barely = first(said(GOOD), BASELINES | {LINEAR: higher})  # of its own half no certainty is asked
    assert "beats every baseline" in barely.reason
    noise = rng.normal(0, 1, 200)
    hair = first(said(GOOD), BASELINES | {LINEAR: ACTUAL + 0.499 * noise / np.sqrt((noise**2).mean())})
    assert hair.outcome == "better"
    assert "beats every baseline that needs no model" in hair.reason
    assert "the 0.4990 of its linear member alone" in hair.reason
    almost = ACTUAL + 0.51 * rng.normal(0, 1, 200) / OFF[0].std()
    assert first(said(GOOD), {"genre mean": almost}).outcome == "kept"  # of others certainty is asked


def test_a_better_challenger_wins_and_a_worse_one_does_not() -> None:
    verdict = duel(said(GOOD), said(FAIR))
    assert (verdict.promote, verdict.outcome) == (True, "better")
    assert "beats the champion's" in verdict.reason
    assert not duel(said(FAIR), said(GOOD)).promote


def test_a_tie_keeps_the_champion() -> None:
    verdict = duel(said(GOOD), said(GOOD))
    assert not verdict.promote
    assert "certain to 0.000%" in verdict.reason


def test_a_later_look_asks_for_more_certainty_and_says_so() -> None:
    slightly = said(ACTUAL + 0.7 * OFF[1] + 0.2 * OFF[0])
    early, late = duel(slightly, said(FAIR)), duel(slightly, said(FAIR), look=1000)
    assert (early.outcome, late.outcome) == ("better", "kept")
    assert "look 1 at this champion needs 99.93" in early.reason
    assert "look 1000 at this champion needs 99.999" in late.reason
    assert late.figures["look"] == 1000


@pytest.mark.parametrize("look", [0, -3, 1.5, float("nan"), float("inf"), None])
def test_a_look_that_was_not_counted_keeps_the_champion(look: Any) -> None:
    assert duel(said(GOOD), said(FAIR), look=look).outcome == "kept"


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_what_is_no_number_keeps_the_champion(broken: float) -> None:
    ends = (np.append(ACTUAL[1:] - 2, broken), np.append(ACTUAL[1:] + 2, broken))
    for challenger, champion in (
        (said(np.append(GOOD[1:], broken)), said(FAIR)),
        (said(GOOD), said(np.append(FAIR[1:], broken))),
        (Predictions(GOOD, {0.9: ends}), said(FAIR)),
    ):
        assert not duel(challenger, champion).promote
    assert not first(said(GOOD), {"training mean": np.full(200, broken)}).promote


def test_too_few_or_missing_predictions_keep_the_champion() -> None:
    nothing = Predictions([], {})
    assert "too few" in decide([], nothing, {}, champion=nothing).reason
    assert "too few" in decide(ACTUAL[:20], said(GOOD[:20]), BASELINES, usual=USUAL).reason
    assert "cannot be judged" in duel(said(GOOD[:100]), said(FAIR)).reason
    assert "nothing to compare" in duel(Predictions(GOOD, {}), said(FAIR)).reason
    assert "nothing to compare" in duel(said(GOOD), Predictions(FAIR, {})).reason
    assert "nothing to compare" in decide(ACTUAL, said(GOOD), BASELINES).reason
    assert "nothing to compare" in decide(ACTUAL, said(GOOD), {}, said(FAIR)).reason
    assert "levels" in duel(Predictions(GOOD, said(GOOD).intervals | {0.8: (GOOD, GOOD)}), said(FAIR)).reason


@pytest.mark.parametrize("level", [0.0, 1.0, 90, float("nan")])
def test_intervals_of_no_level_keep_the_champion(level: float) -> None:
    new, old = (Predictions(p.ratings, {level: p.intervals[0.9]}) for p in (said(GOOD), said(FAIR)))
    assert "cannot be judged" in duel(new, old).reason


def test_intervals_of_other_movies_or_upside_down_keep_the_champion() -> None:
    low, high = said(GOOD).intervals[0.9]
    for ends in ((np.asarray(low)[:100], np.asarray(high)[:100]), (high, low), (low,)):
        assert "cannot be judged" in duel(Predictions(GOOD, {0.9: ends}), said(FAIR)).reason  # type: ignore[dict-item]


def test_intervals_that_hold_too_little_keep_the_champion() -> None:
    narrow = said(GOOD, wide=0.1, misses=3)
    verdict = duel(narrow, said(FAIR, wide=9.0))
    assert not verdict.promote
    assert "intervals of 90% held 66.5%" in verdict.reason


def test_wide_intervals_keep_the_champion_however_much_they_hold() -> None:
    assert duel(said(GOOD, wide=1.0), said(FAIR, wide=1.0)).promote
    assert duel(said(GOOD, wide=1.04), said(FAIR, wide=1.0)).promote
    for wide in (1.2, 100.0):
        verdict = duel(said(GOOD, wide=wide), said(FAIR, wide=1.0))
        assert not verdict.promote
        assert "intervals of 90%: score" in verdict.reason
    assert duel(said(GOOD, wide=1.2), said(FAIR, wide=1.0), gate=Gate(interval_margin=0.3)).promote
    assert first(said(GOOD, wide=3.9)).promote
    assert "usual ones" in first(said(GOOD, wide=4.5)).reason


def test_infinite_intervals_are_refused_even_against_infinite_ones() -> None:
    endless = {0.9: (np.full(200, -np.inf), np.full(200, np.inf))}
    for champion in (said(FAIR), Predictions(FAIR, endless)):
        verdict = duel(Predictions(GOOD, endless), champion)
        assert not verdict.promote
        json.dumps(verdict.figures, allow_nan=False)
    assert duel(said(GOOD), Predictions(FAIR, endless)).promote  # but a champion of that kind can be replaced


def test_a_large_segment_that_gets_worse_keeps_the_champion() -> None:
    challenger = GOOD.copy()
    challenger[:60] = ACTUAL[:60] + 1.0
    segments = {"in Korean": np.arange(200) < 60}
    champion = FAIR.copy()
    champion[60:] = ACTUAL[60:] + 2.0  # the champion is far worse elsewhere
    verdict = duel(said(challenger), said(champion), segments)
    assert not verdict.promote
    assert verdict.reason.startswith("in Korean (60 movies): RMSE +0.")
    assert [check.name for check in verdict.checks if not check.passed] == ["segment in Korean"]
    assert duel(said(challenger), said(champion), segments, gate=Gate(segment_margin=0.9)).promote


def test_a_small_segment_has_as_much_say_as_it_has_movies() -> None:
    def with_worse(movies: int, times: float) -> Verdict:
        champion, part = FAIR.copy(), np.arange(200) < movies
        champion[~part] = ACTUAL[~part] + 2.0
        challenger = np.where(part, ACTUAL + times * (champion - ACTUAL), GOOD)
        return duel(said(challenger), said(champion), {"in Korean": part})

    assert "in Korean (49 movies)" in with_worse(49, 2.5).reason
    assert "which counts as" in with_worse(20, 2.5).reason
    assert with_worse(49, 1.02).promote
    assert with_worse(3, 1.5).promote
    assert with_worse(0, 1.0).promote


@pytest.mark.parametrize("part", [np.ones(100, dtype=bool), np.ones(200, dtype=int), None])
def test_a_segment_that_names_no_movies_keeps_the_champion(part: Any) -> None:
    assert "segment in Korean" in duel(said(GOOD), said(FAIR), {"in Korean": part}).reason


def test_a_challenger_that_knows_more_and_is_no_worse_refreshes_and_claims_no_more() -> None:
    alike = said(ACTUAL + 0.8 * OFF[1] + 0.02 * OFF[0])
    assert duel(alike, said(FAIR), learned_days=29).outcome == "kept"
    verdict = duel(alike, said(FAIR), learned_days=30)
    assert (verdict.promote, verdict.outcome) == (True, "refreshed")
    assert verdict.reason.startswith("refreshed, not better: ")
    assert "beats" not in verdict.reason
    assert duel(said(GOOD), said(FAIR), learned_days=90).outcome == "better"
    assert duel(alike, said(FAIR), learned_days=29, gate=Gate(refresh_days=7)).outcome == "refreshed"
    assert duel(alike, said(FAIR), learned_days=float("nan")).outcome == "kept"


def test_a_challenger_that_may_be_worse_refreshes_nothing() -> None:
    worse = said(ACTUAL + 0.85 * OFF[1])
    verdict = duel(worse, said(FAIR), learned_days=400)
    assert verdict.outcome == "kept"
    assert "not refreshed" in verdict.reason
    assert duel(worse, said(FAIR), learned_days=400, gate=Gate(refresh_margin=0.2)).outcome == "refreshed"


def test_a_refresh_owes_all_else_that_is_asked() -> None:
    alike = ACTUAL + 0.8 * OFF[1] + 0.02 * OFF[0]
    part = np.arange(200) < 60
    bad_part = np.where(part, ACTUAL + 1.1 * (FAIR - ACTUAL), ACTUAL + 0.95 * (FAIR - ACTUAL))
    assert duel(said(alike, wide=1.2), said(FAIR), learned_days=60).outcome == "kept"
    assert duel(said(alike, wide=0.1, misses=3), said(FAIR), learned_days=60).outcome == "kept"
    loose = Gate(refresh_margin=0.5)
    assert duel(said(bad_part), said(FAIR), {"in Korean": part}, learned_days=60, gate=loose).outcome == "kept"
    beaten = BASELINES | {LINEAR: GOOD}
    assert decide(ACTUAL, said(alike), beaten, said(FAIR), learned_days=60).outcome == "kept"


def test_the_verdict_carries_its_figures_and_every_check() -> None:
    verdict = duel(said(GOOD), said(FAIR), {"all": ACTUAL > -99})
    figures = verdict.figures
    assert figures["challenger rmse"] < figures["the champion rmse"] < figures["baseline training mean rmse"]
    assert figures["certainty against the champion"] >= 0.95
    assert figures["coverage at 90%"] == pytest.approx(0.9)
    assert figures["challenger interval score at 90%"] == pytest.approx(1.0 + 20 * 0.1 / 10)
    assert [check.name for check in verdict.checks] == [
        *("better than baseline training mean", "better than the champion", "intervals of 90%"),
        *("interval score at 90%", "segment all"),
    ]


def test_only_two_outcomes_promote() -> None:
    said = {outcome: Verdict(outcome, "a test").promote for outcome in ("better", "refreshed", "kept", True)}  # type: ignore[arg-type]
    assert said == {"better": True, "refreshed": True, "kept": False, True: False}


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        *[("confidence", bad) for bad in (0.2, 0.5, 1.0)],
        *[("segment_margin", bad) for bad in (-1, 11, float("inf"))],
        *[("coverage_margin", bad) for bad in (-0.1, 0.5, 1)],
        *[("interval_margin", bad) for bad in (-0.1, 1.1, float("inf"))],
        *[("refresh_days", bad) for bad in (0, -30, 1.5, float("inf"))],
        *[("refresh_margin", bad) for bad in (0, -0.1, 2, float("inf"))],
        *[(name, bad) for name in Gate.__annotations__ for bad in (float("nan"), None, "0.9", True)],
    ],
)
def test_a_gate_that_lets_everything_through_is_refused_by_name(name: str, bad: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{name} .* must .*: .* is usual$"):
        Gate(**{name: bad})
