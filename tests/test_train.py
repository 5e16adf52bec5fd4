from __future__ import annotations

import json
from datetime import date
from typing import Any

import numpy as np
import pytest
from conftest import TODAY, World, load_fit
from prefect import flow

from flows.train import train_model
from models.sentiment import Sentiments, text_digest
from settings import get_settings
from tasks.foundation.store import open_store
from tasks.learning.features import _kept_sentiments, number_all
from tasks.learning.loading import load_movies, read_movies, split
from tasks.learning.tuning import search
from tasks.registry import versions as registry


def test_the_new_version_is_challenger_with_all_that_is_known_of_it(world: World) -> None:
    version = registry.find(registry.CHALLENGER)
    assert version.number == world.trained["version"]
    tags = version.tags
    assert tags["source"] == "sample"
    assert tags["synthetic"] == "true"
    assert tags["family"] == world.trained["family"]
    assert set(tags) >= {
        "data",
        "code",
        "commit",
        "seed",
        "sha256",
        "as_of",
        "judged_until",
        "judged_uri",
        "trained_at",
    }
    figures = registry.run_metrics(version)
    assert figures["holdout_rmse"] < figures["genre_mean_rmse"] < figures["training_mean_rmse"]
    assert figures["holdout_rmse_low"] < figures["holdout_rmse"] < figures["holdout_rmse_high"]
    assert {"holdout_coverage_90", "holdout_width_90", "holdout_skill", "tuning_rmse"} <= set(figures)


def test_the_run_keeps_signature_example_parameters_and_trials(world: World) -> None:
    import mlflow

    version = registry.find(registry.CHALLENGER)
    client = registry.client()
    run = client.get_run(version.run_id)
    assert run.data.params["family"] == world.trained["family"]
    assert version.tags["trials"] == "4"
    assert 0 <= float(run.data.params["linear_share"]) <= 0.8
    info = mlflow.models.get_model_info(registry.model_uri(version))
    assert info.signature.inputs
    assert info.signature.outputs
    example = info.saved_input_example_info
    assert example
    assert info.flavors["sklearn"]["serialization_format"] == "skops"
    trials = json.loads(mlflow.artifacts.load_text(f"runs:/{version.run_id}/trials.json"))
    assert len(trials["data"]) == 4


def test_what_is_judged_ends_before_the_holdout_and_what_ships_knows_everything(world: World) -> None:
    version = registry.find(registry.CHALLENGER)
    judged, shipped = load_fit(version, "judged"), load_fit(version, "model")
    holdout_start = date(TODAY.year - 1, TODAY.month, TODAY.day)
    assert date.fromisoformat(judged.learned_until_) <= holdout_start < date.fromisoformat(shipped.learned_until_)
    assert judged.get_params() == shipped.get_params()


def test_training_again_on_the_same_data_is_found_in_the_registry(world: World) -> None:
    again = train_model(trials=4, as_of=TODAY)
    assert again == world.trained


@flow
def load(source: str, as_of: date) -> Any:
    return load_movies(source, as_of)


def test_nothing_released_on_or_after_the_day_is_learned_from(world: World) -> None:
    movies = load("sample", date(2015, 1, 1))
    assert movies["release_date"].max().date() < date(2015, 1, 1)


def test_a_study_goes_on_where_it_stopped_and_repeats_itself(world: World, rated: Any) -> None:
    movies, said = rated.head(700), []
    storage = f"sqlite:///{world.folder}/resume.db"

    def say(message: str, *arguments: Any) -> None:
        said.append(message % arguments)

    first = search(movies, 8, 7, "resumed", storage, say)
    assert len(first.trials) == 8
    assert {t["family"] for t in first.trials[:3]} == {"xgboost", "lightgbm", "random_forest"}
    more = search(movies, 9, 7, "resumed", storage, say)
    assert any("8 of 9 trials are done" in line for line in said)
    assert len(more.trials) == 9
    assert more.trials[:8] == first.trials
    fewer = search(movies, 2, 7, "resumed", storage, say)
    assert len(fewer.trials) == 2
    assert fewer.rmse == min(t["rmse"] for t in first.trials[:2])
    again = search(movies, 8, 7, "again", storage, say)
    np.testing.assert_allclose([t["rmse"] for t in again.trials], [t["rmse"] for t in first.trials], atol=1e-6)


def test_without_movies_the_error_says_what_to_do(environment: Any, prefect_api: None) -> None:
    with pytest.raises(FileNotFoundError, match=r"python -m flows\.collect"):
        train_model(trials=1, source="tmdb", as_of=TODAY)


def test_texts_are_read_once_and_kept_from_run_to_run(
    world: World, rated: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, movies = open_store(get_settings().store_uri), read_movies("sample", TODAY)
    kept = _kept_sentiments(store, "sample")
    assert {text_digest(text) for text in movies["overview"] if text} <= kept.keys()
    monkeypatch.setattr("models.sentiment.read_sentiment", lambda text: pytest.fail(f"read again: {text}"))
    train, holdout = split(movies)
    tables = number_all(movies, train, holdout, Sentiments(kept))
    assert len(tables.everything.records.texts) == len(movies)
