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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.evaluation import CONFIDENCES
from models.facts import RawMovie, iterate
from models.movie import Movie
from models.promotion import Predictions
from tasks.registry import versions as registry
from tasks.registry.flavour import inputs
from tasks.registry.versions import Version

SECONDS = 600
# What all versions of models/ keep: the list of trusted types; ratings with intervals, reasons, and the linear member's
# ratings, of raw movies. A reason was a field, points and words once, and has grown since: all of it is handed over.
PROGRAM = """
import json, sys
from dataclasses import asdict
from skops import io
from models.estimator import TRUSTED_TYPES
model = io.load(sys.argv[1], trusted=TRUSTED_TYPES)
asked = json.load(sys.stdin)
movies, most = asked["movies"], asked["reasons"]
levels = asked["levels"]
if hasattr(model, "predict_intervals"):  # each movie is numbered once for all that is asked
    rows = model.rows(movies)
    ratings, ends = model.predict_intervals(rows, levels)
    scored = [(ratings, *ends[level]) for level in levels]
    linear = model.linear_.predict(*rows) if movies else ratings
    explained = model.explain_each(movies, rows) if most else []
else:
    scored = [model.predict_interval(movies, level) for level in levels]
    linear = model.linear(movies) if movies else scored[0][0]
    explained = [model.explain(movie) for movie in movies] if most else []
answers = [[values.tolist() for values in columns] for columns in scored]
reasons = [[asdict(r) | {"words": r.words} for r in found[:most]] for _, found in explained]
json.dump({"answers": answers, "reasons": reasons, "linear": linear.tolist()}, sys.stdout)
"""


@dataclass(frozen=True)
class Scored:
    """Ratings of n movies, and the ends of their intervals by level."""

    ratings: NDArray[np.float64]
    intervals: dict[float, tuple[NDArray[np.float64], NDArray[np.float64]]]
    reasons: list[list[dict[str, Any]]] = field(default_factory=list)  # at least field, points, words; weightiest first
    linear: NDArray[np.float64] | None = None  # what the linear member alone says

    def table(self) -> NDArray[np.float64]:
        """Return all that it says in n rows: the rating, then both ends of each interval."""
        return np.column_stack([self.ratings, *(end for ends in self.intervals.values() for end in ends)])

    @property
    def predictions(self) -> Predictions:
        """What the gate takes."""
        return Predictions(self.ratings, self.intervals, self.linear)

    def part(self, first: int, count: int) -> Scored:
        """Return what was said of so many movies, from one on."""
        rows = slice(first, first + count)
        ends = {level: (low[rows], high[rows]) for level, (low, high) in self.intervals.items()}
        linear = None if self.linear is None else self.linear[rows]
        return Scored(self.ratings[rows], ends, self.reasons[rows], linear)


def score(
    version: Version,
    fit: Literal["model", "judged"],
    movies: Iterable[RawMovie | Movie] | pd.DataFrame,
    levels: Sequence[float] = CONFIDENCES,
    reasons: int = 0,
    code: Path | None = None,
) -> Scored:
    """Rate movies by what ships of a version (`model`) or by its fit that ended before the hold-out (`judged`).

    A frame holds finished records, a `Movie` is a question; other raw movies are either, as they are. `reasons` is how
    many of each are wanted; `code` is a folder with another package `models` than its own. Raises LookupError where a
    stored file is gone, RuntimeError where it is not the one that was registered, or where the code fails on them.
    """
    if isinstance(movies, pd.DataFrame):
        rows = records(movies)
    else:
        rows = [movie.told() if isinstance(movie, Movie) else movie for movie in movies]
    with tempfile.TemporaryDirectory() as folder:
        model, its_own = registry.download(version, fit, Path(folder))
        code = code or its_own
        try:
            done = subprocess.run(
                [sys.executable, "-c", PROGRAM, str(model)],
                input=json.dumps({"movies": rows, "levels": list(levels), "reasons": reasons}, default=_plain),
                env=os.environ | {"PYTHONPATH": str(code), "PYTHONWARNINGS": "ignore"},
                cwd=code, capture_output=True, text=True, timeout=SECONDS, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"{version.label} took more than {SECONDS} s to rate {len(rows)} movies") from None
    if done.returncode:
        raise RuntimeError(f"{version.label} cannot rate {len(rows)} movies:\n{done.stderr[-2000:]}")
    said: dict[str, Any] = json.loads(done.stdout)
    parts = [[np.array(values, dtype=float) for values in answer] for answer in said["answers"]]
    intervals = {level: (low, high) for level, (_, low, high) in zip(levels, parts, strict=True)}
    return Scored(parts[0][0], intervals, said["reasons"], np.array(said["linear"], dtype=float))


def records(movies: pd.DataFrame) -> list[RawMovie]:
    """Return the movies of a frame as the raw records that a registered model takes."""
    return list(iterate(inputs(movies)))


def _plain(value: Any) -> Any:
    """Write what JSON has no word for: arrays of a frame, and dates."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value.isoformat()
