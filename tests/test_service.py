"""The built service, over HTTP, as a user meets it."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from conftest import World, load_fit

from models.facts import iterate
from models.movie import INPUTS, Movie
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
    assert field in [part for error in response.json()["detail"] for part in error["loc"]]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'{"movie": null}', b"{}", b'{"movie": {"title": "x", "budget": NaN}}', b"\xff\xfe"],
)
def test_a_broken_body_is_no_server_error(service: str, body: bytes) -> None:
    response = httpx.post(f"{service}/predict", content=body, headers={"Content-Type": "application/json"})
    assert 400 <= response.status_code < 500


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
