"""A batch: each movie is checked by itself, all that are movies are rated, and answers and errors go back in order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from anyio import CapacityLimiter
from pydantic import ValidationError

from models.movie import Movie
from serving.guard import field_errors
from serving.recording import remember
from serving.schema import Batch, BatchItem, BatchRequest, FieldError

if TYPE_CHECKING:
    from serving.rater import Rater

TURN = CapacityLimiter(1)  # the next one waits, and goes when its time is over


async def rate_batch(rater: Rater, request: BatchRequest, is_gone: Callable[[], Awaitable[bool]]) -> Batch:
    """Rate what can be rated of a batch, and record it, if that is wanted.

    Raises Gone where nobody waits any more.
    """
    from serving.rater import rate_many

    checked = [check(movie) for movie in request.movies]
    movies = [movie for movie in checked if isinstance(movie, dict)]
    async with TURN:
        answers = await rate_many(rater, movies, request, is_gone)
    remember("predict/batch", movies, answers, request)
    told = iter(answers)
    results = [
        one if isinstance(one, BatchItem) else BatchItem.model_construct(prediction=next(told), errors=[])
        for one in checked
    ]
    return Batch.model_construct(results=results, model=rater.info)


def check(given: Any) -> dict[str, Any] | BatchItem:
    """Return a raw movie, or what is wrong with it."""
    try:
        return (given if isinstance(given, Movie) else Movie.model_validate(given)).told()
    except ValidationError as error:
        told = field_errors(error.errors(include_url=False, include_context=False, include_input=False))
        return BatchItem(errors=[FieldError(**one) for one in told])
