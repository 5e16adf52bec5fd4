"""Predict what comes out in the next twelve months, every day anew; earlier days' lists stay.

python -m flows.predict_upcoming
"""

from __future__ import annotations

from datetime import date

from prefect import flow, get_run_logger

from settings import get_settings
from tasks.data.source import SourceName, source_to_learn_from
from tasks.operations.command_line import run_from_shell
from tasks.operations.parameters import check_parameters, with_rules
from tasks.operations.run_names import day_of_run, run_name
from tasks.operations.upcoming import coming, keep, score, show
from tasks.registry.versions import CHAMPION, find
from tasks.release.reconciling import differences


@flow(name="predict-upcoming", flow_run_name=run_name("predict", source_to_learn_from))
@with_rules
def predict_upcoming(source: SourceName | None = None, as_of: date | None = None) -> dict[str, str | int]:
    """Score every movie of the store that comes out within twelve months with the champion.

    Args:
        source: tmdb or sample; default: tmdb where a token is set or its movies were collected.
        as_of: the day to look ahead from; default: the scheduled date.
    """
    check_parameters(**locals())
    source = source or source_to_learn_from(get_settings())
    today = as_of or day_of_run()
    champion = find(CHAMPION)
    for difference in differences():
        get_run_logger().warning("%s: python -m flows.promote says what to do", difference)
    rows = score(coming(source, today), champion, source, today)
    key = keep(rows, source, today)
    show(rows, source)
    return {"movies": len(rows), "model": champion.label, "key": key}


if __name__ == "__main__":
    print(run_from_shell(predict_upcoming))
