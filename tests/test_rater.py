"""A batch is rated in parts, beside the event loop, and its work ends when nobody waits for it any more."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from serving.rater import AT_ONCE, EXPLAINED_AT_ONCE, Gone, rate_many
from serving.schema import Asked

MOVIES = [{"title": str(n)} for n in range(1000)]


class Slow:
    """A rater that takes its time, and says how many it rated at once."""

    def __init__(self) -> None:
        self.rated: list[int] = []

    def rate(self, movies: list[Any], asked: Asked) -> list[Any]:
        self.rated.append(len(movies))
        time.sleep(0.05)
        return movies


async def here() -> bool:
    return False


@pytest.mark.parametrize(
    ("asked", "at_once"),
    [(Asked(), AT_ONCE), (Asked(reasons=True), EXPLAINED_AT_ONCE), (Asked(similar=1), EXPLAINED_AT_ONCE)],
)
def test_a_batch_is_rated_in_parts_and_in_order(asked: Asked, at_once: int) -> None:
    rater: Any = Slow()
    assert asyncio.run(rate_many(rater, MOVIES, asked, here)) == MOVIES
    assert rater.rated == [at_once] * (len(MOVIES) // at_once)


def test_a_batch_whose_time_is_over_rates_no_further_part() -> None:
    rater: Any = Slow()

    async def run() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(rate_many(rater, MOVIES, Asked(reasons=True), here), 0.12)
        await asyncio.sleep(0.3)

    asyncio.run(run())
    assert 1 <= len(rater.rated) <= 3


def test_a_batch_whose_sender_has_left_rates_no_further_part() -> None:
    rater: Any = Slow()

    async def left() -> bool:
        return len(rater.rated) == 2

    with pytest.raises(Gone):
        asyncio.run(rate_many(rater, MOVIES, Asked(reasons=True), left))
    assert len(rater.rated) == 2
