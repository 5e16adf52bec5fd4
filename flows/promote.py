"""Compare the challenger with the champion, build and try its service, ship it, and only then move the alias.

python -m flows.promote --ship-to bento registry
python -m flows.promote --adopt      or --restore: where the alias was moved by hand
"""

from __future__ import annotations

from typing import Any

from prefect import flow, get_run_logger

from models.promotion import Gate
from tasks.foundation.lease import Taken
from tasks.operations.command_line import run_from_shell
from tasks.operations.parameters import check_parameters, with_rules
from tasks.operations.run_names import run_name
from tasks.registry.versions import CHALLENGER, current_champion, find
from tasks.release.moving import champion_lock, finish_move
from tasks.release.promoting import approved, compare, promote, ship
from tasks.release.reconciling import adopt as adopt_alias
from tasks.release.reconciling import require_agreement
from tasks.release.reconciling import restore as restore_alias
from tasks.release.targets.bento import build_bento, try_bento
from tasks.release.targets.probing import LATENCY_MS
from tasks.release.targets.shipment import Target


@flow(name="promote-model", flow_run_name=run_name("promote"))
@with_rules
def promote_model(
    version: int | None = None,
    ship_to: list[Target] = ["bento"],  # noqa: B006 (a default that the UI shows and nobody edits)
    require_approval: bool = False,
    confidence: float = 0.95,
    segment_margin: float = 0.05,
    coverage_margin: float = 0.03,
    interval_margin: float = 0.05,
    refresh_days: int = 30,
    refresh_margin: float = 0.03,
    latency_ms: float = LATENCY_MS,
    adopt: bool = False,
    restore: bool = False,
) -> dict[str, Any]:
    """Make a version champion if it is truly better, or knows more and is not worse, and ship its service.

    The champion itself is only shipped. What an earlier run began to move is finished, and nothing else is done then.

    Args:
        version: number in the registry; default: the one with the alias challenger.
        ship_to: where its service goes.
        require_approval: whether a person must approve in the Prefect UI before anything moves.
        confidence: that it is better than the champion, over all challengers of a champion together.
        segment_margin: how much worse than the champion it may be in a segment, by RMSE.
        coverage_margin: how far below their level its intervals may truly lie.
        interval_margin: by which share its interval score may be worse than the champion's.
        refresh_days: a champion that learned nothing for so many days is replaced by one that is not worse.
        refresh_margin: how much worse that one may be at most, by RMSE.
        latency_ms: within which nine golden requests of ten must be answered.
        adopt: make the ledger agree with an alias that was moved by hand, and do nothing else.
        restore: bring an alias that was moved by hand back to what the ledger says, and do nothing else.
    """
    check_parameters(**locals())
    log = get_run_logger()
    gate = Gate(confidence, segment_margin, coverage_margin, interval_margin, refresh_days, refresh_margin)
    try:
        with champion_lock() as held:
            moved = finish_move(held)
            if not moved and (adopt or restore):
                moved = adopt_alias(held) if adopt else restore_alias(held)
            if moved:
                return {
                    "version": moved.to,
                    "promoted": moved.event in ("promoted", "refreshed"),
                    "reason": f"{moved.event}: {moved.reason}",
                    "shipped": [shipment.where for shipment in moved.shipments],
                }
            require_agreement()
            challenger, champion = find(str(version or CHALLENGER)), current_champion()
            verdict = compare(challenger, champion, gate)
            log.info("%s: %s", challenger.label, verdict.reason)
            news: dict[str, Any] = {"version": challenger.number, "promoted": verdict.promote, "reason": verdict.reason}
            if champion and champion.number == challenger.number:
                return news | {"shipped": [s.where for s in ship(champion, ship_to, held)]}
            if not verdict.promote:
                return news | {"shipped": []}
            try_bento(challenger, build_bento(challenger), latency_ms)
        if require_approval and not approved(challenger, verdict.reason):
            return news | {"promoted": False, "reason": "a person declined", "shipped": []}
        with champion_lock() as held:
            record = promote(challenger, champion, verdict, ship_to, held)
    except Taken as taken:
        log.warning("nothing was done: %s", taken)
        return {"promoted": False, "reason": str(taken), "shipped": []}
    return news | {"shipped": [shipment.where for shipment in record.shipments]}


if __name__ == "__main__":
    print(run_from_shell(promote_model))
