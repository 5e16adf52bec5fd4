"""What a run costs on day 10, 100 and 1,000 of a store that is fed every day: its listing, its catalogue, its fold.

The records are the sample's; each day writes partitions as the collector does, purges by age and folds. Beside it,
what reading all partitions would cost: the same store without its snapshot.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from models.body import record
from sample import generator
from tasks.data.catalogue import fold, list_partitions, open_catalogue, purge
from tasks.data.partitions import movie_table, write_partition
from tasks.foundation.clock import now
from tasks.foundation.store import FolderStore

FIRST, DAYS, TOLD = date(2023, 1, 1), 1000, (10, 100, 1000)
SLICES, MOVIES = 10, 60  # that a day writes, and in each
AGE = timedelta(days=180)


class Counted(FolderStore):
    """A store that counts what is read."""

    reads = 0

    def read(self, key: str) -> bytes:
        self.reads += 1
        return super().read(key)


def main() -> None:
    """Print what was measured."""
    records = [record(body, now()) for body in generator.movies(date(2026, 6, 30))]
    tables = [movie_table(records[n : n + MOVIES]) for n in range(0, len(records) - MOVIES, MOVIES)]
    with tempfile.TemporaryDirectory() as folder:
        store = Counted(Path(folder))
        print(f"{'':<28}{'list ms':>9}{'load ms':>9}{'fold ms':>9}{'files read':>12}")
        costs: dict[int, float] = {}
        for number in range(1, DAYS + 1):
            day = FIRST + timedelta(days=number)
            for n in range(SLICES):
                part = tables[(number * SLICES + n) % len(tables)]
                write_partition(
                    store, part, source="tmdb", logical_date=day, slice=f"slice{n}", start=date(2005, 1, 1),
                    end=date(2026, 12, 31), expected=len(part), requests=1,
                )  # fmt: skip
            listing, _ = timed(store, lambda: list_partitions(store, "tmdb"))
            folding, _ = timed(store, lambda: fold(store, "tmdb"))
            purge(store, "tmdb", day - AGE)
            if number in TOLD:
                loading, reads = timed(store, lambda: open_catalogue(store, "tmdb").accepted())
                costs[number] = listing + folding + loading
                print(f"day {number:<24}{listing:>9.0f}{loading:>9.0f}{folding:>9.0f}{reads:>12}")
        for key in (*store.keys("tmdb/snapshot/"), "tmdb/snapshot.json"):
            store.delete(key)
        listing, _ = timed(store, lambda: list_partitions(store, "tmdb"))
        loading, reads = timed(store, lambda: open_catalogue(store, "tmdb").accepted())
        print(f"{'the same without a snapshot':<28}{listing:>9.0f}{loading:>9.0f}{'':>9}{reads:>12}")
    print(
        f"\na run on day {TOLD[-1]} costs {costs[TOLD[-1]] / costs[TOLD[0]]:.2f} times what one on day {TOLD[0]} does"
    )


def timed(store: Counted, function: Callable[[], Any]) -> tuple[float, int]:
    """Return the milliseconds that a call took, and how many files it read."""
    store.reads, start = 0, time.perf_counter()
    function()
    return (time.perf_counter() - start) * 1000, store.reads
