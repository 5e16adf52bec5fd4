"""The record of predictions outlives whatever a row or the database does."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from serving import recorder
from serving.recorder import Recorder
from serving.schema import ModelInfo, Prediction

INFO = ModelInfo.model_construct(name="movie-rating", version="v1", sha256="0" * 64)


def answer(number: int, **change: Any) -> Prediction:
    values = {"id": f"{number:032x}", "rating": 6.0, "low": 5.0, "high": 7.0, "level": 0.9, "model": INFO} | change
    return Prediction.model_construct(**values)


def counts() -> dict[str, float]:
    return {
        outcome: REGISTRY.get_sample_value("premiere_records_total", {"outcome": outcome}) or 0
        for outcome in ("kept", "dropped", "lost")
    }


@pytest.fixture
def change() -> Callable[[], dict[str, float]]:
    """Return what was counted since the test began."""
    before = counts()
    return lambda: {outcome: number - before[outcome] for outcome, number in counts().items()}


def ids(path: Path) -> set[int]:
    with sqlite3.connect(path) as connection:
        return {int(found, 16) for (found,) in connection.execute("select id from predictions")}


def test_every_outcome_is_counted_from_the_start() -> None:
    for outcome in ("kept", "dropped", "lost"):
        assert REGISTRY.get_sample_value("premiere_records_total", {"outcome": outcome}) is not None


@pytest.mark.parametrize(
    "bad",
    [
        {"rating": object()},  # no driver knows it
        {"rating": 10**400},  # OverflowError from the driver itself
        {"id": f"{1:032x}"},  # twice
        {"id": "\ud800"},  # half a character
        {"id": None},
    ],
)
def test_a_row_that_is_at_fault_costs_no_other(bad: dict[str, Any], tmp_path: Path, change: Any) -> None:
    kept = Recorder(f"sqlite:///{tmp_path}/w.db")
    answers = [answer(n, **(bad if n == 5 else {})) for n in range(10)]
    kept.predicted("predict", [{"title": "x"}] * 10, answers)
    kept.flush(20)
    kept.predicted("predict", [{"title": "x"}], [answer(100)])
    kept.flush(20)
    assert ids(tmp_path / "w.db") == {*range(10), 100} - {5}
    assert change() == {"kept": 10, "dropped": 0, "lost": 1}
    assert kept.thread.state["restarts"] == 0


def test_a_fault_of_our_own_costs_a_batch_and_recording_goes_on(
    tmp_path: Path, change: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.supervision.FIRST_PAUSE", 0.1)
    kept = Recorder(f"sqlite:///{tmp_path}/w.db")
    with monkeypatch.context() as patch:
        patch.setattr(kept, "_keep", lambda rows: 1 / 0)
        kept.predicted("predict", [{"title": "x"}] * 3, [answer(n) for n in range(3)])
        kept.flush(20)
    kept.predicted("predict", [{"title": "x"}], [answer(9)])
    kept.flush(20)
    assert ids(tmp_path / "w.db") == {9}
    assert change() == {"kept": 1, "dropped": 0, "lost": 3}
    assert kept.thread.state["restarts"] == 1
    assert kept.thread.state["error"].startswith("ZeroDivisionError")


def test_a_movie_that_cannot_be_written_down_is_lost_and_its_answer_is_not(tmp_path: Path, change: Any) -> None:
    kept = Recorder(f"sqlite:///{tmp_path}/w.db")
    kept.predicted("predict/tmdb", [{"title": "\ud800"}, {"title": "y"}], [answer(1), answer(2)])
    kept.flush(20)
    assert ids(tmp_path / "w.db") == {2}
    assert change() == {"kept": 1, "dropped": 0, "lost": 1}


def test_a_database_that_was_made_anew_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "PAUSES", (0.05, 0.05))
    kept, file = Recorder(f"sqlite:///{tmp_path}/w.db"), tmp_path / "w.db"
    kept.predicted("predict", [{"title": "x"}], [answer(1)])
    kept.flush(20)
    with sqlite3.connect(file) as connection:
        connection.execute("drop table predictions")
    kept.predicted("predict", [{"title": "x"}], [answer(2)])
    kept.flush(20)
    assert ids(file) == {2}
