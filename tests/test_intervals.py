from __future__ import annotations

import numpy as np
import pytest

from models.intervals import ConformalInterval


def world(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Errors whose size depends on the first feature."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(0, 1, (n, 3))
    return X, rng.normal(0, 0.3 + X[:, 0], n)


@pytest.mark.parametrize("level", [0.8, 0.9])
def test_the_stated_share_falls_inside(level: float) -> None:
    interval = ConformalInterval().fit(*world(1500, 1))
    X, residuals = world(4000, 2)
    assert np.mean(np.abs(residuals) <= interval.half_width(X, level)) == pytest.approx(level, abs=0.03)


def test_intervals_widen_where_errors_are_large() -> None:
    interval = ConformalInterval().fit(*world(1500, 1))
    sure, unsure = interval.half_width(np.array([[0.05, 0.5, 0.5], [0.95, 0.5, 0.5]]))
    assert unsure > 1.8 * sure


def test_a_higher_level_is_never_narrower() -> None:
    interval = ConformalInterval().fit(*world(300, 1))
    widths = [interval.half_width(np.full((1, 3), 0.5), level)[0] for level in (0.5, 0.8, 0.9, 0.99)]
    assert widths == sorted(widths)


@pytest.mark.parametrize("level", [0.0, 1.0, -1.0, 90.0])
def test_an_impossible_level_is_refused(level: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        ConformalInterval().fit(*world(100, 1)).half_width(np.zeros((1, 3)), level)


def test_too_few_residuals_are_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        ConformalInterval().fit(*world(10, 1))
