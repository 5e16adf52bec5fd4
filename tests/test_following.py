"""What follows the registry: the watching process, and the thread that listens to it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from serving import following
from serving.following import Follower
from settings import get_settings
from tasks.registry.versions import Version
from tasks.release import follow

NEWS = {"movies": [{"title": "x"}], "answers": [[6.0, 5.0, 7.0]]}


def rater(version: str) -> Any:
    given = [SimpleNamespace(rating=6.0, low=5.0, high=7.0)]
    info = SimpleNamespace(name="movie-rating", version=version)
    return SimpleNamespace(info=info, rate=lambda movies, asked: given)


def news(version: str) -> dict[str, Any]:
    return NEWS | {"tag": f"movie-rating:{version}"}


def load(tag: str) -> Any:
    return rater(tag.rpartition(":")[2])


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A checkout whose watcher prints a file from beside it and goes on, or ends where the file says so."""
    (tmp_path / "tasks" / "release").mkdir(parents=True)
    for package in ("tasks", "tasks/release"):
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "tasks" / "release" / "follow.py").write_text(
        "import pathlib, sys, time\n"
        "with pathlib.Path('started').open('a') as file: print(*sys.argv[1:], file=file)\n"
        "for line in pathlib.Path('said').read_bytes().splitlines(keepends=True):\n"
        "    if line == b'END\\n': sys.exit(3)\n"
        "    sys.stdout.buffer.write(line); sys.stdout.flush()\n"
        "sys.stdin.read()\n"
    )
    monkeypatch.setenv("PROJECT_HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setattr("serving.supervision.FIRST_PAUSE", 0.1)
    monkeypatch.setattr(following, "FIRST_PAUSE", 0.2)
    get_settings.cache_clear()
    yield tmp_path
    get_settings.cache_clear()


def said(home: Path, *lines: bytes | dict[str, Any]) -> None:
    written = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    (home / "said").write_bytes(b"".join(line + b"\n" for line in written))


@pytest.mark.parametrize(
    "line", [b"INFO: a library speaks", b"", b"null", b"[1]", b"{}", b'{"tag": 1}', b"\xff\xfe", b"[" * 100_000]
)
def test_a_line_that_is_no_news_is_passed_over(home: Path, line: bytes) -> None:
    said(home, line, news("v2"), line)
    follower = Follower(rater("v1"), load)
    follower.start()
    wait_for(lambda: follower.rater.info.version == "v2")
    assert follower.state["took over"] == "v2"
    assert follower.thread.state["restarts"] == 0


def test_a_watcher_that_ends_is_started_again_for_the_version_that_is_served(home: Path) -> None:
    said(home, news("v2"), b"END")
    follower = Follower(rater("v1"), load)
    follower.start()
    wait_for(lambda: (home / "started").exists() and (home / "started").read_text().count("\n") >= 3)
    assert (home / "started").read_text().splitlines()[:2] == ["--serving v1", "--serving v2"]
    wait_for(lambda: "watcher ended" in follower.state["state"])
    assert follower.state["since"]
    said(home, news("v3"))
    wait_for(lambda: follower.state.get("took over") == "v3")


def test_a_champion_that_was_refused_is_tried_again_and_told_once(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    said(home, news("v2"))
    tries = []

    def fails_at_first(tag: str) -> Any:
        tries.append(time.monotonic())
        if len(tries) < 4:
            raise OSError("no room for postgresql://user:hunter2@host/db")
        return load(tag)

    follower = Follower(rater("v1"), fails_at_first)
    with caplog.at_level(logging.ERROR):
        follower.start()
        wait_for(lambda: "why" in follower.state)
        assert follower.state["state"] == "kept v1"
        wait_for(lambda: follower.rater.info.version == "v2")
    waited = [after - before for before, after in pairwise(tries)]
    assert all(pause >= least * 0.9 for pause, least in zip(waited, [0.2, 0.4, 0.8], strict=True)), waited
    assert sum("kept v1" in entry.getMessage() for entry in caplog.records) == 1
    assert "hunter2" not in caplog.text
    assert "why" not in follower.state


def test_only_the_newest_champion_is_tried_again() -> None:
    def refuse(tag: str) -> Any:
        raise OSError(tag)

    follower = Follower(rater("v1"), refuse)
    follower.take(news("v2"))
    follower.take(news("v3"))
    assert follower._refused == news("v3")
    follower.take({"tag": "", "error": "the registry does not answer"})
    assert follower._refused == news("v3")
    follower.take({"tag": "movie-rating:v1"})  # the alias moved back
    assert follower._refused is None
    assert follower.state["state"] == "watching"
    assert "why" not in follower.state


class Stop(Exception):
    pass


def watch(monkeypatch: pytest.MonkeyPatch, champions: list[Any], failing: set[str]) -> tuple[list[Any], list[float]]:
    """Let the watcher look once for each of the champions, an error among them; return what it said and its pauses.

    The clock goes on as it sleeps. What is in `failing` cannot be prepared the first time.
    """
    heard: list[Any] = []
    pauses: list[float] = []
    left, refused = iter(champions), set(failing)

    def find(alias: str) -> Version:
        champion = next(left, Stop())
        if isinstance(champion, Stop):
            raise KeyboardInterrupt
        if isinstance(champion, Exception):
            raise champion
        return Version(champion, "run", {})

    def prepare(champion: Version) -> dict[str, Any]:
        if champion.label in refused:
            refused.remove(champion.label)
            raise ConnectionError("gone for a moment")
        return {"tag": champion.label}

    clock = SimpleNamespace(sleep=pauses.append, monotonic=lambda: sum(pauses))
    monkeypatch.setattr(follow, "time", clock)
    monkeypatch.setattr(follow, "find", find)
    monkeypatch.setattr(follow, "prepare", prepare)
    with pytest.raises(KeyboardInterrupt):
        follow.follow("v1", heard.append)
    return heard, pauses


def test_a_champion_that_could_not_be_prepared_is_prepared_later(monkeypatch: pytest.MonkeyPatch) -> None:
    heard, _ = watch(monkeypatch, [1, 2, 2, 2], {"v2"})
    assert [one.get("error", one["tag"]) for one in heard] == ["ConnectionError: gone for a moment", "v2"]


def test_a_registry_that_does_not_answer_is_asked_less_and_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    heard, pauses = watch(monkeypatch, [ConnectionError("x")] * 10 + [2, 2], set())
    assert pauses[:4] == [5, 10, 20, 40]
    assert max(pauses) == 300
    assert pauses[-1] == 5
    assert heard[-1] == {"tag": "v2"}
    assert len(heard) == 11


def test_the_newest_champion_goes_before_one_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    heard, _ = watch(monkeypatch, [2, 3, 3], {"v2"})
    assert [one["tag"] for one in heard] == ["movie-rating:v2", "v3"]
    heard, _ = watch(monkeypatch, [2, 1, 1], {"v2"})
    assert [one["tag"] for one in heard] == ["movie-rating:v2", "movie-rating:v1"]
