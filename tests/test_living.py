"""The sample's life: what is known of a movie on a day, and how it changes."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import serving_app

from sample import generator, living, tmdb_server
from sample.living import Life, World

ONE_DAY = timedelta(days=1)
START = date(2026, 3, 1)


@pytest.fixture(scope="module")
def finished() -> list[dict[str, Any]]:
    return generator.movies(generator.LAST_DAY, count=600, first=date(2024, 1, 1))


def _facts(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if not name.startswith("vote_") and name != "status"}


def test_facts_fill_in_towards_the_release_and_end_as_the_finished_body(finished: list[dict[str, Any]]) -> None:
    for body in finished[:100]:
        life = Life(body)
        assert life.release
        days = [life.release + timedelta(days=n) for n in range(-900, 1000, 50)]
        known = [life.body(body["id"], day) for day in days if body["id"] in life.ids(day)]
        told = [
            sum(bool(part) for part in (b["genres"], b["overview"], b["runtime"], b["credits"]["cast"])) for b in known
        ]
        assert told == sorted(told)
        assert all(b["title"] for b in known)
        if "gone" not in life._drawn[0]:
            assert _facts(known[-1]) == _facts(body)


def test_a_movie_to_come_has_no_votes_and_less_is_told_of_it(finished: list[dict[str, Any]]) -> None:
    bodies = list(living.bodies(living.lives(finished, World()), START))
    coming = [body for body in bodies if body["release_date"] > START.isoformat()]
    assert coming
    assert all(body["vote_count"] == 0 and body["status"] == "Post Production" for body in coming)
    assert any(not body["credits"]["cast"] for body in coming)
    assert len(bodies) < len(finished)  # what is not announced yet is not known


def test_votes_arrive_over_months_and_their_mean_settles(finished: list[dict[str, Any]]) -> None:
    off: dict[int, list[float]] = {3: [], 200: []}
    for body in finished[:200]:
        life = Life(body)
        assert life.release
        counts = [life.body(body["id"], life.release + n * ONE_DAY)["vote_count"] for n in range(0, 400, 20)]
        assert counts == sorted(counts)
        for days, errors in off.items():
            mean = life.body(body["id"], life.release + days * ONE_DAY)["vote_average"]
            errors.append(abs(mean - body["vote_average"]) if mean else 0.0)
    assert sum(off[3]) > 5 * sum(off[200])


def test_what_changed_on_a_day_is_told_by_the_changes_of_that_day_alone(finished: list[dict[str, Any]]) -> None:
    lives = living.lives(finished, World())

    def facts(day: date) -> dict[int, dict[str, Any]]:
        return {body["id"]: _facts(body) for body in living.bodies(lives, day)}

    for day in (START, START + 5 * ONE_DAY, START + 9 * ONE_DAY):
        before, after = facts(day - ONE_DAY), facts(day)
        differ = {i for i in before.keys() | after.keys() if before.get(i) != after.get(i)}
        assert differ
        assert differ <= set(living.changes(lives, day, day))


def test_ids_vanish_and_twins_merge() -> None:
    lives = living.lives(generator.movies(generator.LAST_DAY), World())
    days = [date(2024, 1, 1) + timedelta(days=n) for n in range(0, 700, 30)]
    known = [{i for life in lives for i in life.ids(day)} for day in days]
    lost = set.union(*(before - after for before, after in itertools.pairwise(known)))
    assert any(i > living.TWIN for i in lost)
    assert any(i < living.TWIN for i in lost)


def test_shocks_begin_on_their_day(finished: list[dict[str, Any]]) -> None:
    shocks = {"genre": START, "currency": START, "cast": START}
    shaken, calm = (living.lives(finished, world) for world in (World(shocks=shocks), World()))
    for day in (START - ONE_DAY, START + timedelta(days=330)):
        pairs = list(zip(living.bodies(shaken, day), living.bodies(calm, day), strict=True))
        assert any(a != b for a, b in pairs) == (day >= START)
    names = {genre["name"] for body, _ in pairs for genre in body["genres"]}
    assert "Sci-Fi" in names
    assert "Science Fiction" not in names
    assert any(a["budget"] == b["budget"] * 1000 > 0 for a, b in pairs)
    assert any(not a["credits"]["cast"] and b["credits"]["cast"] for a, b in pairs)


def test_a_trend_moves_the_ratings_of_what_comes_out_later(finished: list[dict[str, Any]]) -> None:
    end = generator.LAST_DAY + timedelta(days=900)
    for body in (finished[0], finished[-1]):
        trend, calm = (Life(body, world).body(body["id"], end) for world in (World(-1.0, START), World()))
        assert (trend["vote_average"] < calm["vote_average"] - 0.5) == (body["release_date"] > "2026-12")


@pytest.fixture
def clock(tmp_path: Path) -> Path:
    file = tmp_path / "today"
    file.write_text(f"{START}\n")
    return file


@pytest.fixture
def tmdb(clock: Path) -> Iterator[httpx.Client]:
    options = tmdb_server.options_of(["--clock", str(clock), "--movies", "600", "--first", "2024-01-01"])
    with serving_app(tmdb_server.app(tmdb_server.catalogue_of(options))) as url:
        yield httpx.Client(base_url=url, headers={"Authorization": "Bearer t"})


def test_the_server_turns_with_its_clock(tmdb: httpx.Client, clock: Path) -> None:
    query = {"primary_release_date.lte": str(START), "vote_count.gte": 1, "primary_release_date.gte": "2026-02-20"}
    before = tmdb.get("/discover/movie", params=query).json()["results"]
    clock.write_text(str(START + timedelta(days=10)))
    after = {row["id"]: row for row in tmdb.get("/discover/movie", params=query).json()["results"]}
    assert before
    assert all(after[row["id"]]["vote_count"] > row["vote_count"] for row in before)
    span = {"start_date": str(START), "end_date": str(START + timedelta(days=10))}
    assert tmdb.get("/movie/changes", params=span).json()["total_results"] > 5
    later = dict.fromkeys(span, "2026-03-12")
    assert tmdb.get("/movie/changes", params=later).json()["total_results"] == 0  # that day is not over the horizon yet


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--shock", "war=2026-01-01", "--today", "2026-01-01"], "none of genre, currency, cast, scale"),
        (["--trend=-1=2026-01-01"], "give --today or --clock"),
    ],
)
def test_options_that_make_no_sense_are_told(options: list[str], words: str) -> None:
    done = subprocess.run([sys.executable, "-m", "sample.tmdb_server", *options], capture_output=True, text=True)
    assert done.returncode == 2
    assert words in done.stderr
