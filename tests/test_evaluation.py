from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models.evaluation import (
    LINEAR,
    baselines,
    interval_score,
    metrics,
    paired_bootstrap,
    skill,
    split_by_release,
    usual_intervals,
    walk_forward,
)


def movies(dates: list[str], votes: int = 100) -> pd.DataFrame:
    frame = pd.DataFrame({"release_date": pd.to_datetime(dates), "vote_average": 6.0, "vote_count": votes})
    return frame.assign(genres=[["Drama"]] * len(frame))


def test_metrics_are_those_computed_by_hand() -> None:
    found = metrics([1, 2, 3, 4], [1, 2, 3, 6])
    assert found == pytest.approx({"rmse": 1.0, "mae": 0.5, "r2": 1 - 1 / 1.25, "spearman": 1.0})
    assert skill([1, 2, 3, 4], [1, 2, 3, 6], [0, 0, 0, 0]) == pytest.approx(1 - 4 / 30)


def test_a_constant_prediction_has_no_rank_order() -> None:
    assert metrics([1, 2, 3], [2, 2, 2])["spearman"] == 0


@pytest.mark.parametrize("predicted", [[], [1.0], [1.0, float("nan")], [1.0, float("inf")]])
def test_metrics_refuse_what_cannot_be_judged(predicted: list[float]) -> None:
    with pytest.raises(ValueError):
        metrics([1.0, 2.0], predicted)


def test_the_holdout_is_the_newest_twelve_months_with_enough_votes() -> None:
    known = movies(["2021-06-01", "2022-12-31", "2023-01-01", "2023-06-01", "2024-01-01"])
    known.loc[3, "vote_count"] = 49
    train, holdout = split_by_release(known, pd.Timestamp("2024-01-01"))
    assert train["release_date"].max() == pd.Timestamp("2022-12-31")
    assert holdout["release_date"].tolist() == [pd.Timestamp("2023-01-01")]


def test_a_split_with_an_empty_side_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="collect more years"):
        split_by_release(movies(["2023-06-01"]), pd.Timestamp("2024-01-01"))


def test_walk_forward_judges_each_year_from_what_came_before() -> None:
    known = movies(["2020-05-01", "2021-05-01", "2022-05-01", "2023-05-01"])
    folds = [(a.tolist(), b.tolist()) for a, b in walk_forward(known, 2, pd.Timestamp("2024-01-01"))]
    assert folds == [([0, 1], [2]), ([0, 1, 2], [3])]


def test_baselines_know_only_the_training_movies() -> None:
    train = movies(["2000-01-01", "2020-01-01", "2021-01-01"])
    train["vote_average"] = [1.0, 6.0, 8.0]
    train["genres"] = [["Drama"], ["Drama"], ["Comedy", "Drama"]]
    test = movies(["2022-01-01"] * 3).assign(genres=[["Comedy"], ["Drama", "Comedy"], []], vote_average=99.0)
    found = baselines(train, test)
    assert found["training mean"] == pytest.approx([5.0] * 3)
    assert found["trailing five-year mean"] == pytest.approx([7.0] * 3)
    assert found["genre mean"] == pytest.approx([8.0, 7.5, 7.0])
    assert LINEAR not in found
    complete = baselines(train, test, [1.0, 2.0, 3.0])
    assert list(complete) == [*found, LINEAR]
    assert complete[LINEAR] == pytest.approx([1.0, 2.0, 3.0])


def test_usual_intervals_are_the_quantiles_of_the_last_five_training_years() -> None:
    train = movies(["2000-01-01", *["2020-01-01"] * 101])
    train["vote_average"] = [99.0, *np.linspace(0, 10, 101)]
    found = usual_intervals(train, movies(["2022-01-01"] * 2), (0.8, 0.9))
    assert [np.round(ends, 6).tolist() for ends in found[0.8]] == [[1.0, 1.0], [9.0, 9.0]]
    assert [np.round(ends, 6).tolist() for ends in found[0.9]] == [[0.5, 0.5], [9.5, 9.5]]


def test_an_interval_scores_its_width_and_dearly_what_it_misses() -> None:
    assert interval_score([5, 4, 8], [4, 5, 4], [6, 7, 6], 0.9) == pytest.approx([2.0, 2 + 20 * 1, 2 + 20 * 2])


def test_the_bootstrap_is_paired_and_repeats_itself() -> None:
    rng = np.random.default_rng(1)
    y = rng.normal(size=400)
    champion, better = y + rng.normal(0, 1, 400), y + rng.normal(0, 0.7, 400)
    differences = paired_bootstrap(y, champion, better)
    assert (differences < 0).mean() > 0.99
    np.testing.assert_array_equal(differences, paired_bootstrap(y, champion, better))
    assert (paired_bootstrap(y, better, better) == 0).all()
