from __future__ import annotations

from collections import Counter
from datetime import date
from typing import Any

from models.body import record
from sample import generator
from tasks.foundation.clock import now


def test_the_same_seed_gives_the_same_movies(bodies: list[dict[str, Any]]) -> None:
    from conftest import TODAY

    assert generator.movies(TODAY) == bodies
    assert generator.movies(TODAY, seed=1) != bodies


def test_every_movie_says_that_it_is_synthetic(bodies: list[dict[str, Any]]) -> None:
    assert all("(synthetic)" in body["title"] for body in bodies)


def test_there_are_about_three_thousand_and_those_to_come_have_no_votes() -> None:
    bodies = generator.movies(date(2026, 6, 30))
    assert 2800 < sum(body["vote_count"] > 0 for body in bodies) < 3300
    assert all((body["vote_count"] == 0) == (body["release_date"] > "2026-06-30") for body in bodies)


def test_bodies_have_the_shape_that_the_collector_reads(bodies: list[dict[str, Any]]) -> None:
    records = [record(body, now()) for body in bodies]
    assert len({r["id"] for r in records}) == len(records)
    assert all(r["directors"] and r["cast"] and r["production_companies"] for r in records)
    assert any(r["belongs_to_collection"] for r in records)
    assert any(r["budget"] is None for r in records)
    assert Counter(r["original_language"] for r in records).most_common(1)[0][0] == "en"
