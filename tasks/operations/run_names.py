"""How flow runs are called in Prefect's UI: what they do, and as of when: "collect tmdb as of 2026-11-25"."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from prefect import runtime

from settings import Settings, get_settings

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
        day = given.get("as_of") or runtime.flow_run.scheduled_start_time.date()
        parts = [what, given.get("source") or _found(source), *_details(given), f"as of {day}"]
        return " ".join(filter(None, parts))

    return name


def _found(source: Callable[[Settings], str] | None) -> str:
    """Return the default source, or nothing where it cannot be found: the flow itself says why."""
    with suppress(Exception):
        return source(get_settings()) if source else ""
    return ""


def _details(given: dict[str, Any]) -> list[str]:
    told = [(DETAILS[name], value) for name, value in given.items() if name in DETAILS and value]
    return [words.format(", ".join(value) if isinstance(value, list) else value) for words, value in told]
