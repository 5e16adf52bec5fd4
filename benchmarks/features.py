"""How fast raw movies become numbers: rows a second, and one row beside a one-row frame, on the synthetic sample."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date

import numpy as np
import pandas as pd

from models.body import record
from models.facts import iterate
from models.features import MovieFeatures
from sample import generator
from settings import PROJECT
from tasks.foundation.clock import now


def seconds(function: Callable[[], object], repeats: int = 3) -> float:
    """Return the best of some runs: the machines are noisy, and noise only adds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Print the table."""
    movies = pd.DataFrame([record(body, now()) for body in generator.movies(date(2026, 6, 30))])
    movies["release_date"] = pd.to_datetime(movies["release_date"])
    movies = movies[movies["vote_average"].notna()].reset_index(drop=True)
    features = MovieFeatures().fit(movies)
    rows, silent = list(iterate(movies)), [{**m, "overview": None} for m in iterate(movies)]
    frames = [pd.DataFrame([row]) for row in rows[:200]]
    one_row = seconds(lambda: [features.row(row) for row in rows[:200]]) / 200
    table = {
        "movies a second, without text": len(rows) / seconds(lambda: [features.row(row) for row in silent]),
        "movies a second, with text": len(rows) / seconds(lambda: [features.row(row) for row in rows], 1),
        "movies a second, text cached": len(rows) / seconds(lambda: features.transform(movies)),
        "one row, microseconds": one_row * 1e6,
        "one-row frame, times as long": seconds(lambda: [features.transform(f) for f in frames]) / 200 / one_row,
    }
    for name, value in table.items():
        print(f"{name:<34}{value:>10,.1f}")


def scale() -> None:
    """Print the cost of a row and the peak memory for ten thousand to a million sampled copies."""
    print(f"{'movies':>10}{'fit, us/row':>14}{'transform, us/row':>20}{'peak GiB':>10}")
    for count in (10_000, 100_000, 1_000_000):
        command = [sys.executable, "-m", "benchmarks.features", str(count)]
        print(
            subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True).stdout, end="", flush=True
        )


def _measure(count: int) -> None:
    movies = pd.DataFrame([record(body, now()) for body in generator.movies(date(2026, 6, 30))])
    movies["release_date"] = pd.to_datetime(movies["release_date"])
    movies = movies[movies["vote_average"].notna()].assign(overview=None)
    copies = movies.sample(count, replace=True, random_state=0).reset_index(drop=True)
    worlds = np.random.default_rng(0).integers(0, max(count // 3_000, 1), size=count).tolist()
    shared: dict[tuple[str, int], dict[str, str]] = {}
    for field in ("directors", "writers", "cast", "production_companies"):  # a copy's people are its own world's
        copies[field] = [
            [shared.setdefault((e["id"], n), {"id": f"{e['id']}-{n}", "name": e["name"]}) for e in entities]
            for n, entities in zip(worlds, copies[field], strict=True)
        ]
    copies = copies.sort_values("release_date").reset_index(drop=True)
    start = time.perf_counter()
    features = MovieFeatures().fit(copies)
    fitted = time.perf_counter() - start
    features.transform(copies.head(10))  # the tables are folded now
    start = time.perf_counter()
    features.transform(copies)
    took = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{count:>10,}{fitted / count * 1e6:>14.0f}{took / count * 1e6:>20.0f}{peak:>10.2f}")


if __name__ == "__main__":
    _measure(int(sys.argv[1]))
