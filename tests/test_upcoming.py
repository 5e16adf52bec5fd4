"""What is to come out: scored, kept by logical date, served, and compared with what came of it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import TODAY, World
from sqlalchemy.exc import OperationalError

from flows.predict_upcoming import predict_upcoming
from models.questions import mask_fields
from serving import schema
from serving.tables import METADATA, MOVIES, UPCOMING, connect
from serving.upcoming import read_upcoming
from settings import PROJECT, get_settings
from tasks.data.catalogue import read_catalogue
from tasks.foundation.store import open_store
from tasks.registry import versions as registry
from tasks.registry.scoring import records, score
from tasks.registry.versions import CHAMPION

DAY = TODAY - timedelta(days=400)  # the sample's movies end at TODAY


@pytest.fixture
def url(copied_world: World) -> str:
    return get_settings().warehouse_url.get_secret_value()


def test_a_day_s_list_is_in_the_store_and_the_warehouse_once_and_is_served(url: str) -> None:
    assert (
        "run predict-upcoming" in read_upcoming(url, "sample")["reason"]
        or "no list" in read_upcoming(url, "sample")["reason"]
    )
    first = predict_upcoming("sample", DAY)
    again = predict_upcoming("sample", DAY)
    assert first == again
    store = open_store(get_settings().store_uri)
    assert store.keys("sample/upcoming/") == [f"sample/upcoming/{DAY}.parquet"]
    listed = read_upcoming(url, "sample", DAY)
    assert listed["as_of"] == str(DAY), listed["reason"]
    assert len(listed["movies"]) == first["movies"] > 20
    assert listed["model"]["version"] == registry.find(CHAMPION).label
    days = [movie["release_date"] for movie in listed["movies"]]
    assert days == sorted(days)
    assert str(DAY) < days[0]
    assert days[-1] <= str(DAY + timedelta(days=365))
    catalogue = read_catalogue(store, "sample")
    some = catalogue[catalogue["id"] == listed["movies"][0]["id"]]
    expected = score(registry.find(CHAMPION), "model", [mask_fields(movie) for movie in records(some)], [0.9])
    movie = listed["movies"][0]
    assert (movie["rating"], movie["low"]) == pytest.approx((expected.ratings[0], expected.intervals[0.9][0][0]))
    assert movie["low"] < movie["rating"] < movie["high"]
    assert movie["reasons"][0].keys() == schema.Reason.model_fields.keys()
    for reason in movie["reasons"]:
        schema.Reason.model_validate(reason)


OLDER = """
import dataclasses

@dataclasses.dataclass(frozen=True)
class OlderReason:
    field: str
    points: float
    words: str

def older(self, movie, explain=RatingModel.explain):
    base, reasons = explain(self, movie)
    return base, [OlderReason(r.field, r.points, r.words) for r in reasons]

def predict_interval(self, movies, level, predict_intervals=RatingModel.predict_intervals):
    ratings, ends = predict_intervals(self, self.rows(movies), (level,))
    return ratings, *ends[level]

RatingModel.explain, RatingModel.predict_interval = older, predict_interval
del RatingModel.predict_intervals  # what asks for one confidence at a time knows no other way
"""


def test_reasons_of_code_whose_reasons_were_words_alone_are_given_as_they_are(world: World, tmp_path: Path) -> None:
    shutil.copytree(PROJECT / "models", tmp_path / "models")
    with (tmp_path / "models" / "estimator.py").open("a") as file:
        file.write(OLDER)
    champion, movies = registry.find(CHAMPION), [{"title": "x", "runtime": 135}]
    (older,) = score(champion, "model", movies, [0.9], 3, tmp_path).reasons
    (newer,) = score(champion, "model", movies, [0.9], 3).reasons
    assert older == [{name: reason[name] for name in ("field", "points", "words")} for reason in newer]
    assert newer[0].keys() > older[0].keys()


def test_a_list_of_older_reasons_is_served_as_it_was_kept(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/w.db"
    kept = [{"field": "runtime", "points": 0.25, "words": "runtime 135"}]
    put(url, "tmdb", "to come", TODAY, TODAY + timedelta(days=3), kept)
    assert read_upcoming(url, "tmdb", TODAY)["movies"][0]["reasons"] == kept


def test_what_is_out_by_now_shows_how_well_the_last_list_before_did(url: str) -> None:
    early, later = date(2024, 1, 10), date(2024, 2, 10)
    predict_upcoming("sample", early)
    predict_upcoming("sample", later)
    past = read_upcoming(url, "sample", TODAY)["past"]
    assert past
    catalogue = read_catalogue(open_store(get_settings().store_uri), "sample").set_index("id")
    for movie in past:
        assert movie["actual"] == pytest.approx(catalogue.loc[movie["id"], "vote_average"])
        released = pd.Timestamp(movie["release_date"]).date()
        assert movie["predicted_on"] == str(later if released >= later else early)


def put(
    url: str, source: str, title: str, as_of: date, release: date, reasons: Sequence[Any] = (), tables: Any = None
) -> None:
    engine = connect(url)
    METADATA.create_all(engine, tables=tables)
    row = {"source": source, "as_of": as_of, "id": 1, "title": title, "release_date": release, "genres": []}
    row |= {"rating": 6.0, "low": 5.0, "high": 7.0, "reasons": list(reasons), "model": {"version": "v1"}}
    with engine.begin() as connection:
        connection.execute(UPCOMING.insert(), row)


def test_a_list_is_of_the_source_that_was_asked_for_and_of_no_other(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/w.db"
    day = timedelta(days=1)
    for source, as_of in (("tmdb", TODAY - 20 * day), ("sample", TODAY)):
        put(url, source, f"{source} to come", as_of, TODAY + 30 * day)
        put(url, source, f"{source} that came", as_of - 9 * day, TODAY - 5 * day)
    engine = connect(url)
    with engine.begin() as connection:
        for source, rating in (("tmdb", 7.0), ("sample", 3.0)):
            known = {"source": source, "id": 1, "title": "x", "fetched_at": datetime.now(UTC)}
            connection.execute(MOVIES.insert(), known | {"vote_average": rating, "vote_count": 100})
    listed = read_upcoming(url, "tmdb", TODAY)
    assert listed["as_of"] == str(TODAY - 20 * day)  # a newer one is of another source
    assert [movie["title"] for movie in listed["movies"]] == ["tmdb to come"]
    assert [(movie["title"], movie["actual"]) for movie in listed["past"]] == [("tmdb that came", 7.0)]
    nothing = read_upcoming(url, "imdb", TODAY)
    assert (nothing["movies"], nothing["past"]) == ([], [])
    assert "no list of imdb" in nothing["reason"]


def test_an_empty_warehouse_has_no_list_and_one_that_does_not_answer_is_an_error(tmp_path: Path) -> None:
    assert "run predict-upcoming" in read_upcoming(f"sqlite:///{tmp_path}/new.db", "sample")["reason"]
    url = f"sqlite:///{tmp_path}/no-movies.db"
    put(url, "sample", "to come", TODAY, TODAY + timedelta(days=3), tables=[UPCOMING])  # and no mirror of the catalogue
    assert read_upcoming(url, "sample", TODAY)["past"] == []
    with pytest.raises(OperationalError):
        read_upcoming("postgresql+psycopg://nobody@127.0.0.1:1/none", "sample")
