from __future__ import annotations

import copy
import gzip
import json
import math
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import RECORDED
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.body import record
from models.facts import iterate
from models.features import MovieFeatures
from models.movie import FIELDS, INPUTS, Movie
from tasks.foundation.clock import now


def fit(movies: pd.DataFrame, **options: Any) -> MovieFeatures:
    return MovieFeatures(**options).fit(movies)


@pytest.fixture(scope="module")
def features(rated: pd.DataFrame) -> MovieFeatures:
    return fit(rated)


def named(features: MovieFeatures, movie: dict[str, Any]) -> dict[str, float]:
    return dict(zip(features.sources(), features.row(movie), strict=True))


def test_every_feature_comes_from_a_field_that_is_known_before_the_release(features: MovieFeatures) -> None:
    assert {FIELDS[source].known for source in features.sources().values()} == {"before"}


def test_what_is_known_after_the_release_changes_nothing(features: MovieFeatures, rated: pd.DataFrame) -> None:
    changed = rated.head(200).assign(vote_average=1.0, vote_count=1, popularity=0.0, revenue=1e9, status="?")
    np.testing.assert_array_equal(features.transform(rated.head(200)), features.transform(changed))


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(300, 3000))
def test_nothing_released_later_reaches_an_earlier_movie(rated: pd.DataFrame, cut: int) -> None:
    """Drop every movie from a date on, or shuffle their ratings: the history features before it stay as they are."""
    cut = min(cut, len(rated) - 1)
    day = rated["release_date"].iloc[cut]
    earlier, later = rated[rated["release_date"] <= day], rated["release_date"] >= day
    rows = earlier.tail(40)
    expected = fit(rated).transform(rows)
    np.testing.assert_array_equal(fit(rated[~later]).transform(rows), expected)
    shuffled = rated.copy()
    ratings = shuffled.loc[later, "vote_average"].to_numpy()
    shuffled.loc[later, "vote_average"] = np.random.default_rng(cut).permutation(ratings)
    np.testing.assert_array_equal(fit(shuffled).transform(rows), expected)


def test_a_row_never_sees_its_own_rating(rated: pd.DataFrame) -> None:
    changed = rated.copy()
    changed.loc[500, "vote_average"] = 0.5
    row = rated.iloc[500].to_dict()
    assert fit(rated).row(row) == pytest.approx(fit(changed).row(row), nan_ok=True)


def test_histories_are_those_computed_by_hand() -> None:
    director, other = [{"id": "1", "name": "Ann"}], [{"id": "2", "name": "Ben"}]
    movies = pd.DataFrame(
        {
            "title": ["a", "b", "c"],
            "release_date": pd.to_datetime(["2000-01-01", "2002-01-01", "2004-01-01"]),
            "directors": [director, director, director + other],
            "vote_average": [6.0, 8.0, 5.0],
            "vote_count": [50.0, 150.0, 50.0],
        }
    )
    features = fit(movies)
    third = named(features, movies.iloc[2].to_dict())
    # So few movies: what is expected is the level, 6.3 before the first, 6 in 2002; half and three quarters believed.
    scores, weights = [6.0 - 6.3, 8.0 - 6.0], [0.5, 0.75]
    total = sum(w * s for w, s in zip(weights, scores, strict=True))
    assert third["expected"] == pytest.approx(7.0)
    assert third["director_mean"] == pytest.approx(total / (1.25 + 2) / 2)  # of two, one a debut that counts 0
    assert third["director_pooled"] == pytest.approx(total / (1.25 + 2))
    assert third["director_top"] == pytest.approx(total / (1.25 + 2))
    assert third["director_count"] == 2
    assert third["director_debuts"] == 0.5
    assert third["director_best"] == third["director_last"] == pytest.approx(2.0)
    assert third["director_years_since"] == pytest.approx(730 / 365.25)
    first = named(features, movies.iloc[0].to_dict())
    assert (first["director_debuts"], first["director_count"]) == (1, 0)
    assert math.isnan(first["cast_debuts"])  # no cast is known, which is no debut


def test_histories_can_end_earlier_than_the_movie(features: MovieFeatures, rated: pd.DataFrame) -> None:
    """What a model fitted on a day knew of a later movie is what a fit on the movies before that day gives."""
    day = rated["release_date"].iloc[2500]
    later = rated[rated["release_date"] >= day].head(60)
    frozen = features.transform(later, known_until=day.toordinal())
    then = fit(rated[rated["release_date"] < day]).transform(later)
    np.testing.assert_allclose(frozen, then, rtol=1e-9)


@pytest.mark.parametrize("days", [-20, -1, 0, 1, 20])
def test_around_the_turn_of_a_year_no_more_is_known_than_a_fit_of_then_knows(
    features: MovieFeatures, rated: pd.DataFrame, days: int
) -> None:
    """The calendar of what is expected is cut on such a day, and hardly a movie comes out beside it."""
    day = pd.Timestamp(2016, 1, 1) + pd.Timedelta(days=days)
    then, rest = fit(rated[rated["release_date"] < day]), rated[rated["release_date"] >= day]
    np.testing.assert_allclose(features.transform(rest.head(60), day.toordinal()), then.transform(rest.head(60)))
    next_day = rest[rest["release_date"] == rest["release_date"].iloc[0]]
    np.testing.assert_allclose(features.transform(next_day), then.transform(next_day))


def test_ratings_of_a_fold_change_nothing_of_what_was_known_before_it(rated: pd.DataFrame) -> None:
    """The movies of a year that begins in the middle of a calendar year see none of each other's ratings."""
    start = pd.Timestamp(rated["release_date"].iloc[-1].year - 2, 7, 1)
    judged = (rated["release_date"] >= start) & (rated["release_date"] < start + pd.DateOffset(years=1))
    changed = rated.copy()
    ratings = changed.loc[judged, "vote_average"].to_numpy()
    changed.loc[judged, "vote_average"] = np.random.default_rng(0).permutation(ratings) / 2
    before, after = (fit(movies).transform(rated[judged], start.toordinal()) for movies in (rated, changed))
    np.testing.assert_array_equal(before, after)


def test_an_unseen_genre_becomes_zeros(features: MovieFeatures) -> None:
    row = named(features, {"title": "x", "genres": ["Zombie Western"]})
    assert {row[name] for name in row if name.startswith("genre_")} == {0.0}


def test_missing_stays_missing_whatever_form_it_takes(features: MovieFeatures) -> None:
    bare = features.row({"title": "x"})
    none = features.row({"title": "x", "runtime": None, "budget": None})
    for missing in (None, float("nan"), 0):
        row = features.row({"title": "x", "runtime": missing, "budget": missing})
        np.testing.assert_array_equal(row, none)
        asked = Movie.model_validate(
            {"title": "x", "runtime": missing if missing == missing else None, "budget": 0}
        ).told()
        np.testing.assert_array_equal(features.row(asked), bare)
    assert math.isnan(named(features, {"title": "x"})["runtime"])
    for missing in (None, "", float("nan"), pd.NaT):
        np.testing.assert_array_equal(features.row({"title": "x", "release_date": missing}), bare)
    undated = named(features, {"title": "x"})
    assert undated["year"] == pytest.approx(date.fromordinal(features.today_).year, abs=1)  # it is yet to come
    assert math.isnan(undated["month"])


def test_a_collection_counts_only_when_an_earlier_member_exists(features: MovieFeatures) -> None:
    """That a first movie has a collection at all is known only because a sequel came later."""
    alone = named(features, {"title": "x", "release_date": "2026-01-01"})
    first = named(
        features, {"title": "x", "release_date": "2026-01-01", "belongs_to_collection": {"name": "New", "id": "1"}}
    )
    np.testing.assert_array_equal(list(alone.values()), list(first.values()))


def test_people_known_by_name_are_those_known_by_id(features: MovieFeatures, rated: pd.DataFrame) -> None:
    by_id = rated.tail(300)
    by_name = by_id.copy()
    for field in ("cast", "directors", "writers", "production_companies", "production_countries"):
        by_name[field] = [[entity["name"] for entity in entities] for entities in by_id[field]]
    np.testing.assert_array_equal(features.transform(by_id), features.transform(by_name))


def test_a_request_gives_the_row_of_the_frame(features: MovieFeatures, rated: pd.DataFrame) -> None:
    for movie in iterate(rated.tail(300)):
        facts = {name: movie[name] for name in INPUTS}
        facts["release_date"] = str(movie["release_date"].date())
        facts = {name: value for name, value in facts.items() if value is not None and value == value}
        request = Movie.model_validate(facts).facts()
        np.testing.assert_array_equal(features.row(request), features.row(movie))


def test_transform_does_not_edit_its_input_and_repeats_itself(features: MovieFeatures, rated: pd.DataFrame) -> None:
    movies = [{name: movie[name] for name in INPUTS} for movie in iterate(rated.dropna(subset="budget").head(20))]
    before = copy.deepcopy(movies)
    first = features.transform(movies)
    assert movies == before
    np.testing.assert_array_equal(first, features.transform(pd.DataFrame(movies)))
    assert features.transform([]).shape[0] == 0


def test_histories_can_be_switched_off(rated: pd.DataFrame) -> None:
    plain = fit(rated, histories=False)
    assert plain.transform(rated.head(3)).shape == (3, len(plain.sources()))
    assert not any(name.startswith(("director_", "cast_", "expected")) for name in plain.sources())


def test_the_tone_of_the_overview_is_read(features: MovieFeatures) -> None:
    good = named(features, {"title": "x", "overview": "A wonderful, delightful story."})
    bad = named(features, {"title": "x", "overview": "A horrible, boring story."})
    foreign = named(features, {"title": "x", "overview": "등대를 지키는 두 자매의 이야기."})
    assert good["overview_polarity"] > 0 > bad["overview_polarity"]
    assert (good["overview_readable"], foreign["overview_readable"]) == (1, 0)


def test_unseen_people_are_named(features: MovieFeatures, rated: pd.DataFrame) -> None:
    known = rated["directors"].iloc[0][0]["name"]
    assert features.unseen({"title": "x", "directors": [known, "Nobody Atall"]}) == ["directors: Nobody Atall"]


def test_bad_ratings_are_refused(rated: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="each a number"):
        fit(rated.head(3).assign(vote_average=[5.0, float("nan"), 6.0]))
    with pytest.raises(ValueError, match="no movies"):
        fit(rated.head(0))
    with pytest.raises(ValueError, match="release_date"):
        fit(rated.head(3).assign(release_date=pd.NaT))


@pytest.mark.recorded
def test_rows_and_frames_agree_on_real_movies() -> None:
    with gzip.open(RECORDED / "data" / "tmdb" / "details-2017.jsonl.gz", "rt") as lines:
        movies = pd.DataFrame([record(json.loads(line), now()) for line in lines])
    movies["release_date"] = pd.to_datetime(movies["release_date"])
    movies = movies[movies["vote_average"].notna()].reset_index(drop=True)
    features = fit(movies)
    frame = features.transform(movies)
    assert frame.shape == (len(movies), len(features.sources()))
    for n, movie in enumerate(iterate(movies)):
        facts = {name: movie[name] for name in INPUTS}
        facts["release_date"] = None if pd.isna(movie["release_date"]) else str(movie["release_date"].date())
        facts = {k: v for k, v in facts.items() if isinstance(v, list | dict) or (v is not None and v == v)}
        np.testing.assert_array_equal(features.row(Movie.model_validate(facts).facts()), frame[n])
