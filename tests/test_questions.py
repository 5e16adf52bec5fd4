from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.facts import FACTS, facts_row, iterate
from models.features import MovieFeatures
from models.movie import INPUTS, Movie, is_told
from models.questions import DRAWN, FORM, PITCH, TYPED, WAYS, draw_question, mask_fields
from models.sentiment import read_sentiment


@pytest.mark.parametrize("nothing", [None, "", [], 0, float("nan"), (), np.array([])])
def test_a_question_has_no_key_for_what_it_does_not_tell(nothing: Any) -> None:
    assert not is_told(nothing)
    assert mask_fields({"title": "x", "budget": nothing}) == {"title": "x"}
    assert mask_fields({"title": "x", "budget": 5.0, "runtime": 90.0}, ("title", "runtime")) == {
        "title": "x",
        "runtime": 90.0,
    }


def test_a_movie_that_is_sent_is_a_question_and_a_finished_one_a_record() -> None:
    movie = Movie(title="x", runtime=90.0, cast=["A"], budget=0)
    assert movie.told() == {"title": "x", "runtime": 90.0, "cast": [{"name": "A"}]}
    assert movie.facts().keys() == set(INPUTS)


def test_told_none_and_not_told_are_three_things() -> None:
    def told(movie: dict[str, Any]) -> dict[str, float]:
        return dict(zip(FACTS, facts_row(movie, 738_000, lambda year: 16.0, read_sentiment), strict=True))

    has = told({"title": "x", "genres": ["Drama"], "budget": 1e6, "production_countries": ["US"]})
    none = told({"title": "x", "genres": [], "budget": None, "production_countries": []})
    silent = told({"title": "x"})
    for field, fact in (("genres", "genre_Drama"), ("production_countries", "country_US"), ("budget", "told_budget")):
        assert (has[f"told_{field}"], none[f"told_{field}"]) == (1.0, 0.0)
        assert (has[fact], none[fact]) == (1.0, 0.0)
        assert np.isnan([silent[f"told_{field}"], silent[fact]]).all()


def test_what_is_not_understood_says_nothing() -> None:
    facts = [
        facts_row({"title": "x"} | more, 738_000, lambda year: 16.0, read_sentiment)
        for more in ({}, {"original_language": "zz", "production_countries": ["Atlantis"], "spoken_languages": ["zz"]})
    ]
    np.testing.assert_array_equal(*facts)


def test_every_fact_is_asked_about_in_some_question_and_the_ways_are_among_those_learned_from() -> None:
    assert sum(share for share, _ in DRAWN) < 1
    assert {*WAYS.values(), FORM} <= {fields for _, fields in DRAWN}
    assert set(PITCH) < set(FORM) < set(TYPED) < set(INPUTS)


def test_questions_invent_nothing_and_leave_the_movie_as_it_was(rated: pd.DataFrame) -> None:
    movies = list(iterate(rated.head(500)))
    before = deepcopy(movies)
    questions = [draw_question(movie, 1)[0] for movie in movies]
    assert str(movies) == str(before)
    assert [draw_question(movie, 1)[0] for movie in movies] == questions
    assert [draw_question(movie, 2)[0] for movie in movies] != questions
    for question, movie in zip(questions, movies, strict=True):
        assert question.items() <= {name: movie[name] for name in INPUTS if is_told(movie[name])}.items()
        assert question["release_date"] == movie["release_date"]
    told = [len(question) for question in questions]
    assert min(told) <= 3
    assert max(told) >= 15


def test_which_question_is_drawn_does_not_depend_on_other_movies(rated: pd.DataFrame) -> None:
    some = rated.iloc[[7, 3, 400]]
    alone = [draw_question(movie, 0) for movie in iterate(some)]
    among = [draw_question(movie, 0) for movie in iterate(rated)]
    assert alone == [among[7], among[3], among[400]]


def test_a_question_without_a_date_is_one_of_today(rated: pd.DataFrame) -> None:
    features = MovieFeatures().fit(rated)
    at = rated["release_date"].max() + pd.Timedelta(days=1)
    dated, undated = (features.transform([{"title": "x"} | more])[0] for more in ({"release_date": at}, {}))
    within = [features.columns_.index(name) for name in ("month", "day_of_year", "weekday")]
    assert np.isnan(undated[within]).all()
    of_the_day = [*within, features.columns_.index("expected")]
    np.testing.assert_array_equal(np.delete(dated, of_the_day), np.delete(undated, of_the_day))
