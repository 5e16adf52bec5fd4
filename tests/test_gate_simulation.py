"""What the gate's certainty is worth over a champion's life, by simulated errors, and by signs that are all turned."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from benchmarks.gate import first_day
from models.evaluation import sign_flip
from models.promotion import spend


@pytest.mark.parametrize(
    "kind",
    [{}, {"window": 2}, {"tails": 5}, {"tails": 5, "window": 2}, {"fresh": False, "window": 2}],
    ids=["the same movies", "a rolling window", "heavy tails", "heavy tails, rolling", "one recipe, rolling"],
)
def test_of_a_year_of_equals_hardly_any_is_called_better(kind: dict[str, Any]) -> None:
    assert np.isfinite(first_day(800, 365, **kind)).mean() <= 0.05


@pytest.mark.parametrize("kind", [{}, {"fresh": False, "window": 1}], ids=["fresh every day", "one recipe"])
@pytest.mark.parametrize("since", [1, 30])
def test_a_recipe_that_is_five_percent_better_wins_within_ninety_days(kind: dict[str, Any], since: int) -> None:
    found = first_day(1000, since - 1 + 90, 0.05, since=since, **kind)
    assert ((found >= since) & np.isfinite(found)).mean() >= 0.6


def test_the_risk_of_all_looks_together_is_what_confidence_leaves() -> None:
    risk = spend(np.arange(1, 1_000_001), 0.95)
    assert 0.0449 < risk.sum() <= 0.045
    assert (np.diff(risk) < 0).all()
    assert (risk > 0).all()


@pytest.mark.parametrize("spread", [1.0, 3.0])
def test_the_chance_of_luck_is_that_of_all_signs_turned(spread: float) -> None:
    rng = np.random.default_rng(4)
    sizes = np.exp(spread * rng.normal(size=14) / 3)
    signs = np.array(list(itertools.product([-1, 1], repeat=14)))
    sums = signs @ sizes
    for wanted in (0.2, 0.05, 0.005, 0.001):
        row = signs[np.argsort(-sums)[int(wanted * len(sums))]] * sizes
        assert sign_flip(row)[0] == pytest.approx((sums >= row.sum() - 1e-9).mean(), rel=0.35)


def test_no_luck_explains_a_challenger_that_is_better_on_every_movie() -> None:
    assert sign_flip(np.ones(60))[0] == pytest.approx(2.0**-60, rel=0.01)
    assert sign_flip([1.0, -1.0, 0.0])[0] == sign_flip(np.zeros(60))[0] == sign_flip(-np.ones(60))[0] == 1
    assert 0.4 < sign_flip(np.append(np.tile([1.0, -1.0], 50), 1e-6))[0] <= 1
