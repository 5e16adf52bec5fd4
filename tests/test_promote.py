from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from conftest import World

from flows.promote import promote_model, rollback_model
from settings import PROJECT
from tasks import registry
from tasks.bento import _environment
from tasks.promoting import GOLDEN_MOVIES, move_champion, same_answers


def test_the_first_good_model_becomes_champion_and_a_bento(world: World) -> None:
    assert world.promoted["promoted"] is True
    version = registry.find(registry.CHAMPION)
    assert version.number == world.promoted["version"]
    assert world.promoted["bento"] == f"premiere:{version.label}"
    assert "beats every baseline" in version.tags["verdict"]
    listed = subprocess.run(
        [sys.executable, "-m", "bentoml", "list", "-o", "json"],
        env=_environment(), cwd=PROJECT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert world.promoted["bento"] in listed.stdout


def test_promoting_the_champion_again_changes_nothing(world: World) -> None:
    again = promote_model()
    assert again["promoted"] is False
    assert "champion already" in str(again["reason"])
    assert registry.find(registry.CHAMPION).number == world.promoted["version"]


def test_without_a_model_the_error_says_what_to_do(environment: Any, prefect_api: None) -> None:
    with pytest.raises(LookupError, match=r"python -m flows\.train"):
        promote_model()


def test_a_service_that_answers_otherwise_is_not_promoted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    version = registry.find(registry.CHAMPION)
    model = registry.load_shipped(version)
    from models.movie import Movie

    values = np.stack(model.predict_interval([Movie(**movie).facts() for movie in GOLDEN_MOVIES]), axis=1)
    answers = [dict(zip(("rating", "low", "high"), row, strict=True)) for row in values.tolist()]
    monkeypatch.setattr("tasks.promoting.get_run_logger", lambda: logging.getLogger("test"))
    same_answers.fn(version, answers)
    answers[1]["high"] += 1e-4
    with pytest.raises(RuntimeError, match="not promoted"):
        same_answers.fn(version, answers)
    answers[1]["high"] = float("nan")
    with pytest.raises(RuntimeError, match="not promoted"):
        same_answers.fn(version, answers)


def test_a_rollback_needs_an_earlier_champion_and_returns_to_it(world: World) -> None:
    champion = registry.find(registry.CHAMPION)
    with pytest.raises(LookupError, match="no earlier champion"):
        rollback_model()
    client, name = registry.client(), "movie-rating"
    copy = client.create_model_version(
        name, source=client.get_model_version(name, str(champion.number)).source, tags=champion.tags
    )
    newer = registry.find(str(copy.version))
    move_champion.fn(newer, "a test")
    assert registry.find(registry.CHAMPION).number == newer.number
    back = rollback_model()
    assert (back["version"], back["from"]) == (champion.number, newer.number)
    assert registry.find(registry.CHAMPION).number == champion.number
    assert "was rolled back" in str(promote_model(newer.number)["reason"])
    with pytest.raises(LookupError, match="no earlier champion"):
        rollback_model()
    client.delete_model_version(name, str(newer.number))
