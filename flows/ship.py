"""Bring the champion's service to further targets: `make container-push` is this with the registry.

python -m flows.ship --to registry
"""

from __future__ import annotations

from prefect import flow, get_run_logger

from tasks.operations.command_line import run_from_shell
from tasks.operations.parameters import check_parameters, with_rules
from tasks.operations.run_names import run_name
from tasks.registry.versions import CHAMPION, find
from tasks.release.moving import champion_lock, finish_move
from tasks.release.promoting import ship
from tasks.release.reconciling import require_agreement
from tasks.release.targets.shipment import Target


@flow(name="ship-model", flow_run_name=run_name("ship"))
@with_rules
def ship_model(to: list[Target] = ["registry"]) -> dict[str, str]:  # noqa: B006 (shown in the UI, never edited)
    """Ship the champion's service to targets where it is not yet; return where it lies.

    Args:
        to: where the service goes.
    """
    check_parameters(**locals())
    log = get_run_logger()
    with champion_lock() as held:
        finish_move(held)
        require_agreement()
        shipments = ship(find(CHAMPION), to, held)
    for shipment in shipments:
        log.info("%s: %s", shipment.target, shipment.where)
    return {shipment.target: shipment.where for shipment in shipments}


if __name__ == "__main__":
    for target, where in run_from_shell(ship_model).items():
        print(f"{target:<10}{where}")
