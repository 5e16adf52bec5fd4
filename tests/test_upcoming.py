"""What is to come out: scored, kept by logical date, served, and compared with what came of it."""

from __future__ import annotations

from datetime import date, timedelta

import pandas as pd
import pytest
from conftest import TODAY, World

from flows.predict_upcoming import predict_upcoming
from serving.upcoming import read_upcoming
from settings import get_settings
from tasks import registry
from tasks.catalogue import read_catalogue
from tasks.rating import rate
from tasks.registry import CHAMPION
from tasks.store import open_store

DAY = TODAY - timedelta(days=400)  # the sample's movies end at TODAY


@pytest.fixture
def url(copied_world: World) -> str:
    return get_settings().warehouse_url.get_secret_value()


def test_a_day_s_list_is_in_the_store_and_the_warehouse_once_and_is_served(url: str) -> None:
    assert "run predict-upcoming" in read_upcoming(url)["reason"] or "no list" in read_upcoming(url)["reason"]
    first = predict_upcoming("sample", DAY)
    again = predict_upcoming("sample", DAY)
    assert first == again
    store = open_store(get_settings().store_uri)
    assert store.keys("sample/upcoming/") == [f"sample/upcoming/{DAY}.parquet"]
    listed = read_upcoming(url, DAY)
    assert listed["as_of"] == str(DAY), listed["reason"]
    assert len(listed["movies"]) == first["movies"] > 20
    assert listed["model"]["version"] == registry.find(CHAMPION).label
    days = [movie["release_date"] for movie in listed["movies"]]
    assert days == sorted(days)
    assert str(DAY) < days[0]
    assert days[-1] <= str(DAY + timedelta(days=365))
    catalogue = read_catalogue(store, "sample")
    some = catalogue[catalogue["id"] == listed["movies"][0]["id"]]
    expected = rate(registry.find(CHAMPION), "model", some, [0.9])
    movie = listed["movies"][0]
    assert (movie["rating"], movie["low"]) == pytest.approx((expected.ratings[0], expected.intervals[0.9][0][0]))
    assert movie["low"] < movie["rating"] < movie["high"]
    assert movie["reasons"][0].keys() == {"field", "points", "words"}


def test_what_is_out_by_now_shows_how_well_the_last_list_before_did(url: str) -> None:
    early, later = date(2024, 1, 10), date(2024, 2, 10)
    predict_upcoming("sample", early)
    predict_upcoming("sample", later)
    past = read_upcoming(url, TODAY)["past"]
    assert past
    catalogue = read_catalogue(open_store(get_settings().store_uri), "sample").set_index("id")
    for movie in past:
        assert movie["actual"] == pytest.approx(catalogue.loc[movie["id"], "vote_average"])
        released = pd.Timestamp(movie["release_date"]).date()
        assert movie["predicted_on"] == str(later if released >= later else early)
