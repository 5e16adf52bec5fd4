"""The built service, over HTTP, as a user meets it."""

from __future__ import annotations

import http.client
import json
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from conftest import RECORDED, World, another_version, load_fit, serving, without_project

from models.body import record
from models.facts import iterate
from models.movie import INPUTS, Movie
from models.questions import asked
from serving.schema import MOST_EXPLAINED, BatchRequest
from settings import PROJECT
from tasks.foundation.clock import now
from tasks.registry import flavour
from tasks.registry import versions as registry

FULL: dict[str, Any] = {
    "title": "A test",
    "overview": "A wonderful story.",
    "tagline": "See it.",
    "genres": ["Drama"],
    "release_date": "2026-12-24",
    "original_language": "en",
    "runtime": 110,
    "budget": 30_000_000,
    "production_companies": ["Some Pictures"],
    "production_countries": ["US"],
    "belongs_to_collection": "Some Collection",
    "cast": ["A B", "C D"],
    "directors": ["E F"],
    "writers": ["G H"],
}


def predict(service: str, movie: dict[str, Any]) -> httpx.Response:
    return httpx.post(f"{service}/predict", json={"movie": movie}, timeout=30)


def test_a_prediction_has_an_interval_and_names_its_model(service: str, world: World) -> None:
    response = predict(service, FULL)
    assert response.status_code == 200
    answer = response.json()
    assert 0 <= answer["low"] < answer["rating"] < answer["high"] <= 10
    model = answer["model"]
    version = registry.find(registry.CHAMPION)
    assert (model["name"], model["version"]) == ("movie-rating", version.label)
    assert model["sha256"] == version.tags["sha256"]
    assert model["synthetic"] is True


def test_the_service_answers_as_the_registered_model(service: str, world: World, rated: pd.DataFrame) -> None:
    model = load_fit(registry.find(registry.CHAMPION), "model")
    for movie in iterate(rated.sample(40, random_state=1)):
        request = {name: movie[name] for name in INPUTS}
        request["release_date"] = str(movie["release_date"].date())
        request = {k: v for k, v in request.items() if v is not None and v == v}
        answer = predict(service, request).json()
        expected = [values[0] for values in model.predict_interval([asked(movie)], 0.9)]
        np.testing.assert_allclose([answer["rating"], answer["low"], answer["high"]], expected, atol=1e-5)


def test_mlflow_answers_as_the_service(service: str, world: World, rated: pd.DataFrame) -> None:
    """The registered artifact takes raw movies through MLflow's own door too, with its signature enforced."""
    import mlflow

    registry.client()
    loaded = mlflow.pyfunc.load_model(registry.model_uri(registry.find(registry.CHAMPION)))
    assert loaded.metadata.signature is not None
    sample = rated.tail(3)
    rated_by_mlflow = loaded.predict(flavour.inputs(sample))["rating"]
    served = [
        predict(service, Movie.model_validate({k: m[k] for k in ("title", "genres", "cast", "directors")}).told())
        for m in iterate(sample)
    ]
    assert all(r.status_code == 200 for r in served)
    questions = [asked(movie) for movie in iterate(sample)]
    expected = load_fit(registry.find(registry.CHAMPION), "model").predict(questions)
    np.testing.assert_allclose(rated_by_mlflow, expected, atol=1e-6)


def test_only_a_title_is_enough(service: str) -> None:
    assert predict(service, {"title": "Alone"}).status_code == 200


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"budgett": 1}, "budgett"),
        ({"vote_count": 1}, "vote_count"),
        ({"budget": -1}, "budget"),
        ({"budget": "many"}, "budget"),
        ({"runtime": 1e9}, "runtime"),
        ({"release_date": "tomorrow"}, "release_date"),
        ({"release_date": "2024-02-30"}, "release_date"),
        ({"genres": "Drama"}, "genres"),
        ({"cast": [1]}, "cast"),
        ({"title": ""}, "title"),
    ],
)
def test_a_bad_field_is_named_and_is_no_server_error(service: str, change: dict[str, Any], field: str) -> None:
    response = predict(service, FULL | change)
    assert 400 <= response.status_code < 500
    errors = response.json()["errors"]
    assert field in " ".join(error["field"] for error in errors)
    assert all(error["rule"] and error["remedy"] for error in errors)
    assert response.json()["error"]


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"null", b"0", b'"text"', b'{"movie": null}', b"{}", b"\xff\xfe", b"\x00", b"\xc3\x28"),
        *(b'{"movie": {"title": "x", "budget": NaN}}', b'{"movie": {"title": "x", "runtime": 1e999}}'),
        *(b'{"movie": {"title": "\\ud800"}}', b'{"movie": {"title": "x"}} trailing', b'{"movie": [{"title": "x"}]}'),
        *(b"[" * 100_000, b'{"movie":' * 50_000, b'{"movie": {"title": "' + b"x" * 100_000 + b'"}}'),
        *(b'{"movie": {"title": "x", "cast": [' + b'"y",' * 600 + b'"y"]}}', b'{"level": 2, "movie": {"title": "x"}}'),
        *(b'{"similar": 1.5, "movie": {"title": "x"}}', b'{"reasons": "yes", "movie": {"title": "x"}}'),
    ],
)
@pytest.mark.parametrize("route", ["predict", "predict/batch", "predict/text", "predict/tmdb", "feedback"])
def test_a_hostile_body_is_no_server_error(service: str, route: str, body: bytes) -> None:
    response = httpx.post(f"{service}/{route}", content=body, headers={"Content-Type": "application/json"})
    assert 400 <= response.status_code < 500, response.text[:300]
    assert response.json()["errors"][0].keys() == {"field", "rule", "remedy"}


def test_ten_megabytes_another_type_and_unknown_pages_are_refused(service: str) -> None:
    large = b'{"movie": {"title": "' + b"x" * 10_000_000 + b'"}}'
    kind = {"Content-Type": "application/json"}

    def chunks() -> Iterator[bytes]:
        yield from (large[n : n + 65_536] for n in range(0, len(large), 65_536))

    assert httpx.post(f"{service}/predict", content=large, headers=kind).status_code == 413
    assert httpx.post(f"{service}/predict", content=chunks(), headers=kind).status_code == 413  # no length announced
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "application/vnd.bentoml+pickle", ""):
        response = httpx.post(f"{service}/predict", content=b"{}", headers={"Content-Type": content_type})
        assert response.status_code == 415
        assert "application/json" in response.json()["errors"][0]["remedy"]
    assert httpx.get(f"{service}/no/such/page").status_code == 404
    assert httpx.get(f"{service}/predict").status_code == 405


def case(name: str) -> dict[str, Any]:
    return dict(json.loads((RECORDED / "cases" / f"service-{name}.json").read_text()))


def throw(url: str, paths: Iterable[str], method: str = "GET") -> Counter[int]:
    """Ask for each path on one connection; count the statuses."""
    connection, statuses = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30), Counter[int]()
    for path in paths:
        connection.request(method, path)
        answer = connection.getresponse()
        answer.read()
        statuses[answer.status] += 1
    connection.close()
    return statuses


def series(url: str, **headers: str) -> set[str]:
    """Return the names with labels of all that a service measures."""
    lines = httpx.get(f"{url}/metrics", timeout=5, headers=headers).raise_for_status().text.splitlines()
    return {line.rpartition(" ")[0] for line in lines if not line.startswith("#")}


def test_ten_thousand_paths_and_odd_methods_leave_the_metrics_their_size(service: str) -> None:
    for path in ("/ui/x", "/x", "/static_content/x"):
        throw(service, [path])
    for method in ("GET", "PUT", "OPTIONS", "TRACE"):
        throw(service, ["/x", "/predict", "/ui/x"], method)
    before = series(service)
    assert any('endpoint="/elsewhere"' in name for name in before)
    places = ("/ui/x{}", "/x{}", "/predict/{}", "/static_content/{}", "//{}?q={}")
    assert throw(service, (place.format(n, n) for n in range(2000) for place in places)) == {404: 10_000}
    for method in ("PUT", "OPTIONS", "TRACE", "PROPFIND", "BREW"):
        throw(service, [f"/x{n}" for n in range(20)] if method != "BREW" else ["/x"], method)
    assert series(service) == before


@pytest.mark.recorded
def test_the_recorded_thousand_paths_leave_the_metrics_their_size(service: str, world: World) -> None:
    assert case("09-metrics-cardinality")["right"].startswith("/metrics keeps its size")
    with another(world, SERVICE_API_TOKEN="a-secret") as guarded:
        for url, paths, status in ((service, "/ui/x{}", 404), (guarded, "/anything{}", 401), (guarded, "/ui/x{}", 404)):
            throw(url, [paths.format("")])
            before = series(url, Authorization="Bearer a-secret")
            assert throw(url, (paths.format(n) for n in range(1000))) == {status: 1000}
            assert series(url, Authorization="Bearer a-secret") == before


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_every_route_says_which_methods_it_takes(service: str, method: str) -> None:
    described = httpx.get(f"{service}/openapi.json").json()["paths"]
    taken = {path: {"POST"} if "post" in methods else {"GET", "HEAD"} for path, methods in described.items()}
    for path, takes in (taken | {"/ui/": {"GET", "HEAD"}, "/metrics": {"GET", "HEAD"}}).items():
        if method not in takes:
            answer = httpx.request(method, f"{service}{path}")
            assert answer.status_code == 405
            assert set(answer.headers["allow"].split(", ")) == takes


@pytest.mark.recorded
def test_the_recorded_method_is_answered_with_those_that_are_taken(service: str) -> None:
    recorded = case("17-405-allow")
    answer = httpx.options(f"{service}{recorded['OPTIONS']}")
    assert f"{answer.status_code} with Allow: {answer.headers['allow']}" == recorded["right"]


@pytest.mark.recorded
def test_the_recorded_batch_is_refused_before_the_work_and_a_full_one_takes_half_of_the_time(service: str) -> None:
    recorded = case("11-batch-1000-reasons")
    ask = {"movies": [FULL] * 1000, "reasons": True}
    begun = time.monotonic()
    answer = httpx.post(f"{service}{recorded['POST']}", json=ask, timeout=30)
    assert time.monotonic() - begun < 1
    assert answer.status_code == 400
    assert str(MOST_EXPLAINED) in answer.json()["error"]


@pytest.mark.parametrize("more", [{"reasons": True}, {"similar": 20}, {"reasons": True, "similar": 20}])
def test_a_full_batch_with_reasons_takes_less_than_half_of_the_time_and_one_more_is_refused(
    service: str, more: dict[str, Any], bodies: list[dict[str, Any]]
) -> None:
    some = [Movie.of(record(body, now())).model_dump(mode="json", exclude_defaults=True) for body in bodies[-50:]]
    movies = some * (MOST_EXPLAINED // len(some))
    begun = time.monotonic()
    answer = httpx.post(f"{service}/predict/batch", json={"movies": movies} | more, timeout=30)
    assert time.monotonic() - begun < 5
    results = answer.json()["results"]
    for n in (0, 30, 449):
        alone = httpx.post(f"{service}/predict", json={"movie": movies[n]} | more).json()
        given = results[n]["prediction"]
        points = {reason["field"]: reason["points"] for reason in given["reasons"]}
        assert points == pytest.approx({one["field"]: one["points"] for one in alone["reasons"]}, abs=1e-9)
        assert [one["title"] for one in given["similar"]] == [one["title"] for one in alone["similar"]]
    refused = httpx.post(f"{service}/predict/batch", json={"movies": [*movies, FULL]} | more)
    assert refused.status_code == 400
    assert refused.json()["errors"][0].keys() == {"field", "rule", "remedy"}
    assert httpx.post(f"{service}/predict/batch", json={"movies": [*movies, FULL]}).status_code == 200


def test_a_client_made_from_the_description_can_send_a_batch(service: str) -> None:
    """What generators read: a list of movies, each with a type of its own, and no other type in its place."""
    schemas = httpx.get(f"{service}/openapi.json").json()["components"]["schemas"]
    assert schemas["BatchRequest"]["properties"]["movies"]["items"] == {"$ref": "#/components/schemas/Movie"}
    assert schemas["Movie"]["required"] == ["title"]
    assert schemas["PredictRequest"]["properties"]["movie"]["$ref"] == "#/components/schemas/Movie"


@pytest.mark.recorded
def test_the_recorded_call_of_a_generated_client_works(service: str) -> None:
    assert "BatchRequest(movies=[Movie(title='A')])" in case("14-openapi-client-batch")["do"]
    body = BatchRequest(movies=[Movie(title="A")]).model_dump(mode="json")
    items = httpx.get(f"{service}/openapi.json").json()["components"]["schemas"]["BatchRequest"]["properties"]["movies"]
    assert items["items"]["$ref"].endswith("/Movie")
    assert httpx.post(f"{service}/predict/batch", json=body).json()["results"][0]["prediction"]["rating"] > 0


@pytest.mark.recorded
def test_the_recorded_feedback_is_of_no_prediction(world: World, tmp_path: Path) -> None:
    recorded = case("16-feedback-unknown-id")
    with another(world, RECORD_PREDICTIONS="true", WAREHOUSE_URL=f"sqlite:///{tmp_path}/w.db") as url:
        answer = httpx.post(f"{url}{recorded['POST']}", json=recorded["body"])
        assert answer.status_code == 404
        assert answer.json()["errors"][0]["field"] == "id"


def test_unknown_keys_beside_the_movie_are_refused(service: str) -> None:
    response = httpx.post(f"{service}/predict", json={"movie": FULL, "modle": 1})
    assert response.status_code == 400
    assert "modle" in response.text


def test_it_says_that_it_lives_and_which_model_answers(service: str, world: World) -> None:
    assert httpx.get(f"{service}/health").json() == {"status": "alive"}
    info = httpx.get(f"{service}/model/info").json()
    assert info["version"] == registry.find(registry.CHAMPION).label
    assert info["metrics"]["holdout_rmse"] == pytest.approx(world.trained["rmse"])


def test_its_metrics_count_requests(service: str) -> None:
    predict(service, FULL)
    text = httpx.get(f"{service}/metrics").text
    assert "bentoml_service_request_total" in text
    assert 'endpoint="/predict"' in text


def test_the_level_reasons_and_similar_movies_are_given_on_request(service: str) -> None:
    def ask(**more: Any) -> dict[str, Any]:
        return dict(httpx.post(f"{service}/predict", json={"movie": FULL} | more).json())

    narrow, wide = ask(level=0.5), ask(level=0.99)
    assert narrow["low"] > wide["low"]
    assert narrow["high"] < wide["high"]
    assert narrow["reasons"] == []
    assert narrow["similar"] == []
    told = ask(reasons=True, similar=3)
    assert told["base"] + sum(reason["points"] for reason in told["reasons"]) == pytest.approx(told["rating"], abs=1e-6)
    assert len(told["similar"]) == 3
    assert any("never seen: directors: E F" in warning for warning in told["warnings"])
    assert ask(movie={"title": "x"})["warnings"][0] == "release_date is missing"
    assert len({ask()["id"] for _ in range(3)}) == 3


def test_a_batch_answers_in_order_as_single_requests_do_and_one_bad_movie_loses_no_other(service: str) -> None:
    movies: list[Any] = [{"title": f"Movie {n}", "runtime": 60 + n, "genres": ["Drama"]} for n in range(40)]
    movies[7] = {"title": "bad", "runtime": "long"}
    movies[9] = 3
    response = httpx.post(f"{service}/predict/batch", json={"movies": movies, "level": 0.8}, timeout=30)
    assert response.status_code == 200
    results = response.json()["results"]
    assert [n for n, result in enumerate(results) if result["errors"]] == [7, 9]
    assert results[7]["errors"][0]["field"] == "runtime"
    for n in (0, 8, 39):
        single = httpx.post(f"{service}/predict", json={"movie": movies[n], "level": 0.8}).json()
        for name in ("rating", "low", "high"):
            assert results[n]["prediction"][name] == pytest.approx(single[name], abs=1e-9)
    too_many = httpx.post(f"{service}/predict/batch", json={"movies": [{"title": "x"}] * 1001})
    assert too_many.status_code == 400
    assert "1000" in too_many.text


def test_a_synopsis_alone_gets_a_prediction_and_its_sentiment(service: str) -> None:
    text = httpx.post(f"{service}/predict/text", json={"text": "A wonderful, happy story."}).json()
    assert text["sentiment"]["polarity"] > 0.5
    assert text["sentiment"]["readable"] is True
    assert text["warnings"]
    whole = predict(service, FULL | {"overview": "A wonderful, happy story."}).json()
    assert text["high"] - text["low"] > whole["high"] - whole["low"]
    korean = httpx.post(f"{service}/predict/text", json={"text": "조용한 등대 이야기"}).json()
    assert korean["sentiment"]["readable"] is False


def test_the_description_is_complete_and_what_it_describes_holds(
    service: str, world: World, bodies: list[dict[str, Any]], tmp_path: Path
) -> None:
    """schemathesis asks everything that the OpenAPI description allows, and much that it does not.

    The service that it asks lacks nothing: it records, and has a TMDB. What is missing of these is a 5xx.
    """
    spec = httpx.get(f"{service}/openapi.json").json()
    assert set(spec["paths"]) == {
        *("/predict", "/predict/batch", "/predict/text", "/predict/tmdb", "/feedback"),
        *("/health", "/ready", "/model/info", "/upcoming"),
    }
    assert httpx.get(f"{service}/docs.json").json() == spec  # the interactive page shows the same
    whole = {"RECORD_PREDICTIONS": "true", "WAREHOUSE_URL": f"sqlite:///{tmp_path}/w.db", "TMDB_API_TOKEN": "token"}
    with serving(bodies) as tmdb, another(world, **whole, TMDB_BASE_URL=tmdb) as url:
        done = subprocess.run(
            [
                Path(sys.executable).with_name("schemathesis"), "run", f"{url}/openapi.json", "--max-examples", "25",
                "--seed", "1", "--generation-database", "none", "--checks",
                "not_a_server_error,response_schema_conformance,content_type_conformance,status_code_conformance",
            ],
            cwd=tmp_path, capture_output=True, text=True, timeout=400,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]


@contextmanager
def another(world: World, **environment: str) -> Iterator[str]:
    """The champion's service once more, with an environment of its own."""
    from tasks.release.targets import bento

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bento, "ALONE", bento.ALONE | environment)
        with bento.running(world.promoted["shipped"][0]) as url:
            yield url


def test_a_token_guards_all_but_health_and_the_limit_holds(world: World) -> None:
    with another(world, SERVICE_API_TOKEN="a-secret", SERVICE_PER_MINUTE="12") as url:
        assert httpx.get(f"{url}/health").status_code == 200
        assert httpx.get(f"{url}/ready").status_code == 200
        for header in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic a-secret"}):
            response = httpx.post(f"{url}/predict", json={"movie": FULL}, headers=header)
            assert response.status_code == 401
            assert "a-secret" not in response.text
        header = {"Authorization": "Bearer a-secret"}
        statuses = [httpx.get(f"{url}/model/info", headers=header).status_code for _ in range(20)]
        assert statuses[0] == 200
        assert statuses[-1] == 429
        refused = httpx.get(f"{url}/model/info", headers=header | {"X-Forwarded-For": "198.51.100.1"})
        assert refused.status_code == 429  # no proxy is named: nobody is believed, on loopback neither
        assert 1 <= int(refused.headers["retry-after"]) <= 5


def test_each_caller_behind_a_named_proxy_has_a_limit_of_its_own(world: World) -> None:
    with another(world, SERVICE_PER_MINUTE="2", SERVICE_PROXIES="127.0.0.0/8,10.0.0.0/8") as url:
        for address in ("198.51.100.1", "198.51.100.2:4711", "1.2.3.4, 198.51.100.3, 10.0.0.9"):
            forwarded = {"X-Forwarded-For": address}
            statuses = [httpx.get(f"{url}/model/info", headers=forwarded).status_code for _ in range(3)]
            assert statuses == [200, 200, 429]
        other = {"X-Forwarded-For": "203.0.113.5, 198.51.100.1"}  # what the client wrote before
        assert httpx.get(f"{url}/model/info", headers=other).status_code == 429


def test_predictions_and_feedback_are_recorded_and_a_dead_database_costs_nothing(world: World, tmp_path: Path) -> None:
    database = tmp_path / "warehouse.db"
    with another(world, RECORD_PREDICTIONS="true", WAREHOUSE_URL=f"sqlite:///{database}") as url:
        answer = predict(url, FULL).json()
        httpx.post(f"{url}/predict/batch", json={"movies": [FULL, {"title": "y"}]})
        given = httpx.post(f"{url}/feedback", json={"id": answer["id"], "rating": 7.1})
        assert given.json() == {"recorded": True}
        again = [httpx.post(f"{url}/feedback", json={"id": answer["id"], "rating": 7.1}) for _ in range(2)]
        assert [one.json() for one in again] == [{"recorded": True}] * 2
        assert httpx.post(f"{url}/feedback", json={"id": "0" * 32, "rating": 7.1}).status_code == 404
        deadline = time.monotonic() + 20
        while True:
            try:
                rows = sqlite3.connect(database).execute("select id, route, rating, sha256 from predictions").fetchall()
                votes = sqlite3.connect(database).execute("select prediction, rating from feedback").fetchall()
            except sqlite3.OperationalError:
                rows = []
            if len(rows) == 3 and votes:
                break
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert (answer["id"], "predict", answer["rating"], answer["model"]["sha256"]) in rows
        assert votes == [(answer["id"], 7.1)]
        httpx.post(f"{url}/predict", json={"movie": FULL, "record": False}).raise_for_status()
        last = predict(url, FULL).json()["id"]
    rows = sqlite3.connect(database).execute("select id from predictions").fetchall()
    assert len(rows) == 4  # the what-if is none of them
    assert (last,) in rows  # a service that is stopped writes what it still has
    dead = "postgresql://nobody@127.0.0.1:1/none"
    with another(world, RECORD_PREDICTIONS="true", WAREHOUSE_URL=dead) as url:
        answers = [predict(url, FULL) for _ in range(20)]
        assert all(answer.status_code == 200 for answer in answers)
        waits = answers[-1].json()["id"]  # in vain
        for refused in (
            *(
                httpx.post(f"{url}/feedback", json={"id": name, "rating": 5.0}, timeout=30)
                for name in ("0" * 32, waits)
            ),
            httpx.get(f"{url}/upcoming", timeout=30),
        ):
            assert refused.status_code == 503
            assert refused.json()["errors"][0]["field"] == "warehouse"
            assert "nobody" not in refused.text


def test_a_movie_by_its_id_is_fetched_and_its_voters_are_heard(world: World, bodies: list[dict[str, Any]]) -> None:
    body = next(body for body in bodies if body["vote_count"] > 100)
    with serving(bodies) as tmdb, another(world, TMDB_API_TOKEN="token", TMDB_BASE_URL=tmdb) as url:
        answer = httpx.post(f"{url}/predict/tmdb", json={"id": body["id"], "reasons": True}, timeout=30).json()
        assert answer["movie"]["title"] == body["title"]
        assert answer["tmdb"] == {
            "released": True,
            "vote_average": body["vote_average"],
            "vote_count": body["vote_count"],
        }
        assert answer["prediction"]["reasons"]
        missing = httpx.post(f"{url}/predict/tmdb", json={"id": 99_999_999})
        assert missing.status_code == 404
        assert "TMDB has no movie 99999999" in missing.json()["error"]
    with another(world, TMDB_API_TOKEN="token", TMDB_BASE_URL="http://127.0.0.1:1/3") as url:
        unreachable = httpx.post(f"{url}/predict/tmdb", json={"id": 1})
        assert unreachable.status_code == 424
        assert "no usable answer" in unreachable.json()["error"]


def test_a_service_without_a_tmdb_token_says_that_it_is_its_own_lack(service: str) -> None:
    answer = httpx.post(f"{service}/predict/tmdb", json={"id": 550})
    assert answer.status_code == 424
    assert "TMDB_API_TOKEN" in answer.json()["error"]
    assert "/predict" in answer.json()["errors"][0]["remedy"]


def test_a_new_champion_is_taken_over_without_a_failed_or_mixed_answer(copied_world: World) -> None:
    """The alias moves while clients ask; the next champion that does not answer as registered is refused."""
    first, second, third = registry.find(registry.CHAMPION), another_version(), another_version()
    registry.tag_version(third, {"sha256": "0" * 64})  # what lies there is not what was registered
    answers: Counter[tuple[int, str]] = Counter()
    stop = threading.Event()
    home = {"FOLLOW_REGISTRY": "true", "PROJECT_HOME": str(PROJECT)} | without_project(copied_world.folder / "hidden")
    with another(copied_world, **home) as url:

        def ask() -> None:
            with httpx.Client(base_url=url, timeout=30) as client:
                while not stop.is_set():
                    answer = client.post("/predict", json={"movie": FULL})
                    version = answer.json()["model"]["version"] if answer.status_code == 200 else answer.text
                    answers[answer.status_code, version] += 1

        clients = [threading.Thread(target=ask) for _ in range(4)]
        for client in clients:
            client.start()
        try:
            registry.set_alias(registry.CHAMPION, second)
            info = wait_until(url, lambda info: info["version"] == second.label)
            told = {"state": "watching", "took over": second.label, "from": first.label}
            assert told.items() < info["following"].items()
            assert info["following"].keys() - told.keys() == {"since"}
            registry.set_alias(registry.CHAMPION, third)
            info = wait_until(url, lambda info: "why" in info["following"])
            assert info["version"] == second.label
            assert "registered was 000" in info["following"]["why"]
        finally:
            stop.set()
            for client in clients:
                client.join()
    assert set(answers) == {(200, first.label), (200, second.label)}, answers


def wait_until(url: str, condition: Any) -> dict[str, Any]:
    deadline = time.monotonic() + 90
    while not condition(info := httpx.get(f"{url}/model/info", timeout=30).json()):
        assert time.monotonic() < deadline, info
        time.sleep(0.3)
    return dict(info)
