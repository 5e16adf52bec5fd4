"""Rate movies by a registered fit, with the code that it was fitted with, in a process of its own.

A model of last month stays comparable when `models/` has changed since: its code lies beside it in the registry. Both
are held to the digests on the version before anything is loaded.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.facts import RawMovie, iterate
from models.movie import Movie
from tasks import registry
from tasks.registry import CHAMPION, Version
from tasks.training import LEVELS

SECONDS = 600
# What all versions of models/ keep: the list of trusted types, and ratings with intervals from raw movies as dicts.
PROGRAM = """
import json, sys
from skops import io
from models.estimator import TRUSTED_TYPES
model = io.load(sys.argv[1], trusted=TRUSTED_TYPES)
asked = json.load(sys.stdin)
answers = {level: [v.tolist() for v in model.predict_interval(asked["movies"], level)] for level in asked["levels"]}
json.dump(answers, sys.stdout)
"""


@dataclass(frozen=True)
class Rated:
    """Ratings of n movies, and the ends of their intervals by level."""

    ratings: NDArray[np.float64]
    intervals: dict[float, tuple[NDArray[np.float64], NDArray[np.float64]]]

    def inside(self, actual: NDArray[np.float64], level: float) -> NDArray[np.bool_]:
        """Return which of n actual ratings fall into the interval at a level."""
        low, high = self.intervals[level]
        return (actual >= low) & (actual <= high)


def rate(
    version: Version,
    fit: Literal["model", "judged"],
    movies: Sequence[Movie] | pd.DataFrame,
    levels: Sequence[float] = LEVELS,
) -> Rated:
    """Rate movies by what ships of a version (`model`) or by its fit that ended before the hold-out (`judged`).

    Raises RuntimeError where a stored file is not the one that was registered, or where its code fails on them.
    """
    if isinstance(movies, pd.DataFrame):
        rows: list[RawMovie] = list(iterate(registry.inputs(movies)))
    else:
        rows = [movie.facts() for movie in movies]
    with tempfile.TemporaryDirectory() as folder:
        model, code = registry.download(version, fit, Path(folder))
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(model)],
            input=json.dumps({"movies": rows, "levels": list(levels)}, default=_plain),
            env=os.environ | {"PYTHONPATH": str(code), "PYTHONWARNINGS": "ignore"},
            cwd=code, capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{version.label} cannot rate {len(rows)} movies:\n{done.stderr[-2000:]}")
    answers: dict[str, Any] = json.loads(done.stdout)
    parts = {float(level): [np.array(values) for values in answer] for level, answer in answers.items()}
    ratings = next(iter(parts.values()))[0]
    return Rated(ratings, {level: (low, high) for level, (_, low, high) in parts.items()})


def rated_by_champion(holdout: pd.DataFrame, tags: dict[str, str]) -> NDArray[np.float64] | None:
    """Return the champion's ratings of a hold-out, if there is a champion of the same ratings that never saw it."""
    try:
        champion = registry.find(CHAMPION)
    except LookupError:
        return None
    alike = all(champion.tags[name] == tags[name] for name in ("source", "synthetic"))
    if not alike or pd.Timestamp(champion.tags["judged_until"]) >= holdout["release_date"].min():
        return None
    return rate(champion, "judged", holdout).ratings


def _plain(value: Any) -> Any:
    """Write what JSON has no word for: arrays of a frame, and dates."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value.isoformat()
