"""How fast raw movies become numbers: rows a second, and one row beside a one-row frame, on the synthetic sample."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date

import pandas as pd

from models.facts import iterate
from models.features import MovieFeatures
from sample import generator
from tasks.tmdb import now, record


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
