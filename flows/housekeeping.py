"""Retire what nobody needs any more: old versions' files, bentos, images, studies, runs and predictions.

python -m flows.housekeeping
"""

from __future__ import annotations

from datetime import date

from prefect import flow

from tasks.operations.command_line import run_from_shell
from tasks.operations.parameters import check_parameters, with_rules
from tasks.operations.retention import retire
from tasks.operations.run_names import day_of_run, run_name


@flow(name="housekeeping", flow_run_name=run_name("tidy up"))
@with_rules
def keep_house(as_of: date | None = None) -> dict[str, int]:
    """Retire what is old; what a rollback may need stays. tasks/operations/retention.py says what goes when.

    Args:
        as_of: the day that ages are counted from; default, and the latest: the scheduled date.
    """
    check_parameters(**locals())
    today = day_of_run()
    return retire(min(as_of or today, today))


if __name__ == "__main__":
    print(run_from_shell(keep_house))
