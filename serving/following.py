"""A new champion without a restart: watched from a process of its own, loaded aside, tried, and taken over in one step.

The watcher (`python -m tasks.release.follow`, in the project's checkout) knows MLflow; this process does not. It says
of each new champion where it lies in BentoML's store and what it answers to golden movies. A watcher that ends is
started again, and a champion that could not be taken over is tried again, as long as it is the newest heard of.
"""

from __future__ import annotations

import json
import logging
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from models.movie import TOLERANCE, Movie
from serving.rater import Rater
from serving.schema import Asked
from serving.supervision import Supervised, now
from settings import get_settings, without_passwords

FIRST_PAUSE, LONGEST_PAUSE = 5.0, 300.0  # seconds between tries of one champion
log = logging.getLogger("premiere")


class Follower:
    """Holds the rater that answers. A request takes it once, so none mixes two versions."""

    def __init__(self, rater: Rater, load: Callable[[str], Rater]) -> None:
        self.rater, self._load = rater, load
        self.thread = Supervised("follower", self._watch)
        self._news = {"state": "baked in: nothing is watched", "since": now()}
        self._refused: dict[str, Any] | None = None  # the champion that is to be tried again
        self._pause, self._due = FIRST_PAUSE, 0.0

    def start(self) -> None:
        """Watch the registry from now on."""
        self._news = {"state": "watching", "since": now()}
        self.thread.start()

    @property
    def state(self) -> dict[str, Any]:
        """What became of the newest champion, since when; or that nobody watches, and why."""
        thread = self.thread.state
        if thread["state"] == "down":
            stays = f"the watcher ended and is started again; {self.rater.info.version} stays"
            return {"state": stays, "since": thread["since"], "why": thread["error"]}
        return self._news

    def _watch(self) -> None:
        command = [sys.executable, "-m", "tasks.release.follow", "--serving", self.rater.info.version]
        home = str(get_settings().project_home)
        with subprocess.Popen(command, cwd=home, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as watcher:
            assert watcher.stdout
            try:
                for lines in self._read(watcher.stdout.fileno()):
                    heard = [news for line in lines if (news := understood(line))]
                    if heard:
                        self.take(heard[-1])  # the newest counts
                    elif self._refused and time.monotonic() >= self._due:
                        self.take(self._refused)
            finally:
                watcher.terminate()
        raise RuntimeError("the watcher ended")

    def _read(self, pipe: int) -> Iterator[list[bytes]]:
        """Yield lines as they come, and none when the refused champion is to be tried again."""
        rest = b""
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while True:
                if not selector.select(max(self._due - time.monotonic(), 0) if self._refused else None):
                    yield []
                    continue
                read = os.read(pipe, 1 << 20)
                if not read:
                    return
                *lines, rest = (rest + read).split(b"\n")
                yield lines

    def take(self, news: dict[str, Any]) -> None:
        """Load what the watcher found, try it, and swap; on any failure the old version stays and says why.

        What was refused is tried again after growing pauses, until it is taken or another champion is heard of.
        """
        tag, info = str(news.get("tag", "")), self.rater.info
        if self._refused and tag and tag != self._refused["tag"]:
            self._refused = None
        if "error" not in news and tag == f"{info.name}:{info.version}":
            self._refused = None
            if "why" in self._news:  # the alias moved back, or the registry answers again
                self._news = {"state": "watching", "since": now()}
            return
        try:
            if "error" in news:
                raise RuntimeError(news["error"])
            rater = self._load(tag)
            movies = [Movie(**movie).told() for movie in news["movies"]]
            given = [[a.rating, a.low, a.high] for a in rater.rate(movies, Asked())]
            off = float(np.abs(np.array(given) - np.array(news["answers"])).max())
            if not off <= TOLERANCE:
                raise RuntimeError(f"its answers are off by {off} from the registered model's")
        except Exception as error:
            if "error" not in news:  # what the watcher could not do it tries again itself
                self._pause = min(2 * self._pause, LONGEST_PAUSE) if self._refused else FIRST_PAUSE
                self._refused, self._due = news, time.monotonic() + self._pause
            told = {"state": f"kept {info.version}", "refused": tag, "why": without_passwords(str(error))[:300]}
            if told.items() - self._news.items():  # said once, however often it is tried
                self._news = told | {"since": now()}
                log.error("%s", told)
            return
        self.rater, self._refused = rater, None
        self._news = {"state": "watching", "since": now(), "took over": rater.info.version, "from": info.version}
        log.warning("%s", self._news)


def understood(line: bytes) -> dict[str, Any] | None:
    """Return the news in a line of the watcher's, or None where it holds none: libraries print, too."""
    try:
        news = json.loads(line)
        if isinstance(news, dict) and isinstance(news.get("tag"), str):
            return news
    except (ValueError, RecursionError):
        pass
    if line.strip():
        log.warning("the watcher said what is no news: %s", without_passwords(line[:200].decode(errors="replace")))
    return None
