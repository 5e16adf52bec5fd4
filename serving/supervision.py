"""Threads in the background that nobody waits for: each is seen while it lives, and started again when it ends.

What became of them stands in `/ready` and in the metrics. An error is told by its type and place, never by its words,
which may hold an address with its password.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prometheus_client import Counter, Gauge

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 300.0  # seconds
# The value of the process that set it last: a worker that was started again speaks for the one that was killed.
UP = Gauge(
    "premiere_thread_up", "1 while a thread runs, 0 while it waits to", ["thread"], multiprocess_mode="mostrecent"
)
RESTARTS = Counter("premiere_thread_restarts", "How often a thread ended and was started again", ["thread"])
log = logging.getLogger("premiere")


class Supervised:
    """Runs a function for ever, in a daemon thread: when it raises or returns, once more after a growing pause."""

    def __init__(self, name: str, function: Callable[[], object]) -> None:
        self.name, self._function = name, function
        self._restarts, self._error = 0, ""
        self._stand = "not started", now()
        RESTARTS.labels(name)  # at 0 from the start

    @property
    def state(self) -> dict[str, Any]:
        """In which state it is since when, how often it was started again, and the last error."""
        state, since = self._stand
        return {"state": state, "since": since, "restarts": self._restarts, "error": self._error or None}

    @property
    def up(self) -> bool:
        """Whether the function runs."""
        return self._stand[0] == "up"

    def start(self) -> None:
        """Run the function from now on."""
        self._turn("up")
        threading.Thread(target=self._run, name=self.name, daemon=True).start()

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while True:
            began = time.monotonic()
            try:
                self._function()
                self._error = "it ended"
            except BaseException as error:  # SystemExit, too, would end a thread without a word
                self._error = place(error)
            if time.monotonic() - began > LONGEST_PAUSE:  # it did well before
                pause = FIRST_PAUSE
            self._turn("down")
            log.error("thread %s: %s; it is started again in %.0f s", self.name, self._error, pause)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            self._restarts += 1
            RESTARTS.labels(self.name).inc()
            self._turn("up")

    def _turn(self, state: str) -> None:
        self._stand = state, now()
        UP.labels(self.name).set(state == "up")


def now() -> str:
    """Return the time, for people."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def place(error: BaseException) -> str:
    """Return an error's type and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {frames[-1].name}, line {frames[-1].lineno} of {Path(frames[-1].filename).name}" if frames else ""
    return f"{type(error).__name__}{where}"
