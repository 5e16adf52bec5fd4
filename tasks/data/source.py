"""Where movies come from this time: TMDB with the user's token, or the project's own sample catalogue.

The sample is synthetic. It is served over HTTP by the project's TMDB stand-in, so that the same collector reads both,
and it is kept apart in the store, so that it never mixes with real movies.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal
from prefect.settings import PREFECT_API_URL
from pydantic import SecretStr

from settings import PROJECT, Settings
from tasks.data.catalogue import list_partitions
from tasks.data.shared_rate import SharedRate
from tasks.data.tmdb import RateLimiter, TmdbClient
from tasks.foundation.store import open_store
from tasks.foundation.tether import tethered

Result = TypeVar("Result")
SourceName = Literal["tmdb", "sample"]
RatingsName = Literal["tmdb", "imdb", "sample"]  # whose ratings are learned
SAMPLE_TOKEN = "sample"  # noqa: S105 (the stand-in wants one; it opens nothing)
SAMPLE_RATE = 1000.0  # our own server needs no mercy


@dataclass(frozen=True)
class Source:
    """An address that speaks TMDB's contract."""

    name: SourceName
    base_url: str
    token: SecretStr
    rate: float


def source_to_collect(settings: Settings) -> SourceName:
    """Return "tmdb" where a token is set, else "sample"."""
    return "tmdb" if settings.tmdb_api_token else "sample"


def source_to_learn_from(settings: Settings) -> SourceName:
    """Return "tmdb" where a token is set or TMDB's movies were collected before, else "sample"."""
    if settings.tmdb_api_token or list_partitions(open_store(settings.store_uri), "tmdb"):
        return "tmdb"
    return "sample"


class Tmdb:
    """A source that is open: one client, whose connections are kept, on an event loop of its own."""

    def __init__(self, name: SourceName, client: TmdbClient, portal: BlockingPortal) -> None:
        self.name, self.client, self._portal = name, client, portal

    def run(self, function: Callable[..., Coroutine[Any, Any, Result]], *arguments: Any) -> Result:
        """Call an async function with arguments on the client's loop and wait for its result."""
        result: Result = self._portal.call(function, *arguments)
        return result


@contextmanager
def open_tmdb(name: SourceName, settings: Settings) -> Iterator[Tmdb]:
    """Connect to the source of that name."""
    with _source(name, settings) as source, start_blocking_portal() as portal:
        shared = SharedRate().permit if name == "tmdb" and PREFECT_API_URL.value() else None
        client = TmdbClient(source.base_url, source.token.get_secret_value(), _limiter(source), permit=shared)
        with portal.wrap_async_context_manager(client):
            yield Tmdb(name, client, portal)


_limiters: dict[str, RateLimiter] = {}


def _limiter(source: Source) -> RateLimiter:
    """One limiter for all clients of an address in this process."""
    return _limiters.setdefault(source.base_url, RateLimiter(source.rate))


@contextmanager
def _source(name: SourceName, settings: Settings) -> Iterator[Source]:
    """Yield the address of that name; the sample's server runs while it is open."""
    if name == "tmdb":
        if settings.tmdb_api_token is None:
            raise ValueError("source tmdb needs TMDB_API_TOKEN, a read access token; without one use source sample")
        yield Source("tmdb", settings.tmdb_base_url, settings.tmdb_api_token, settings.tmdb_rate)
        return
    command = tethered(sys.executable, "-m", "sample.tmdb_server", "--port", "0", "--token", SAMPLE_TOKEN)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=PROJECT, stdin=pipe, stdout=pipe, text=True) as server:
        try:
            line = server.stdout.readline() if server.stdout else ""
            if not line.startswith("http://"):
                raise RuntimeError(f"the sample server did not start: {' '.join(command)} exited {server.wait(10)}")
            yield Source("sample", line.strip(), SecretStr(SAMPLE_TOKEN), SAMPLE_RATE)
        finally:
            server.terminate()
