"""A registered model as MLflow hands it out: it rates a table of raw movies, each as `/predict` takes one.

MLflow's `load_model` and `models serve` call `_load_pyfunc`; this package, which it needs, lies beside the model. A
table has a value in every cell: None, NaN, NaT and "" mean that nothing is known, and a column may be missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError
from skops import io as skops_io

from models.estimator import TRUSTED_TYPES, RatingModel
from models.facts import RawMovie, iterate
from models.movie import LEVEL, MAX_LEVEL, MIN_LEVEL, Movie

MOST_TOLD = 20  # faults of a table


class Scorer:
    """Rates a table of movies, after each was checked as the service checks it."""

    def __init__(self, model: RatingModel) -> None:
        self.model = model

    def predict(self, movies: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return a rating with the ends of its interval for each row, with the index of `movies`.

        `params` may hold the `confidence` of the interval, 0.5 to 0.99 (`level`, its older name, works too). Raises
        ValueError, which names row (from 0), field and rule of what is wrong.
        """
        asked = {"confidence": LEVEL, "level": LEVEL} | (params or {})  # MLflow fills in what was not given
        confidence = asked["confidence"] if asked["confidence"] != LEVEL else asked["level"]
        if not MIN_LEVEL <= confidence <= MAX_LEVEL:
            raise ValueError(f"confidence must lie between {MIN_LEVEL} and {MAX_LEVEL}, not {confidence}")
        facts, faults = [], []
        for row, given in enumerate(iterate(movies)):
            try:
                facts.append(Movie.model_validate(known(given)).told())
            except ValidationError as error:
                faults += [f"row {row}, {_told(fault)}" for fault in error.errors(include_url=False)]
        if faults:
            more = [f"and {len(faults) - MOST_TOLD} more"] if len(faults) > MOST_TOLD else []
            remedy = "correct what is named, or leave it out; the title must be there"
            raise ValueError("; ".join(faults[:MOST_TOLD] + more) + f": {remedy}")
        columns = self.model.predict_interval(facts, confidence) if facts else ([], [], [])
        rated = dict(zip(("rating", "low", "high"), columns, strict=True))
        return pd.DataFrame(rated, index=movies.index, dtype=float)


def known(row: RawMovie) -> dict[str, Any]:
    """Return the cells of a row that say something, as plain values."""
    told = {str(name): value for name, value in row.items() if not _says_nothing(value)}
    return {name: v.tolist() if isinstance(v, np.ndarray | np.generic) else v for name, v in told.items()}


def _says_nothing(value: Any) -> bool:
    return pd.api.types.is_scalar(value) and (bool(pd.isna(value)) or value == "")


def _told(fault: Any) -> str:
    where = ".".join(str(part) for part in fault["loc"] if not str(part).startswith("function-"))
    return f"{where}: {fault['msg'].removeprefix('Value error, ')}"


def _load_pyfunc(path: str) -> Scorer:
    """Load a model from its folder; MLflow calls it.

    Raises ImportError where this process has imported other code than the model's own: it would rate otherwise.
    """
    ours, its_own = Path(__file__).parent, Path(path) / "code" / "models"
    if _code(ours) != _code(its_own):
        raise ImportError(
            f"`models` was imported from {ours}, and that is not the code of this model, {its_own}: load each model "
            "in a process of its own, before anything of `models` is imported"
        )
    return Scorer(skops_io.load(Path(path) / "model.skops", trusted=TRUSTED_TYPES))


def _code(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.glob("*.py")}
