"""One movie through each family's trees: the fast way of `models.trees` against the public `predict`, in microseconds.

The fast way earns its lines only where it is a large part of an answer; what a whole prediction takes stands beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from models import trees
from models.body import record
from models.estimator import FAMILIES, RatingModel
from sample import generator
from tasks.foundation.clock import now

ROUNDS = 2_000


def main() -> None:
    """Print microseconds for one row, and the ratios."""
    movies = pd.DataFrame([record(body, now()) for body in generator.movies(date(2026, 6, 30))])
    movies["release_date"] = pd.to_datetime(movies["release_date"])
    rated = movies[movies["vote_average"].notna()].sort_values(["release_date", "id"]).reset_index(drop=True)
    print(f"{'':<16}{'public':>9}{'fast':>9}{'ratio':>8}{'whole prediction':>18}{'without it':>12}")
    for family in FAMILIES:
        model = RatingModel(family).fit(rated)
        movie = rated.iloc[-1].to_dict()
        row = model.rows([movie]).table
        fitted = {"lightgbm": "booster_"}.get(family)
        ensemble = getattr(model.trees_, fitted) if fitted else model.trees_
        if family == "xgboost":
            ensemble = model.trees_.get_booster()
        public = microseconds(lambda ensemble=ensemble, row=row: trees._predict(ensemble, row))
        fast = microseconds(lambda model=model, row=row: trees.predict_trees(model.trees_, row))
        whole = microseconds(lambda model=model, movie=movie: model.predict([movie]))
        print(f"{family:<16}{public:9.0f}{fast:9.0f}{public / fast:8.1f}{whole:18.0f}{whole - fast + public:12.0f}")
    if trees.FALLBACKS:
        print(f"asked the slow way: {dict(trees.FALLBACKS)}")


def microseconds(call: Callable[[], Any]) -> float:
    """Return the median time of a call, in microseconds."""
    taken = []
    for _ in range(ROUNDS):
        begun = time.perf_counter_ns()
        call()
        taken.append(time.perf_counter_ns() - begun)
    return float(np.median(taken)) / 1000
