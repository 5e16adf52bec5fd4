"""Where movies come from this time: TMDB with the user's token, or the project's own sample catalogue.

The sample is synthetic. It is served over HTTP by the project's TMDB stand-in, so that the same collector reads both,
and it is kept apart in the store, so that it never mixes with real movies.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Literal

from prefect.settings import PREFECT_API_URL
from pydantic import SecretStr

from settings import PROJECT, Settings
from tasks.data.shared_rate import SharedRate
from tasks.data.tmdb import RateLimiter, TmdbClient
from tasks.foundation.store import open_store
from tasks.foundation.tether import tethered

SourceName = Literal["tmdb", "sample"]
RatingsName = Literal["tmdb", "imdb", "sample"]  # whose ratings are learned
SAMPLE_TOKEN = "sample"  # noqa: S105 (the stand-in wants one; it opens nothing)
SAMPLE_RATE = 1000.0  # our own server needs no mercy


class Source:
    """An address that speaks TMDB's contract, while it is open."""

    def __init__(self, name: SourceName, base_url: str, token: SecretStr, rate: float) -> None:
        """`rate` is in requests a second, for all clients of this process."""
        self.name, self.base_url, self._token = name, base_url, token
        self._limiter = _limiters.setdefault(base_url, RateLimiter(rate))
        self._permit = SharedRate().permit if name == "tmdb" and PREFECT_API_URL.value() else None

    def client(self) -> TmdbClient:
        """Return a client, to use as `async with`: a task is one event loop, and has one of its own."""
        return TmdbClient(self.base_url, self._token.get_secret_value(), self._limiter, permit=self._permit)


def source_to_collect(settings: Settings) -> SourceName:
    """Return "tmdb" where a token is set, else "sample"."""
    return "tmdb" if settings.tmdb_api_token else "sample"


def source_to_learn_from(settings: Settings) -> SourceName:
    """Return "tmdb" where a token is set or TMDB's movies were collected before, else "sample"."""
    if settings.tmdb_api_token or has_movies(settings, "tmdb"):
        return "tmdb"
    return "sample"


_limiters: dict[str, RateLimiter] = {}


def has_movies(settings: Settings, source: str) -> bool:
    """Say whether a manifest of the source lies in the store."""
    return any(key.endswith(".json") for key in open_store(settings.store_uri).keys(f"{source}/movies/"))


@contextmanager
def open_source(name: SourceName, settings: Settings, today: date) -> Iterator[Source]:
    """Yield the source of that name; the sample's server runs while it is open, and knows what is known on a day."""
    if name == "tmdb":
        if settings.tmdb_api_token is None:
            raise ValueError("source tmdb needs TMDB_API_TOKEN, a read access token; without one use source sample")
        yield Source("tmdb", settings.tmdb_base_url, settings.tmdb_api_token, settings.tmdb_rate)
        return
    options = ["--port", "0", "--token", SAMPLE_TOKEN, "--today", str(today), *shlex.split(settings.sample_options)]
    command = tethered(sys.executable, "-m", "sample.tmdb_server", *options)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=PROJECT, stdin=pipe, stdout=pipe, text=True) as server:
        try:
            line = server.stdout.readline() if server.stdout else ""
            if not line.startswith("http://"):
                raise RuntimeError(f"the sample server did not start: {' '.join(command)} exited {server.wait(10)}")
            yield Source("sample", line.strip(), SecretStr(SAMPLE_TOKEN), SAMPLE_RATE)
        finally:
            server.terminate()
