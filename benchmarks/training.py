"""A training of this checkout beside one of an earlier checkout, on the same movies: seconds, memory, and what changed.

    git worktree add --detach ../before <commit>
    STORE_URI=data/store python -m benchmarks.training --before ../before --as-of 2024-01-01 --trials 60

Both get a copy of the store (a local folder) and stores of their own for all else. They take turns, this checkout
first; the fit with the default recipe, of which the predictions are compared, comes before them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from settings import PROJECT, get_settings
from tasks.data.catalogue import read_catalogue
from tasks.foundation.store import open_store

PREDICT = """
import json, sys
import pandas as pd
from models.estimator import RatingModel
movies = pd.read_pickle(sys.argv[2])
late = movies["release_date"] >= pd.Timestamp(sys.argv[1]) - pd.DateOffset(years=1)
model = RatingModel().fit(movies[~late].reset_index(drop=True))
print(json.dumps([column.tolist() for column in model.predict_interval(movies[late].reset_index(drop=True))]))
"""
TRAIN = """
import json, resource, sys
from datetime import date
from prefect.testing.utilities import prefect_test_harness
from flows.train import train_model
with prefect_test_harness():
    result = train_model(trials=int(sys.argv[3]), as_of=date.fromisoformat(sys.argv[1]), source=sys.argv[2])
peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(json.dumps({"MiB": peak / 1024} | {k: v for k, v in result.items() if isinstance(v, (int, float, str))}))
"""


def main(argv: list[str] | None = None) -> None:
    """Print what both took, and the ratio."""
    parser = argparse.ArgumentParser(description="Compare a training with one of an earlier checkout")
    parser.add_argument("--before", type=Path, required=True, help="the earlier checkout")
    parser.add_argument("--as-of", type=date.fromisoformat, required=True)
    parser.add_argument("--source", default="tmdb")
    parser.add_argument("--trials", type=int, default=60)
    options = parser.parse_args(argv)
    checkouts = {"now": PROJECT, "before": options.before.resolve()}
    movies = read_catalogue(open_store(get_settings().store_uri), options.source)
    movies = movies[movies["vote_average"].notna() & (movies["release_date"] < pd.Timestamp(options.as_of))]
    with tempfile.TemporaryDirectory() as folder:
        movies.reset_index(drop=True).to_pickle(f"{folder}/movies.pkl")  # our own file, for our own processes
        given = [str(options.as_of), f"{folder}/movies.pkl"]
        rated = {name: np.array(_run(checkout, PREDICT, given)[0]) for name, checkout in checkouts.items()}
    print(f"default recipe, {rated['now'].shape[1]} movies: ratings and ends of intervals differ by at most ", end="")
    print(f"{np.abs(rated['now'] - rated['before']).max():.1e}", flush=True)
    took = {}
    for name, checkout in checkouts.items():
        result, took[name] = _run(checkout, TRAIN, [str(options.as_of), options.source, str(options.trials)])
        print(f"{name:<8}{took[name]:8.1f} s  {result}", flush=True)
    print(f"{options.trials} trials take {took['now'] / took['before']:.2f} times as long as before")


def _run(checkout: Path, program: str, given: list[str]) -> tuple[Any, float]:
    """Run a program with the code of a checkout on a copy of the store; return what it says last, and its seconds."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(get_settings().store_uri, f"{folder}/store")
        places = {
            "STORE_URI": f"{folder}/store",
            "WAREHOUSE_URL": f"sqlite:///{folder}/warehouse.db",
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
            "OPTUNA_STORAGE": f"sqlite:///{folder}/optuna.db",
            "PREFECT_LOGGING_LEVEL": "ERROR",
            "PYTHONPATH": str(checkout),
        }
        began = time.monotonic()
        command = [sys.executable, "-c", program, *given]
        done = subprocess.run(command, cwd=checkout, env=os.environ | places, stdout=subprocess.PIPE, check=True)
        return json.loads(done.stdout.splitlines()[-1]), time.monotonic() - began


if __name__ == "__main__":
    main()
