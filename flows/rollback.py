"""Go back to the champion before this one, wherever it was shipped, by digest and without building.

python -m flows.rollback --reason "errors in production"
"""

from __future__ import annotations

from prefect import flow, get_run_logger

from tasks.command_line import run_from_shell
from tasks.promoting import alone, finish_move, roll_back


@flow(name="rollback-model")
def rollback_model(reason: str = "") -> dict[str, str | int | list[str] | None]:
    """Make the champion before this one champion again everywhere; this one is never promoted again.

    reason: why, for the ledger.
    """
    with alone() as other:
        if other:
            raise RuntimeError(f"the champion is being moved by {other}: wait for it, or cancel that run")
        finish_move()
        record = roll_back(reason)
    get_run_logger().info("rolled back from v%s to v%s", record.previous, record.to)
    return {"version": record.to, "from": record.previous, "shipped": [s.where for s in record.shipments]}


if __name__ == "__main__":
    print(run_from_shell(rollback_model))
