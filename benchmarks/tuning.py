"""How much faster several workers tune one study than one does, each with a core of its own, on the synthetic sample.

python -m benchmarks tuning
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import pandas as pd

from models.body import record
from sample.generator import movies as sample_movies
from settings import PROJECT
from tasks.foundation.clock import now

TRIALS = 12
WORKER = """
import os, sys
import pandas as pd
from tasks.learning import tuning
os.sched_setaffinity(0, {int(sys.argv[4])})
tuning.SIDE_BY_SIDE = 1
movies = pd.read_pickle(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
tuning.search(movies, int(sys.argv[3]), 0, "benchmark", sys.argv[2], lambda *_: None, sampler_seed=int(sys.argv[4]))
"""


def main() -> None:
    """Print the seconds that one worker and as many as there are cores take, and the ratio."""
    movies = pd.DataFrame([record(body, now()) for body in sample_movies(date(2026, 6, 30))])
    movies["release_date"] = pd.to_datetime(movies["release_date"])
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "movies.pkl"  # our own file, for our own processes
        movies[movies["vote_average"].notna()].reset_index(drop=True).to_pickle(data)
        took = {}
        for workers in sorted({1, min(2, len(cores)), min(3, len(cores))}):
            storage = f"sqlite:///{folder}/{workers}.db"
            took[workers] = _tune(data, storage, cores[:workers])
            print(f"{workers} worker{'s' * (workers > 1)}: {TRIALS} trials in {took[workers]:.1f} s", flush=True)
    for workers in list(took)[1:]:
        print(f"{workers} workers are {took[1] / took[workers]:.2f} times as fast as one")


def _tune(data: Path, storage: str, cores: list[int]) -> float:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(data), storage, str(TRIALS), str(core)],
            cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for core in cores
    ]  # fmt: skip
    for process in processes:
        assert process.stdout
        process.stdout.readline()
    begun = time.perf_counter()
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.wait(600) for process in processes] == [0] * len(processes)
    return time.perf_counter() - begun
