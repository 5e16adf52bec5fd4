"""The ledger: what was promoted, refused, shipped and rolled back, by whom, when and why. Records are only ever added.

Each record is a file of its own in the store, in the order of time. A `moving` record is written before anything that
users see changes, with all that is needed to change it: a run that was killed half-way is finished from there. A
champion was promoted (truly better), refreshed (not worse, and knows more), adopted (an alias that a person moved), or
came back (rolled back, restored).

    python -m tasks.release.ledger                     all records
    python -m tasks.release.ledger --on 2026-11-21     what was in production at the end of that day (UTC)
"""

from __future__ import annotations

import argparse
import getpass
import re
import sys
import uuid
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any, Literal

from prefect import runtime
from prefect.artifacts import create_table_artifact
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from models.comparing import count_looks
from settings import get_settings
from tasks.foundation.alerts import alert
from tasks.foundation.run_log import log
from tasks.foundation.store import open_store
from tasks.release.targets.shipment import Shipment, Target

Event = Literal[
    "moving", "promoted", "refreshed", "rejected", "shipped", "rolled back", "adopted", "restored", "failed"
]
MADE = ("promoted", "refreshed", "rolled back", "adopted", "restored")  # what makes a champion
ENDS = (*MADE, "failed")  # of a move
FOLDER = "ledger/"
COPIED = 50  # records that were read one by one before the copy is renewed
_NAME = re.compile(r"\d{4}-\d\d-\d\dT\d{6}\.\d{6}Z-[0-9a-f]{8}\.json$")


class Entry(BaseModel):
    """One line of the ledger."""

    model_config = ConfigDict(frozen=True)
    event: Event
    at: datetime
    by: str  # the flow run, or the person at the shell
    model: str
    to: int | None = None  # version that it is about
    previous: int | None = None  # champion before
    reason: str = ""
    ends_as: Event | None = None  # of a moving record: what it becomes when it is done
    sha256: str = ""
    fence: int = 0  # number of the lease under which it moved
    run: str = ""  # id of the flow run
    figures: dict[str, float] = {}
    shipments: list[Shipment] = []


_COPY = TypeAdapter(dict[str, Entry])


def add(event: Event, **facts: Any) -> Entry:
    """Add a record to the ledger and return it."""
    facts = {"run": str(runtime.flow_run.id or "")} | facts
    record = Entry(event=event, at=datetime.now(UTC), by=_author(), model=get_settings().model_name, **facts)
    key = f"{FOLDER}{record.model}/{record.at:%Y-%m-%dT%H%M%S.%fZ}-{uuid.uuid4().hex[:8]}.json"
    open_store(get_settings().store_uri).write(key, record.model_dump_json(indent=1).encode())
    if event != "moving":
        alert(words(record))
    return record


def words(record: Entry) -> str:
    """Return a record in words: movie-rating v7 was promoted (champion before: v5): it is better by 0.02 …"""
    version = f"{record.model} v{record.to}" if record.to else f"{record.model}: nobody"
    before = f" (champion before: v{record.previous})" if record.previous and record.event in MADE else ""
    done = "failed to move" if record.event == "failed" else f"was {record.event}"
    if record.event == "rolled back":
        done = "is champion again, by a rollback"
    where = f" [{', '.join(s.where for s in record.shipments)}]" if record.event == "shipped" else ""
    return f"{version} {done}{before}{where}" + (f": {record.reason}" if record.reason else "")


def read() -> list[Entry]:
    """Return all records of the model, oldest first."""
    store = open_store(get_settings().store_uri)
    copy = f"ledger-copy/{get_settings().model_name}.json"  # records never change: what was read once stands there
    try:
        known = _COPY.validate_json(store.read(copy))
    except (FileNotFoundError, ValidationError):
        known = {}
    records, new = {}, 0
    for key in store.keys(f"{FOLDER}{get_settings().model_name}/"):
        if not _NAME.match(Path(key).name):
            log().warning("%s/%s is no record of the ledger and is passed over", store.uri, key)
        elif key in known:
            records[key] = known[key]
        else:
            try:
                records[key], new = Entry.model_validate_json(store.read(key)), new + 1
            except ValidationError as error:
                log().warning("%s/%s cannot be read and is passed over: %s", store.uri, key, error.errors()[0]["msg"])
    if new >= COPIED:
        try:
            store.write(copy, _COPY.dump_json(records))
        except Exception as error:  # it only makes the next reading faster
            log().warning("the copy of the ledger could not be renewed: %s", error)
    return list(records.values())


def unfinished(records: list[Entry]) -> Entry | None:
    """Return the move that was begun and neither finished nor given up."""
    moves = [r for r in records if r.event in ("moving", *ENDS)]
    return moves[-1] if moves and moves[-1].event == "moving" else None


def champions(records: list[Entry]) -> list[int]:
    """Return the versions that lead to the present champion, oldest first; a rollback takes the last ones away."""
    path: list[int] = []
    for record in records:
        if record.event == "adopted" and record.to is None:
            path = []  # nobody was champion any more
        elif record.event == "rolled back" or (record.event == "adopted" and record.to in path):
            assert record.to is not None
            path = path[: path.index(record.to) + 1] if record.to in path else [record.to]
        elif record.to is not None and record.event in MADE:
            path = [number for number in path if number != record.to] + [record.to]
    return path


def looks(records: list[Entry], champion: int, challenger: int) -> int:
    """Return which comparison with a champion that of a challenger is, from 1: each challenger counts once."""
    refused = [(r.to, r.figures) for r in records if r.event == "rejected" and r.previous == champion and r.to]
    return count_looks(refused, challenger)


def shipments(records: list[Entry], version: int) -> dict[Target, Shipment]:
    """Return where a version was shipped, the newest for each target."""
    return {s.target: s for r in records if r.to == version and r.event in (*ENDS, "shipped") for s in r.shipments}


def in_production(records: list[Entry], at: datetime) -> Entry | None:
    """Return the record that made the champion of a moment, or None where there was none."""
    moves = [r for r in records if r.event in MADE and r.at <= at]
    return moves[-1] if moves else None


def show() -> None:
    """Put the ledger into the Prefect UI, newest first; a move is done without it, too."""
    try:
        create_table_artifact(
            key="ledger", table=rows(read())[::-1], description="Everything that was done to the champion"
        )
    except Exception as error:
        log().warning("the ledger could not be shown: %s", error)


def rows(records: list[Entry]) -> list[dict[str, str]]:
    """Return records as a table; unfinished moves are the run's own business."""
    return [
        {
            "at": f"{r.at:%Y-%m-%d %H:%M:%S}",
            "event": r.event,
            "version": f"v{r.to}" if r.to else "",
            "before": f"v{r.previous}" if r.previous else "",
            "by": r.by,
            "shipped": " ".join(f"{s.target}={s.where}" for s in r.shipments),
            "reason": r.reason,
        }
        for r in records
        if r.event != "moving" or r is unfinished(records)
    ]


def _author() -> str:
    run = runtime.flow_run.name
    return f"{runtime.flow_run.flow_name}/{run}" if run else f"{getpass.getuser()} at the shell"


def main(argv: list[str] | None = None) -> int:
    """Print the ledger, or what was in production on a day."""
    parser = argparse.ArgumentParser(description="The ledger of promotions, shipments and rollbacks")
    parser.add_argument("--on", type=date.fromisoformat, help="a day, YYYY-MM-DD: what was in production at its end")
    day = parser.parse_args(argv).on
    records = read()
    if day:
        record = in_production(records, datetime.combine(day, time.max, UTC))
        if record is None:
            print(f"nothing was in production on {day}")
            return 1
        records = [record]
    for row in rows(records):
        print("  ".join(value for value in row.values() if value))
    return 0


if __name__ == "__main__":
    sys.exit(main())
