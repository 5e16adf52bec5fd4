"""What this process keeps in the warehouse: its predictions, and the feedback on them. None of it is needed to answer.

A bento has no folder to keep things in: it is built anew and deleted. `settings.py` gives it one in its user's home,
which the log names.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from anyio.to_thread import run_sync
from starlette.responses import Response

from serving.guard import refusal
from serving.schema import Asked, FeedbackAnswer, Prediction
from settings import get_settings, make_room, without_secrets

if TYPE_CHECKING:
    from serving.rater import Rater
    from serving.recorder import Recorder

CLOSE_SECONDS = 5  # Docker gives ten
log = logging.getLogger("premiere")


@lru_cache
def recorder() -> Recorder | None:
    """Return what remembers predictions, or None where that is switched off."""
    from serving.recorder import Recorder

    settings = get_settings()
    if not settings.record_predictions:
        return None
    url = settings.warehouse_url.get_secret_value()
    try:
        log.warning("predictions are recorded in %s", without_secrets(make_room(url, "WAREHOUSE_URL")))
    except OSError as error:  # answers do without; what is lost is counted
        log.error("predictions are not recorded: %s", error)
    return Recorder(url)


def rate(rater: Rater, route: str, movie: dict[str, Any], asked: Asked) -> Prediction:
    """Rate a raw movie, and record the answer, if that is wanted."""
    answers = rater.rate([movie], asked)
    remember(route, [movie], answers, asked)
    return answers[0]


def remember(route: str, movies: list[dict[str, Any]], answers: list[Prediction], asked: Asked) -> None:
    """Record answers, if that is wanted."""
    kept = recorder()
    if kept and asked.record:
        kept.predicted(route, movies, answers)


async def keep_feedback(prediction: str, rating: float) -> FeedbackAnswer | Response:
    """Keep what a prediction came to, or say why not."""
    from sqlalchemy.exc import SQLAlchemyError

    kept = recorder()
    if not kept:
        return FeedbackAnswer(recorded=False)
    try:
        if await run_sync(kept.voted, prediction, rating):
            return FeedbackAnswer(recorded=True)
    except SQLAlchemyError as error:
        return no_warehouse("feedback is lost", error)
    return refusal(404, "id", "is of no prediction that was recorded", 'send the "id" of an answer, as it came')


def no_warehouse(what: str, error: Exception) -> Response:
    """Log an error of the database, and return what to answer."""
    from serving.supervision import place

    log.error("%s: %s", what, place(error))
    remedy = "try again later, or see to the database of WAREHOUSE_URL"
    return refusal(503, "warehouse", "does not answer", remedy)


def write_the_last() -> None:
    """Write what was predicted last, before the process ends."""
    kept = recorder()
    if kept:
        kept.flush(CLOSE_SECONDS)
