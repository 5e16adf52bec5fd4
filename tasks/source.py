"""Where movies come from this time: TMDB with the user's token, or the project's own sample catalogue.

The sample is synthetic. It is served over HTTP by the project's TMDB stand-in, so that the same collector reads both,
and it is kept apart in the store, so that it never mixes with real movies.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from pydantic import SecretStr

from settings import PROJECT, Settings
from tasks.catalogue import list_partitions
from tasks.store import open_store

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


@contextmanager
def open_source(name: SourceName, settings: Settings) -> Iterator[Source]:
    """Yield the source of that name; the sample's server runs while it is open."""
    if name == "tmdb":
        if settings.tmdb_api_token is None:
            raise ValueError("source tmdb needs TMDB_API_TOKEN, a read access token; without one use source sample")
        yield Source("tmdb", settings.tmdb_base_url, settings.tmdb_api_token, settings.tmdb_rate)
        return
    command = [sys.executable, "-m", "sample.tmdb_server", "--port", "0", "--token", SAMPLE_TOKEN]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as server:
        try:
            line = server.stdout.readline() if server.stdout else ""
            if not line.startswith("http://"):
                raise RuntimeError(f"the sample server did not start: {' '.join(command)} exited {server.wait(10)}")
            yield Source("sample", line.strip(), SecretStr(SAMPLE_TOKEN), SAMPLE_RATE)
        finally:
            server.terminate()
