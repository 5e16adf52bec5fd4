"""The built service, over HTTP, as a user meets it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from conftest import World, another_version, load_fit, serving

from models.facts import iterate
from models.movie import INPUTS, Movie
from settings import PROJECT
from tasks import registry

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
        expected = [values[0] for values in model.predict_interval([movie], 0.9)]
        np.testing.assert_allclose([answer["rating"], answer["low"], answer["high"]], expected, atol=1e-5)


def test_mlflow_answers_as_the_service(service: str, world: World, rated: pd.DataFrame) -> None:
    """The registered artifact takes raw movies through MLflow's own door too, with its signature enforced."""
    import mlflow

    registry.client()
    loaded = mlflow.pyfunc.load_model(registry.model_uri(registry.find(registry.CHAMPION)))
    assert loaded.metadata.signature is not None
    sample = rated.tail(3)
    ratings = loaded.predict(registry.inputs(sample))
    served = [
        predict(service, Movie.model_validate({k: m[k] for k in ("title", "genres", "cast", "directors")}).facts())
        for m in iterate(sample)
    ]
    assert all(r.status_code == 200 for r in served)
    expected = load_fit(registry.find(registry.CHAMPION), "model").predict(sample)
    np.testing.assert_allclose(ratings, expected, atol=1e-6)


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


def test_the_description_is_complete_and_what_it_describes_holds(service: str, tmp_path: Path) -> None:
    """schemathesis asks everything that the OpenAPI description allows, and much that it does not."""
    spec = httpx.get(f"{service}/openapi.json").json()
    assert set(spec["paths"]) == {
        *("/predict", "/predict/batch", "/predict/text", "/predict/tmdb", "/feedback"),
        *("/health", "/ready", "/model/info", "/upcoming"),
    }
    assert httpx.get(f"{service}/docs.json").json() == spec  # the interactive page shows the same
    done = subprocess.run(
        [
            Path(sys.executable).with_name("schemathesis"), "run", f"{service}/openapi.json", "--max-examples", "25",
            "--seed", "1", "--generation-database", "none", "--checks",
            "not_a_server_error,response_schema_conformance,content_type_conformance,status_code_conformance",
        ],
        cwd=tmp_path, capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]


@contextmanager
def another(world: World, **environment: str) -> Iterator[str]:
    """The champion's service once more, with an environment of its own."""
    from tasks import bento

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


def test_predictions_and_feedback_are_recorded_and_a_dead_database_costs_nothing(world: World, tmp_path: Path) -> None:
    database = tmp_path / "warehouse.db"
    with another(world, RECORD_PREDICTIONS="true", WAREHOUSE_URL=f"sqlite:///{database}") as url:
        answer = predict(url, FULL).json()
        httpx.post(f"{url}/predict/batch", json={"movies": [FULL, {"title": "y"}]})
        given = httpx.post(f"{url}/feedback", json={"id": answer["id"], "rating": 7.1})
        assert given.json() == {"recorded": True}
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
        assert all(predict(url, FULL).status_code == 200 for _ in range(20))
        assert httpx.post(f"{url}/feedback", json={"id": "0" * 32, "rating": 5.0}).json() == {"recorded": True}
        assert httpx.get(f"{url}/upcoming").json()["movies"] == []


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


def test_a_new_champion_is_taken_over_without_a_failed_or_mixed_answer(copied_world: World) -> None:
    """The alias moves while clients ask; the next champion that does not answer as registered is refused."""
    first, second, third = registry.find(registry.CHAMPION), another_version(), another_version()
    registry.tag_version(third, {"sha256": "0" * 64})  # what lies there is not what was registered
    answers: Counter[tuple[int, str]] = Counter()
    stop = threading.Event()
    home = {"FOLLOW_REGISTRY": "true", "PROJECT_HOME": str(PROJECT), "PYTHONPATH": ""}
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
