"""The feature table: made once a training, of what each movie's past says; kept in the store, made anew when lost."""

from __future__ import annotations

from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from prefect import flow
from prefect.states import State

from models import features as features_module
from models.estimator import RatingModel
from models.feature_table import FeatureTable
from models.features import MovieFeatures
from models.judging import judge
from models.sentiment import Sentiments
from settings import get_settings
from tasks.foundation.store import FolderStore, open_store
from tasks.learning import features
from tasks.learning.features import feature_table, make_features, number_all, table_key
from tasks.learning.loading import split
from tasks.learning.report import plots
from tasks.learning.tuning import search

FEW = {"n_estimators": 20}


@pytest.fixture
def movies(rated: pd.DataFrame) -> pd.DataFrame:
    """Scored movies as the catalogue gives them."""
    return rated.assign(logical_date=pd.Timestamp(2026, 7, 1))


@pytest.mark.parametrize("histories", [True, False])
def test_the_table_of_earlier_movies_is_the_one_that_they_alone_would_give(
    rated: pd.DataFrame, histories: bool
) -> None:
    day = date(2021, 3, 1).toordinal()
    earlier = rated[rated["release_date"] < pd.Timestamp(2021, 3, 1)].reset_index(drop=True)
    cut, alone = FeatureTable.of(rated, histories).before(day), FeatureTable.of(earlier, histories)
    np.testing.assert_array_equal(cut.records.table, alone.records.table)
    for ours, theirs in zip(cut.questions, alone.questions, strict=True):
        np.testing.assert_array_equal(ours.table, theirs.table)
        assert ours.texts == theirs.texts
    later = rated[rated["release_date"] >= pd.Timestamp(2021, 3, 1)]
    np.testing.assert_array_equal(cut.features.transform(later), alone.features.transform(later))
    for name in ("today_", "columns_", *(("names_",) if histories else ())):
        assert getattr(cut.features, name) == getattr(alone.features, name), name


def test_numbering_while_fitting_is_numbering_after_it(rated: pd.DataFrame) -> None:
    fitted = MovieFeatures()
    np.testing.assert_array_equal(fitted.fit_transform(rated), MovieFeatures().fit(rated).transform(rated))


def test_movies_out_of_order_are_refused(rated: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="sort them by release_date"):
        FeatureTable.of(rated.iloc[::-1].reset_index(drop=True)).before(date(2021, 3, 1).toordinal())


def test_a_training_fits_the_features_once_and_numbers_each_view_of_a_movie_once(
    movies: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fits, rows = Counter[str](), Counter[str]()
    fit, facts_row = MovieFeatures._fit, features_module.facts_row

    def counting_fit(self: MovieFeatures, *arguments: Any) -> Any:
        fits["fit"] += 1
        return fit(self, *arguments)

    def counting_row(*arguments: Any) -> list[float]:
        rows["row"] += 1
        return facts_row(*arguments)

    monkeypatch.setattr(MovieFeatures, "_fit", counting_fit)
    monkeypatch.setattr(features_module, "facts_row", counting_row)
    train, holdout = split(movies)
    tables = number_all(movies, train, holdout, Sentiments())
    # Each movie as its record, as the question that teaches what to expect of it, and as those that are learned from.
    views = len(movies) * (2 + len(tables.everything.questions))
    judged_years = [*tables.everything.years.values(), *tables.train.years.values()]
    views += sum(len(table) for ways in judged_years for table in ways.values())
    views += sum(len(asked.table) for asked in tables.holdout.values())
    assert (fits["fit"], rows["row"]) == (1, views)
    search(tables.train, 2, 0, "study", f"sqlite:///{tmp_path}/optuna.db", lambda *_: None)
    judged = RatingModel("lightgbm", FEW).fit(tables.train)
    judge(judged, tables.holdout, train, holdout)
    plots(judged, next(iter(tables.holdout.values())), holdout, [{"rmse": 1.0}])
    RatingModel("lightgbm", FEW).fit(tables.everything)
    assert (fits["fit"], rows["row"]) == (1, views)


def test_a_model_of_the_table_is_the_model_of_the_movies(rated: pd.DataFrame) -> None:
    train, holdout = split(rated)
    day = train["release_date"].max().toordinal() + 1
    of_table = RatingModel("lightgbm", FEW).fit(FeatureTable.of(rated).before(day))
    of_movies = RatingModel("lightgbm", FEW).fit(train)
    np.testing.assert_array_equal(of_table.predict_interval(holdout), of_movies.predict_interval(holdout))
    with pytest.raises(ValueError, match="histories"):
        RatingModel(histories=False).fit(FeatureTable.of(train))


def test_several_confidences_take_one_pass_and_say_what_each_says_alone(rated: pd.DataFrame) -> None:
    train, holdout = split(rated)
    model = RatingModel("lightgbm", FEW).fit(train)
    ratings, ends = model.predict_intervals(model.rows(holdout), (0.8, 0.9))
    for confidence, (low, high) in ends.items():
        np.testing.assert_array_equal(model.predict_interval(holdout, confidence), (ratings, low, high))


@flow
def number(movies: pd.DataFrame) -> tuple[Any, State[str]]:
    """Make a table, and ask for it again."""
    train, holdout = split(movies)
    tables = feature_table(movies, train, holdout, "sample")
    key = table_key(movies, train, "sample")
    return tables, make_features(key, movies, train, holdout, "sample", return_state=True)


def test_a_table_is_cached_and_reads_as_it_was_made(
    environment: Path, prefect_api: None, movies: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = number_all(movies, *split(movies), Sentiments())
    read, state = number(movies)
    assert state.name == "Cached"
    monkeypatch.setattr(features, "number_all", lambda *_: pytest.fail("made again"))
    again, _ = number(movies)
    for tables in (read, again):
        for ours, theirs in ((tables.everything, made.everything), (tables.train, made.train)):
            np.testing.assert_array_equal(ours.records.table, theirs.records.table)
            for one, other in zip(ours.questions, theirs.questions, strict=True):
                np.testing.assert_array_equal(one.table, other.table)
            assert ours.years.keys() == theirs.years.keys()
            for start, ways in theirs.years.items():
                for way, values in ways.items():
                    np.testing.assert_array_equal(ours.years[start][way], values)
        for way, rows in made.holdout.items():
            np.testing.assert_array_equal(tables.holdout[way].table, rows.table)
            assert tables.holdout[way].texts == rows.texts


@pytest.mark.parametrize("suffix", [".json", ".parquet", ".skops"])
@pytest.mark.parametrize("torn", [False, True])
def test_a_lost_or_torn_file_is_made_anew(
    environment: Path, prefect_api: None, movies: pd.DataFrame, suffix: str, torn: bool
) -> None:
    number(movies)
    store = open_store(get_settings().store_uri)
    assert isinstance(store, FolderStore)
    key = table_key(movies, split(movies)[0], "sample") + suffix
    whole = store.read(key)
    store.write(key, whole[: len(whole) // 2]) if torn else store.delete(key)
    tables, _ = number(movies)
    assert len(tables.everything.movies) == len(movies)
    assert store.read(key)[:4] == whole[:4]
    assert len(store.read(key)) == pytest.approx(len(whole), rel=0.01)


def test_a_table_is_of_its_movies_their_split_the_code_and_the_store(
    environment: Path, movies: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, _ = split(movies)
    keys = {table_key(movies, train, "sample"), table_key(movies, train, "tmdb")}
    keys |= {table_key(movies.head(900), train, "sample"), table_key(movies, train.head(900), "sample")}
    monkeypatch.setattr(features, "digest_of", lambda _: "other code")
    assert len(keys | {table_key(movies, train, "sample")}) == 5


def test_old_tables_go_with_the_terms_and_as_newer_ones_come(
    environment: Path, prefect_api: None, movies: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "KEPT", 2)
    store = open_store(get_settings().store_uri)
    for day in (1, 2, 3):
        number(movies.assign(logical_date=pd.Timestamp(2026, 7, day)))
    days = {key.split("/")[2][:10] for key in store.keys("sample/features/")}
    assert days == {"2026-07-02", "2026-07-03"}
    tables, _ = number(movies.assign(logical_date=pd.Timestamp(2026, 5, 1)))  # of an earlier day, and needed now
    assert len(tables.everything.movies) == len(movies)
    assert len([key for key in store.keys("sample/features/") if key.endswith(".json")]) == 2
