from __future__ import annotations

import copy
import gzip
import io
import json
import math
from datetime import date
from itertools import islice
from typing import Any

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from conftest import RECORDED
from hypothesis import given, settings
from hypothesis import strategies as st

from models.body import BILLED, BadRecord, NoCredits, read_body, record
from models.movie import Movie
from serving.tables import METADATA, MOVIES
from tasks.data.partitions import movie_table
from tasks.data.warehouse import upsert
from tasks.foundation.clock import now

CUT = "cut in the middle of an emoji \ud83d"
KEPT = "cut in the middle of an emoji \ufffd"
PEOPLE = {"cast": [{"id": 1, "name": "Actor One", "order": 0}], "crew": [{"id": 2, "name": "Two", "job": "Director"}]}
BODY: dict[str, Any] = {"id": 5, "title": "x", "vote_count": 3, "vote_average": 5.0, "credits": PEOPLE}


def test_coded_missing_values_become_missing() -> None:
    body = BODY | {"overview": "", "tagline": "", "budget": 0, "runtime": 0, "revenue": 0, "original_language": ""}
    body |= {"release_date": "", "vote_count": 0, "vote_average": 0.0, "imdb_id": "", "belongs_to_collection": None}
    read, lost = read_body(body, now())
    for name in ("overview", "tagline", "budget", "runtime", "revenue", "release_date", "vote_average", "imdb_id"):
        assert read[name] is None
    assert read["original_language"] is None
    assert read["genres"] == lost == []


@pytest.mark.parametrize(("average", "kept"), [(0.0, None), (0.4, None), (0.5, 0.5)])
def test_a_mean_below_the_least_vote_says_nothing(average: float, kept: float | None) -> None:
    read = record(BODY | {"vote_average": average, "vote_count": 400}, now())
    assert (read["vote_average"], read["vote_count"]) == (kept, 400)


@pytest.mark.parametrize("name", ["vote_average", "vote_count"])
def test_missing_votes_cost_the_rating_and_not_the_movie(name: str) -> None:
    without = {key: value for key, value in BODY.items() if key != name}
    for body in (without, BODY | {name: None}):
        read, lost = read_body(body, now())
        assert (read["id"], read["vote_average"]) == (5, None)
        assert lost == [f"{name}: is missing, so there is no rating"]


@pytest.mark.parametrize(
    "change",
    [
        {"id": 0},
        {"id": 2**63},
        {"id": True},
        {"title": None},
        {"title": ""},
        {"title": "\0 "},
        {"title": ["x"]},
        {"vote_count": "many"},
        {"vote_count": -1},
        {"vote_count": 20_000_000},
        {"vote_count": 1.5},
        {"vote_average": 11.0},
        {"vote_average": math.nan},
        {"vote_average": "7"},
    ],
)
def test_what_makes_the_movie_or_is_learned_refuses_it_by_id_and_field(change: dict[str, Any]) -> None:
    with pytest.raises(BadRecord, match=rf"movie {change.get('id', 5)}: {next(iter(change))}: \S"):
        record(BODY | change, now())


@pytest.mark.parametrize("body", [[], None, "x", {}, {"success": False, "status_code": 11}])
def test_what_is_no_movie_is_refused(body: Any) -> None:
    with pytest.raises(BadRecord):
        record(body, now())


WRONG: list[tuple[str, Any, str]] = [
    ("release_date", "soon", "'soon': must be a date"),
    ("release_date", "1066-10-14", "must lie between"),
    ("release_date", "2999-01-01", "must lie between"),
    ("release_date", 20190115, "20190115: must be a date"),
    ("runtime", "long", "'long': "),
    ("runtime", 1001, "1001 is over 1000"),
    ("runtime", True, "True: "),
    ("budget", 15_000_000_000, "15000000000 is over 2000000000"),
    ("budget", -5, "-5 is under 0"),
    ("budget", math.inf, "inf"),
    ("budget", 10**400, ""),
    ("revenue", math.nan, "nan"),
    ("popularity", -math.inf, "-inf"),
    ("imdb_id", "t" * 17, ""),
    ("original_language", "english", "'english': "),
    ("status", "s" * 33, ""),
    ("overview", {"en": "x"}, ""),
    ("belongs_to_collection", {"id": 1}, "is missing"),
    ("belongs_to_collection", [], "[]: "),
]


@pytest.mark.parametrize(("name", "value", "why"), WRONG)
def test_a_wrong_fact_costs_that_fact_and_is_named(name: str, value: Any, why: str) -> None:
    read, lost = read_body(BODY | {name: value}, now())
    assert read == record(BODY, now()) | {"fetched_at": read["fetched_at"]}
    assert lost[0].startswith(f"{name}")
    assert why in lost[0]


LISTS: list[tuple[str, Any, list[str]]] = [
    ("genres", None, []),
    ("genres", "Drama", []),
    ("genres", [1, {"id": 18, "name": "Drama"}, {"id": 35}, {"name": "War"}, {}], ["Drama"]),
    ("spoken_languages", [{"iso_639_1": None}, {"iso_639_1": "en"}, None], ["en"]),
    ("production_companies", [{"id": 1, "name": ""}, {"id": 2, "name": "B"}], [{"id": "2", "name": "B"}]),  # type: ignore[list-item]
    (
        "production_countries",
        [{"name": "France"}, {"iso_3166_1": "FR", "name": "France"}],
        [{"id": "FR", "name": "France"}],
    ),  # type: ignore[list-item]
]


@pytest.mark.parametrize(("name", "value", "kept"), LISTS)
def test_a_wrong_entity_costs_that_entity(name: str, value: Any, kept: list[Any]) -> None:
    read, lost = read_body(BODY | {name: value}, now())
    assert read[name] == kept
    assert all(reason.startswith(f"{name}") for reason in lost)
    assert lost


def test_a_wrong_credit_costs_that_credit_and_a_wrong_order_only_the_order() -> None:
    cast = [
        {"id": 1, "name": "Last", "order": None},
        {"id": 2, "order": 0},
        {"name": "No id"},
        {"id": "4", "name": "Text for id"},
        {"id": 5, "name": "First", "order": 1},
    ]
    read, lost = read_body(BODY | {"credits": {"cast": cast, "crew": None}}, now())
    assert [person["name"] for person in read["cast"]] == ["First", "Last"]
    assert read["directors"] == []
    assert {reason.split(": ")[0] for reason in lost} == {
        "credits.cast.0.order",
        "credits.cast.1.name",
        "credits.cast.2.id",
        "credits.cast.3.id",
        "credits.crew",
    }


@pytest.mark.parametrize("credits", [None, [], {}, {"success": False, "status_code": 11}, "x"])
def test_credits_that_did_not_come_are_not_a_movie_without_cast(credits: Any) -> None:
    with pytest.raises(NoCredits, match="movie 5: credits"):
        record(BODY | {"credits": credits}, now())
    with pytest.raises(NoCredits, match="movie 5: credits"):
        record({name: value for name, value in BODY.items() if name != "credits"}, now())
    assert record(BODY | {"credits": {"cast": [], "crew": []}}, now())["cast"] == []


def test_texts_that_no_store_can_hold_are_made_whole() -> None:
    body = BODY | dict.fromkeys(("title", "overview", "tagline", "original_title"), CUT)
    body |= {"production_companies": [{"id": 1, "name": CUT}], "status": "Re\0leased"}
    body["credits"] = {"cast": [{"id": 1, "name": CUT}], "crew": []}
    read, lost = read_body(body, now())
    assert {read[name] for name in ("title", "overview", "tagline", "original_title")} == {KEPT}
    assert read["production_companies"] == read["cast"] == [{"id": "1", "name": KEPT}]
    assert (read["status"], lost) == ("Released", [])
    assert record(BODY | {"overview": "\ud83d\ude00 \U0001f600 \ude00"}, now())["overview"] == "😀 😀 \ufffd"
    assert body["overview"] == CUT  # what was given is left as it is


def test_a_flood_of_faults_is_named_in_short() -> None:
    _, lost = read_body(BODY | {"genres": [1] * 1000}, now())
    assert lost[-1] == "and 980 more"


JUNK = st.sampled_from(
    [None, "", "x", CUT, "a\0b", "y" * 20_000, -1, 0, 10**30, 1e300, math.nan, math.inf, True, [], {}, [None], [[]]]
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [place for key, item in items for place in places(item, (*path, key))]


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_whatever_comes_is_refused_or_becomes_what_every_store_and_the_service_take(
    bodies: list[dict[str, Any]], data: st.DataObject
) -> None:
    body = copy.deepcopy(bodies[3])
    for _ in range(data.draw(st.integers(1, 4))):
        *path, last = data.draw(st.sampled_from(places(body)))
        inner = body
        for part in path:
            inner = inner[part]
        inner[last] = copy.deepcopy(data.draw(JUNK))  # what is put into a list must not stay in it
    try:
        read, lost = read_body(body, now())
    except BadRecord as error:
        str(error).encode()
        return
    "".join(lost).encode()
    Movie.of(read)
    pq.write_table(movie_table([read]), io.BytesIO())
    json.dumps(read, default=str, allow_nan=False)
    for name in ("imdb_id", "original_language", "status"):
        assert len(read[name] or "") <= MOVIES.c[name].type.length
    assert len(read["cast"]) <= BILLED
    assert "\0" not in str(read)


def test_the_warehouse_takes_what_was_made_whole() -> None:
    engine = sa.create_engine("sqlite://")
    METADATA.create_all(engine)
    upsert(engine, "tmdb", [record(BODY | {"overview": CUT, "release_date": "2019-01-15"}, now())])
    with engine.connect() as connection:
        assert connection.execute(sa.select(MOVIES.c.overview, MOVIES.c.release_date)).one() == (
            KEPT,
            date(2019, 1, 15),
        )


@pytest.mark.recorded
def test_a_recorded_movie_is_read_right() -> None:
    recorded = RECORDED / "tmdb-api" / "recorded" / "movie-550-appended-2025-09.json"
    read = record(json.loads(recorded.read_text()), now())
    assert read["title"] == "Fight Club"
    assert [p["name"] for p in read["directors"]] == ["David Fincher"]
    assert read["cast"][0]["name"] == "Edward Norton"
    assert read["genres"] == ["Drama", "Thriller"]
    assert read["budget"] == 63_000_000
    assert {"id": "US", "name": "United States of America"} in read["production_countries"]


def case(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RECORDED / "cases" / f"{name}.json").read_text())
    return found


@pytest.mark.recorded
def test_the_cases_of_one_bad_thing_lose_that_thing() -> None:
    for name in ("budget", "release_date"):
        letter = {"budget": "a", "release_date": "c"}[name]
        read, lost = read_body(case(f"04{letter}-one-extreme-{name}")["bad"], now())
        assert (read["id"], read[name], len(lost)) == (1, None, 1)
    with pytest.raises(BadRecord, match="movie 1: vote_count: 20000000 is over 10000000"):
        record(case("04d-one-extreme-vote_count")["bad"], now())
    assert record(case("26-rating-zero")["movie"], now())["vote_average"] is None
    credits = case("14-credits-missing")
    for body in (credits["movie"], credits["movie"] | credits["also"]):
        with pytest.raises(NoCredits):
            record(body, now())
    assert record(credits["movie"] | {"credits": {"cast": [], "crew": []}}, now())["cast"] == []


@pytest.mark.recorded
def test_no_recorded_movie_is_refused_or_loses_a_fact() -> None:
    for path in (RECORDED / "data" / "tmdb").glob("*.jsonl.gz"):
        with gzip.open(path, "rt") as lines:
            for line in islice(lines, 0, None, 10):
                assert read_body(json.loads(line), now())[1] == []
