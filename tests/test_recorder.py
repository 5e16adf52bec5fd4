"""The record of predictions outlives whatever a row or the database does."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from sqlalchemy.exc import OperationalError

from serving import recorder
from serving.recorder import Recorder
from serving.schema import ModelInfo, Prediction

INFO = ModelInfo.model_construct(name="movie-rating", version="v1", sha256="0" * 64)


def answer(number: int, **change: Any) -> Prediction:
    values = {"id": f"{number:032x}", "rating": 6.0, "low": 5.0, "high": 7.0, "confidence": 0.9, "model": INFO} | change
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


def votes(path: Path) -> list[tuple[str, float]]:
    with sqlite3.connect(path) as connection:
        return connection.execute("select prediction, rating from feedback").fetchall()


def test_feedback_is_of_a_prediction_that_is_written_or_still_waits_and_the_last_word_counts(
    tmp_path: Path, change: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "MOMENT", 1.0)
    kept, name = Recorder(f"sqlite:///{tmp_path}/w.db"), f"{1:032x}"
    assert not kept.voted(name, 5.0)
    kept.predicted("predict", [{"title": "x"}], [answer(1)])
    assert kept.voted(name, 5.0)
    assert ids(tmp_path / "w.db") == set()  # it waits
    kept.flush(20)
    for rating in (6.0, 7.0, 7.0):
        assert kept.voted(name, rating)
    assert votes(tmp_path / "w.db") == [(name, 7.0)]
    assert not kept.voted(f"{2:032x}", 5.0)
    assert change() == {"kept": 5, "dropped": 0, "lost": 0}


def test_the_tables_are_made_once_and_again_after_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    migrate = recorder.migrate
    monkeypatch.setattr(recorder, "migrate", lambda engine: made.append(engine) or migrate(engine))
    kept, name = Recorder(f"sqlite:///{tmp_path}/w.db"), f"{1:032x}"
    kept.predicted("predict", [{"title": "x"}], [answer(1)])
    kept.flush(20)
    for rating in (6.0, 7.0):
        assert kept.voted(name, rating)
    assert len(made) == 1
    with sqlite3.connect(tmp_path / "w.db") as connection:
        connection.execute("drop table feedback")
    with pytest.raises(OperationalError):
        kept.voted(name, 8.0)
    assert kept.voted(name, 8.0)
    assert votes(tmp_path / "w.db") == [(name, 8.0)]
    assert len(made) == 2


def test_a_prediction_that_was_dropped_or_lost_is_known_no_more(tmp_path: Path) -> None:
    kept = Recorder(f"sqlite:///{tmp_path}/w.db")
    kept.predicted("predict", [{"title": "x"}], [answer(1, rating=object())])
    kept.flush(20)
    assert not kept.voted(f"{1:032x}", 5.0)


def test_the_same_feedback_from_many_at_once_is_one(tmp_path: Path) -> None:
    kept, name = Recorder(f"sqlite:///{tmp_path}/w.db"), f"{1:032x}"
    kept.predicted("predict", [{"title": "x"}], [answer(1)])
    threads = [threading.Thread(target=kept.voted, args=(name, 5.0)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept.flush(20)
    assert votes(tmp_path / "w.db") == [(name, 5.0)]


def test_feedback_that_the_database_does_not_take_is_an_error_and_is_counted(change: Any) -> None:
    kept = Recorder("postgresql+psycopg://nobody@127.0.0.1:1/none")
    with pytest.raises(OperationalError):
        kept.voted(f"{1:032x}", 5.0)
    assert change() == {"kept": 0, "dropped": 0, "lost": 1}


def test_one_kept_rating_is_left_of_two_services_on_postgresql(postgres: str) -> None:
    url = postgres.replace("postgresql://", "postgresql+psycopg://")
    both, name = [Recorder(url), Recorder(url)], f"{1:032x}"
    both[0].predicted("predict", [{"title": "x"}], [answer(1)])
    both[0].flush(20)
    threads = [threading.Thread(target=kept.voted, args=(name, 5.0)) for kept in both * 8]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with both[0]._engine.connect() as connection:
        assert connection.exec_driver_sql("select rating from feedback").fetchall() == [(5.0,)]
