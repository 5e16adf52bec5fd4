"""Compare the challenger with the champion, build and try its service, ship it, and only then move the alias.

python -m flows.promote --ship-to bento registry
"""

from __future__ import annotations

from typing import Any

from prefect import flow, get_run_logger

from models.promotion import Gate
from tasks.bento import build_bento, try_bento
from tasks.command_line import run_from_shell
from tasks.ledger import Target
from tasks.probing import LATENCY_MS
from tasks.promoting import alone, approved, compare, finish_move, promote, ship
from tasks.registry import CHALLENGER, current_champion, find


@flow(name="promote-model")
def promote_model(
    version: int | None = None,
    ship_to: list[Target] = ["bento"],  # noqa: B006 (a default that the UI shows and nobody edits)
    require_approval: bool = False,
    confidence: float = 0.95,
    slice_margin: float = 0.05,
    coverage_margin: float = 0.03,
    latency_ms: float = LATENCY_MS,
) -> dict[str, Any]:
    """Make a version champion if it is truly better, and ship its service; the champion itself is only shipped.

    version: number in the registry; default: the one with the alias challenger.
    ship_to: bento, s3, image, registry, ecs, compose: where its service goes.
    require_approval: whether a person must approve in the Prefect UI before anything moves.
    confidence: share of resamplings in which it must beat the champion and every baseline, 0.5 to 1.
    slice_margin: how much worse than the champion it may be in a large slice, rating points of RMSE.
    coverage_margin: how far below their level its intervals may truly lie, 0 to 0.5.
    latency_ms: within which nine golden requests of ten must be answered.
    """
    log, gate = get_run_logger(), Gate(confidence, slice_margin, coverage_margin)
    with alone() as other:
        if other:
            return {"promoted": False, "reason": f"the champion is being moved by {other}"}
        finish_move()
        challenger, champion = find(str(version or CHALLENGER)), current_champion()
        verdict = compare(challenger, champion, gate)
        log.info("%s: %s", challenger.label, verdict.reason)
        news: dict[str, Any] = {"version": challenger.number, "promoted": verdict.promote, "reason": verdict.reason}
        if champion and champion.number == challenger.number:
            return news | {"shipped": [s.where for s in ship(champion, ship_to)]}
        if not verdict.promote:
            return news | {"shipped": []}
        try_bento(challenger, build_bento(challenger), latency_ms)
    if require_approval and not approved(challenger, verdict.reason):
        return news | {"promoted": False, "reason": "a person declined", "shipped": []}
    with alone() as other:
        if other:
            return news | {"promoted": False, "reason": f"the champion is being moved by {other}"}
        record = promote(challenger, champion, verdict, ship_to)
    return news | {"shipped": [shipment.where for shipment in record.shipments]}


if __name__ == "__main__":
    print(run_from_shell(promote_model))
