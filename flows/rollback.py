"""Go back to the champion before this one, wherever it was shipped, by digest and without building.

python -m flows.rollback --reason "errors in production"
"""

from __future__ import annotations

from prefect import flow, get_run_logger

from tasks.operations.command_line import run_from_shell
from tasks.operations.parameters import check_parameters, with_rules
from tasks.operations.run_names import run_name
from tasks.release.moving import champion_lock, finish_move
from tasks.release.promoting import roll_back
from tasks.release.reconciling import require_agreement


@flow(name="rollback-model", flow_run_name=run_name("roll back"))
@with_rules
def rollback_model(reason: str = "", leave: int | None = None) -> dict[str, str | int | list[str] | None]:
    """Make the champion before this one champion again everywhere; this one is never promoted again.

    What an earlier run began to move is finished, and nothing else is done then. Raises where somebody else moves the
    champion, and where the alias was moved by hand.

    Args:
        reason: why, for the ledger.
        leave: number of the version to leave; once it is left, the same command again changes nothing.
    """
    check_parameters(**locals())
    log = get_run_logger()
    with champion_lock() as held:
        record = finish_move(held)
        if record:
            log.warning("an earlier run had begun to move to v%s, which is finished; nothing else was done", record.to)
        else:
            require_agreement()
            record = roll_back(reason, held, leave)
    log.info("%s: v%s, before it v%s", record.event, record.to, record.previous)
    return {"version": record.to, "from": record.previous, "shipped": [s.where for s in record.shipments]}


if __name__ == "__main__":
    print(run_from_shell(rollback_model))
