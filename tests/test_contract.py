from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from models.contract import check_batch, check_size


def broken(movies: pd.DataFrame) -> list[str]:
    return [violation.rule for violation in check_batch(movies)]


def test_a_good_batch_breaks_no_rule(rated: pd.DataFrame) -> None:
    assert broken(rated) == []
    assert broken(rated.head(3)) == []


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"release_date": pd.NaT}, "release_date is missing"),
        ({"cast": [[]]}, "cast is missing"),
        ({"overview": None}, "overview is missing"),
        ({"vote_average": 11.0}, "vote_average lies in"),
        ({"vote_average": 6.0}, "ratings differ"),
        ({"runtime": -1.0}, "runtime lies in"),
        ({"release_date": pd.Timestamp("1700-01-01")}, "release_date lies in"),
    ],
)
def test_a_broken_rule_is_named(rated: pd.DataFrame, change: dict[str, Any], rule: str) -> None:
    values = {k: v * len(rated) if isinstance(v, list) else v for k, v in change.items()}
    assert any(found.startswith(rule) for found in broken(rated.assign(**values)))


def test_ids_that_come_twice_break_a_rule(rated: pd.DataFrame) -> None:
    assert "ids are unique" in broken(pd.concat([rated, rated.head(1)]))


def test_imdb_may_lack_what_it_does_not_have(rated: pd.DataFrame) -> None:
    sparse = rated.assign(cast=[[]] * len(rated), overview=None, original_language=None)
    assert check_batch(sparse, "imdb") == []
    assert check_batch(sparse, "tmdb")


def test_a_catalogue_may_not_shrink_by_a_fifth() -> None:
    assert check_size(900, None) == check_size(800, 1000) == []
    (violation,) = check_size(799, 1000)
    assert "799 rows, the last had 1000" in violation.found
