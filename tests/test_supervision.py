"""No thread ends unseen."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from prometheus_client import REGISTRY

from serving import supervision
from serving.supervision import Supervised


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def sample(metric: str, thread: str) -> float | None:
    return REGISTRY.get_sample_value(metric, {"thread": thread})


@pytest.mark.parametrize("end", [None, ValueError("the password is hunter2"), SystemExit(1)])
def test_a_thread_that_ends_is_seen_and_started_again(
    end: BaseException | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervision, "FIRST_PAUSE", 0.2)
    name, calls = f"t{type(end).__name__}", []

    def work() -> None:
        calls.append(1)
        if len(calls) == 1:
            if end:
                raise end
            return
        threading.Event().wait()

    thread = Supervised(name, work)
    assert sample("premiere_thread_restarts_total", name) == 0
    assert thread.state["state"] == "not started"
    with caplog.at_level(logging.ERROR):
        thread.start()
        wait_for(lambda: thread.state["state"] == "down")
    assert sample("premiere_thread_up", name) == 0
    assert "hunter2" not in caplog.text + str(thread.state)
    wait_for(lambda: thread.up)
    assert sample("premiere_thread_up", name) == 1
    assert sample("premiere_thread_restarts_total", name) == 1
    assert thread.state["restarts"] == 1
    assert thread.state["error"].startswith(type(end).__name__ if end else "it ended")


def test_pauses_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) > 10:
            raise SystemExit

    monkeypatch.setattr(supervision, "time", SimpleNamespace(sleep=sleep, monotonic=time.monotonic))
    thread = Supervised("growing", lambda: None)
    with pytest.raises(SystemExit):
        thread._run()
    assert pauses[:4] == [1, 2, 4, 8]
    assert max(pauses) == 300
