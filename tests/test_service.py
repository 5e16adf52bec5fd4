"""The built service, over HTTP, as a user meets it."""

from __future__ import annotations

import time
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from conftest import FULL, World, case, load_fit, predict

from models.body import record
from models.facts import iterate
from models.movie import INPUTS, Movie
from models.questions import mask_fields
from serving.schema import MOST_EXPLAINED
from tasks.foundation.clock import now
from tasks.registry import flavour
from tasks.registry import versions as registry


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
        expected = [values[0] for values in model.predict_interval([mask_fields(movie)], 0.9)]
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
    questions = [mask_fields(movie) for movie in iterate(sample)]
    expected = load_fit(registry.find(registry.CHAMPION), "model").predict(questions)
    np.testing.assert_allclose(rated_by_mlflow, expected, atol=1e-6)


def test_only_a_title_is_enough(service: str) -> None:
    assert predict(service, {"title": "Alone"}).status_code == 200


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


def test_the_confidence_reasons_and_similar_movies_are_given_on_request(service: str) -> None:
    def ask(**more: Any) -> dict[str, Any]:
        return dict(httpx.post(f"{service}/predict", json={"movie": FULL} | more).json())

    narrow, wide = ask(confidence=0.5), ask(confidence=0.99)
    assert narrow["low"] > wide["low"]
    assert narrow["high"] < wide["high"]
    assert [narrow["confidence"], narrow["level"]] == [0.5, 0.5]
    older = ask(level=0.5)  # the name that clients of earlier versions use
    assert [older[name] for name in ("low", "high", "confidence")] == [narrow["low"], narrow["high"], 0.5]
    assert ask(level=0.5, confidence=0.5)["low"] == narrow["low"]
    assert narrow["reasons"] == []
    assert narrow["similar"] == []
    told = ask(reasons=True, similar=3)
    assert told["base"] + sum(reason["points"] for reason in told["reasons"]) == pytest.approx(told["rating"], abs=1e-6)
    assert len(told["similar"]) == 3
    assert any("never seen: directors: E F" in warning for warning in told["warnings"])
    assert ask(movie={"title": "x"})["warnings"][0] == "release_date is missing"
    assert len({ask()["id"] for _ in range(3)}) == 3


def test_each_reason_is_data_and_words_are_its_english_rendering(service: str) -> None:
    answer = httpx.post(f"{service}/predict", json={"movie": FULL, "reasons": True}).json()
    reasons = {reason["field"]: reason for reason in answer["reasons"]}
    rest = {"movies": None, "mean": None, "others": [], "more": 0}
    for field, given in {
        "runtime": {"kind": "value", "name": "110", "words": "runtime 110"} | rest,
        "composers": {"kind": "unknown", "name": None, "words": "composers unknown"} | rest,
        "expected": {"kind": "kind", "name": None, "words": reasons["expected"]["words"]} | rest,
        "directors": {"kind": "person", "name": "E F", "words": "directors E F: no earlier movie known"}
        | (rest | {"movies": 0}),
    }.items():
        assert reasons[field] == given | {"field": field, "points": reasons[field]["points"]}
    assert reasons["cast"]["others"] == [{"name": "C D", "movies": 0, "mean": None}]
    assert [reasons[field]["kind"] for field in ("production_companies", "belongs_to_collection")] == [
        "company",
        "collection",
    ]
    described = httpx.get(f"{service}/openapi.json").json()["components"]["schemas"]["Reason"]["properties"]
    assert described.keys() == reasons["cast"].keys()
    assert "English" in described["words"]["description"]


def test_a_batch_answers_in_order_as_single_requests_do_and_one_bad_movie_loses_no_other(service: str) -> None:
    movies: list[Any] = [{"title": f"Movie {n}", "runtime": 60 + n, "genres": ["Drama"]} for n in range(40)]
    movies[7] = {"title": "bad", "runtime": "long"}
    movies[9] = 3
    response = httpx.post(f"{service}/predict/batch", json={"movies": movies, "confidence": 0.8}, timeout=30)
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
