"""A new champion without a restart: watched from a process of its own, loaded aside, tried, and taken over in one step.

The watcher (`python -m tasks.follow`, in the project's checkout) knows MLflow; this process does not. It says of each
new champion where it lies in BentoML's store and what it answers to golden movies.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from models.movie import Movie
from serving.rater import Rater
from serving.schema import Asked
from settings import get_settings

TOLERANCE = 1e-5  # rating points
log = logging.getLogger("premiere")


class Follower:
    """Holds the rater that answers. A request takes it once, so none mixes two versions."""

    def __init__(self, rater: Rater, load: Callable[[str], Rater]) -> None:
        self.rater, self._load = rater, load
        self.state: dict[str, str] = {"state": "baked in: nothing is watched"}

    def start(self) -> None:
        """Watch the registry from now on."""
        self.state = {"state": "watching"}
        threading.Thread(target=self._watch, name="follower", daemon=True).start()

    def _watch(self) -> None:
        command = [sys.executable, "-m", "tasks.follow", "--serving", self.rater.info.version]
        home = str(get_settings().project_home)
        with subprocess.Popen(command, cwd=home, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as watcher:
            assert watcher.stdout
            for line in watcher.stdout:
                self.take(json.loads(line))
        self.state = {"state": "the watcher ended; the present version stays"}
        log.error(self.state["state"])

    def take(self, news: dict[str, Any]) -> None:
        """Load what the watcher found, try it, and swap; on any failure the old version stays and says why."""
        try:
            if "error" in news:
                raise RuntimeError(news["error"])
            rater = self._load(news["tag"])
            movies = [Movie(**movie).facts() for movie in news["movies"]]
            given = [[a.rating, a.low, a.high] for a in rater.rate(movies, Asked())]
            off = float(np.abs(np.array(given) - np.array(news["answers"])).max())
            if not off <= TOLERANCE:
                raise RuntimeError(f"its answers are off by {off} from the registered model's")
        except Exception as error:
            kept, refused = f"kept {self.rater.info.version}", str(news.get("tag", ""))
            self.state = {"state": kept, "refused": refused, "why": str(error)[:300]}
            log.error("%s", self.state)
            return
        before, self.rater = self.rater.info.version, rater
        self.state = {"state": "watching", "took over": rater.info.version, "from": before}
        log.warning("%s", self.state)
