"""One rate for all runs that ask TMDB at once: a concurrency limit of the Prefect server, whose slots decay.

`make deploy` makes it. Permits are taken by the dozen, so that a run asks the server twice a second and not for every
request. Without a server, or without the limit, each process keeps to its own rate.
"""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

from prefect import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate
from prefect.concurrency.asyncio import rate_limit
from prefect.exceptions import ObjectNotFound

from tasks.foundation.run_log import log

NAME, AT_ONCE = "tmdb", 20


class SharedRate:
    """Permits for requests, shared with all runs of a Prefect server."""

    def __init__(self, name: str = NAME, at_once: int = AT_ONCE) -> None:
        self.name, self.at_once = name, at_once
        self._left, self._away = 0, False
        # Each task has a loop of its own, and a lock belongs to one.
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    async def permit(self) -> None:
        """Return when one more request may be sent. A server that does not answer is said once, and goes unasked."""
        async with self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            if self._left == 0 and not self._away:
                try:
                    await rate_limit(self.name, occupy=self.at_once)
                except Exception as error:
                    self._away = True
                    log().warning("the shared rate %s cannot be asked for, this run keeps to its own: %s", NAME, error)
                self._left = self.at_once
            self._left -= not self._away


def make_shared_rate(rate: float, name: str = NAME) -> None:
    """Create the limit on the Prefect server, or bring it to a rate, in requests a second."""

    async def make() -> None:
        facts = {"name": name, "limit": max(round(rate), AT_ONCE), "slot_decay_per_second": rate}
        async with get_client() as client:
            try:
                await client.update_global_concurrency_limit(name, GlobalConcurrencyLimitUpdate.parse_obj(facts))
            except ObjectNotFound:
                await client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate.parse_obj(facts))

    asyncio.run(make())
