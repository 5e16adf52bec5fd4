"""Move the champion: what was decided is carried out once and for all, wherever it was shipped.

A move (a promotion or a rollback) is written into the ledger with its shipments before anything that users see changes.
So a run that is killed half-way is finished by the next one, which then stops: a command that is repeated after a crash
does one thing. A target that fails takes all others back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from prefect import runtime

from models.promotion import Verdict
from settings import get_settings
from tasks.foundation.lease import Lease, Lost, Taken, lease
from tasks.foundation.run_log import log
from tasks.foundation.store import open_store
from tasks.registry import versions as registry
from tasks.registry.versions import CHAMPION, Version
from tasks.release import ledger
from tasks.release.ledger import Entry, Event
from tasks.release.shipping import activate, prepare, with_needed
from tasks.release.targets.shipment import Shipment, Target


@contextmanager
def champion_lock() -> Iterator[Lease]:
    """Hold the right to move the champion while the block runs. Raises Taken, with who has it, where somebody else has.

    Before each step that others see, `Lease.check` says whether it is still ours.
    """
    settings, run = get_settings(), runtime.flow_run
    try:
        with lease(open_store(settings.store_uri), settings.model_name, f"{run.flow_name}/{run.name}") as held:
            yield held
    except Taken as taken:
        raise Taken(f"the champion is being moved by {taken}: wait for it, or cancel that run") from None


def begin_move(
    version: Version,
    previous: int | None,
    ends_as: Event,
    reason: str,
    shipments: Sequence[Shipment],
    held: Lease,
    verdict: Verdict | None = None,
) -> Entry:
    """Write a move into the ledger and carry it out."""
    held.check()
    intent = ledger.add(
        "moving", to=version.number, previous=previous, reason=reason, sha256=version.tags["sha256"], ends_as=ends_as,
        figures=verdict.figures if verdict else {}, shipments=list(shipments), fence=held.number,
    )  # fmt: skip
    return move(intent, held)


def prepare_all(version: Version, ship_to: Sequence[Target]) -> list[Shipment]:
    """Prepare a version for targets, and for those that they need; nothing that is in use changes."""
    shipped: dict[Target, Shipment] = {}
    for target in with_needed(ship_to):
        shipped[target] = prepare(version, target, shipped)
    return list(shipped.values())


def move(intent: Entry, held: Lease) -> Entry:
    """Carry out a move of the ledger. Again, it changes nothing. Where a target fails, all go back and it raises.

    Where the lease is lost it stops where it is: who holds it now finishes the move.
    """
    assert intent.to is not None
    assert intent.ends_as
    before = ledger.shipments(ledger.read(), intent.previous) if intent.previous else {}
    facts = intent.model_dump(exclude={"event", "at", "by", "model", "ends_as", "fence"}) | {"fence": held.number}
    try:
        version = registry.find(str(intent.to))
    except LookupError as error:  # gone; a registry that does not answer is another error, and the move waits
        _give_up(intent, facts, str(error))
        raise
    touched: list[Shipment] = []
    try:
        for shipment in intent.shipments:
            held.check()
            touched.append(shipment)
            activate(shipment)
    except Lost:
        raise
    except Exception as error:
        for shipment in touched:
            if shipment.target in before:
                held.check()
                activate(before[shipment.target])
        stays = [shipment.where for shipment in touched[:-1] if shipment.target not in before]
        _give_up(intent, facts, f"{error}" + (f"; still there: {', '.join(stays)}" if stays else ""))
        raise
    held.check()
    if intent.ends_as == "rolled back" and intent.previous:
        stamp = {"rolled_back": f"{intent.at:%Y-%m-%d %H:%M:%S}"}
        registry.tag_version(registry.find(str(intent.previous)), stamp)
    registry.tag_version(version, {"promoted_at": intent.at.isoformat(), "promotion": intent.reason})
    registry.set_alias(CHAMPION, version)
    record = ledger.add(intent.ends_as, **facts)
    ledger.show()
    return record


def _give_up(intent: Entry, facts: dict[str, Any], why: str) -> None:
    ledger.add("failed", **facts | {"reason": f"{intent.ends_as} given up: {why}"[:500], "shipments": []})
    ledger.show()


def finish_move(held: Lease) -> Entry | None:
    """Finish what an earlier run began to move and did not live to finish; return it, or None if there was nothing."""
    intent = ledger.unfinished(ledger.read())
    if intent is None:
        return None
    log().warning("finishing the move to v%s that %s began at %s", intent.to, intent.by, intent.at)
    return move(intent, held)
