"""How flow runs are called in Prefect's UI: what they do, and as of when: "collect tmdb as of 2026-11-25"."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import date
from typing import Any
from uuid import UUID

from prefect import get_client, runtime

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
        day = given.get("as_of") or day_of_run()
        parts = [what, given.get("source") or _found(source), *_details(given), f"as of {day}"]
        return " ".join(filter(None, parts))

    return name


def day_of_run() -> date:
    """Return the day that a run is for: its scheduled date, or that of the run that it is a step of."""
    parent = runtime.flow_run.parent_flow_run_id
    if parent:
        with get_client(sync_client=True) as client:
            expected = client.read_flow_run(UUID(parent)).expected_start_time
            if expected:
                return date.fromisoformat(f"{expected:%Y-%m-%d}")
    return date.fromisoformat(f"{runtime.flow_run.scheduled_start_time:%Y-%m-%d}")


def _found(source: Callable[[Settings], str] | None) -> str:
    """Return the default source, or nothing where it cannot be found: the flow itself says why."""
    with suppress(Exception):
        return source(get_settings()) if source else ""
    return ""


def _details(given: dict[str, Any]) -> list[str]:
    told = [(DETAILS[name], value) for name, value in given.items() if name in DETAILS and value]
    return [words.format(", ".join(value) if isinstance(value, list) else value) for words, value in told]
