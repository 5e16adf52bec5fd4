from __future__ import annotations

import pytest
from pydantic import ValidationError

from models.movie import FIELDS, INPUTS, Movie
from tasks.data.partitions import SCHEMA


def test_every_stored_field_says_when_it_is_known() -> None:
    assert list(FIELDS) == SCHEMA.names


def test_what_grows_after_the_release_is_no_input() -> None:
    assert not {"vote_average", "vote_count", "popularity", "revenue", "status"} & set(INPUTS)


def test_a_request_can_give_every_input_and_nothing_else() -> None:
    assert set(Movie.model_fields) == set(INPUTS)
    assert set(Movie(title="x").facts()) == set(INPUTS)


def test_only_the_title_is_needed_and_the_rest_is_missing() -> None:
    facts = Movie(title="Alone").facts()
    assert {name for name, value in facts.items() if value} == {"title"}


def test_people_are_given_by_name_or_by_id() -> None:
    movie = Movie.model_validate({"title": "x", "cast": ["A", {"id": 7, "name": "B"}]})
    assert movie.facts()["cast"] == [{"name": "A"}, {"id": "7", "name": "B"}]


@pytest.mark.parametrize(("field", "coded"), [("budget", 0), ("runtime", 0), ("release_date", "")])
def test_coded_missing_values_are_missing(field: str, coded: object) -> None:
    assert Movie.model_validate({"title": "x", field: coded}).facts()[field] is None


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        ("title", ""),
        ("title", "   "),
        ("title", 7),
        ("budget", -1),
        ("budget", "1000"),
        ("budget", float("nan")),
        ("budget", float("inf")),
        ("budget", True),
        ("budget", 1e12),
        ("runtime", 100_000),
        ("release_date", "2024-02-30"),
        ("release_date", "24-02-03"),
        ("release_date", 20240101),
        ("release_date", "1700-01-01"),
        ("genres", "Drama"),
        ("genres", [1]),
        ("cast", [None]),
        ("cast", [{"name": "A", "salary": 1}]),
        ("original_language", "plain words"),
        ("original_language", "English, French"),
        ("original_language", "e1"),
        ("genres", [{"id": 28, "title": "Action"}]),
        ("genres", [{"id": [28]}]),
        ("production_countries", [{}]),
        ("vote_count", 5),
        ("budgett", 5),
    ],
)
def test_bad_values_are_refused_by_the_name_of_the_field(field: str, bad: object) -> None:
    with pytest.raises(ValidationError) as refused:
        Movie.model_validate({"title": "x", field: bad})
    assert refused.value.errors()[0]["loc"][0] == field
