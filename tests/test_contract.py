from __future__ import annotations

from datetime import date
from typing import Any

import pandas as pd
import pytest

from models.contract import check_batch, check_size, mend


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


def test_movies_to_come_and_movies_without_a_rating_are_no_part_of_it(rated: pd.DataFrame) -> None:
    """As a daily batch of TMDB is: two thirds are still to come, and hardly anything is known of them."""
    day = date(2026, 6, 30)
    coming = rated.head(200).assign(release_date=pd.Timestamp("2026-12-01"), vote_average=float("nan"), runtime=None)
    coming["cast"] = [[]] * len(coming)
    assert check_batch(pd.concat([rated.tail(100), coming]), "tmdb", day) == []
    unrated = coming.assign(release_date=pd.Timestamp("2020-01-01"))
    assert check_batch(pd.concat([rated.tail(100), unrated]), "tmdb", day) == []


def test_movies_that_have_just_come_out_may_lack_more(rated: pd.DataFrame) -> None:
    """Records are completed in the weeks after a premiere."""
    movies = rated.head(200).assign(release_date=pd.Timestamp("2026-06-01"))
    movies["cast"] = [[] if n % 2 else cast for n, cast in enumerate(movies["cast"])]  # half; 40 % is the limit
    assert check_batch(movies, "tmdb", date(2026, 6, 30)) == []
    assert [v.rule for v in check_batch(movies, "tmdb", date(2027, 6, 30))] == ["cast is missing in at most 40%"]


@pytest.mark.parametrize("field", ["budget", "vote_count", "runtime"])
def test_one_absurd_value_costs_itself_and_many_cost_the_batch(rated: pd.DataFrame, field: str) -> None:
    movies = rated.head(200).astype({field: float}).copy()
    movies.loc[0, field] = 9e12
    assert broken(movies) == []
    mended = mend(movies)
    assert list(mended) == [field]
    assert mended[field].isna()[0]
    assert mended[field].iloc[1:].equals(movies[field].iloc[1:])
    movies.loc[:20, field] = 9e12
    assert any(rule.startswith(f"{field} lies in") for rule in broken(movies))


def test_imdb_may_lack_what_it_does_not_have(rated: pd.DataFrame) -> None:
    sparse = rated.assign(cast=[[]] * len(rated), overview=None, original_language=None)
    assert check_batch(sparse, "imdb") == []
    assert check_batch(sparse, "tmdb")


def test_a_catalogue_may_not_shrink_by_a_fifth() -> None:
    assert check_size(900, None) == check_size(800, 1000) == []
    (violation,) = check_size(799, 1000)
    assert "799 rows, the last had 1000" in violation.found
