"""How flow runs are called in Prefect's UI: what they do, and as of when: "collect tmdb as of 2026-11-25"."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import date
from typing import Any

from prefect import runtime

from settings import Settings, get_settings

_DAY: ContextVar[date | None] = ContextVar("day of the outermost run", default=None)
# How a parameter is told that says what a run does; the others say how.
DETAILS = {
    "version": "v{}",
    "leave": "v{}",
    "to": "to {}",
    "start": "from {}",
    "end": "until {}",
    "years": "of {} years",
    "adopt": "(adopt)",
    "restore": "(restore)",
}


def run_name(what: str, source: Callable[[Settings], str] | None = None) -> Callable[[], str]:
    """Return the naming of a flow's runs: `what`, its source, which `source` finds where none is given, and its day."""

    def name() -> str:
        given = runtime.flow_run.parameters
        day = given.get("as_of") or day_of_run()
        parts = [what, given.get("source") or _found(source), *_details(given), f"as of {day}"]
        return " ".join(filter(None, parts))

    return name


@contextmanager
def steps_of(day: date) -> Iterator[None]:
    """Let the runs that are begun in the block be of a day: Prefect gives a step the moment at which it begins."""
    before = _DAY.set(day)
    try:
        yield
    finally:
        _DAY.reset(before)


def day_of_run() -> date:
    """Return the day that a run is for: its scheduled date, or that of the run that it is a step of."""
    scheduled = runtime.flow_run.scheduled_start_time
    return _DAY.get() or date(scheduled.year, scheduled.month, scheduled.day)


def _found(source: Callable[[Settings], str] | None) -> str:
    """Return the default source, or nothing where it cannot be found: the flow itself says why."""
    with suppress(Exception):
        return source(get_settings()) if source else ""
    return ""


def _details(given: dict[str, Any]) -> list[str]:
    told = [(DETAILS[name], value) for name, value in given.items() if name in DETAILS and value]
    return [words.format(", ".join(value) if isinstance(value, list) else value) for words, value in told]
