"""How a fitted model does on its hold-out: figures beside those of the baselines, segments, and the table of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.estimator import RatingModel
from models.evaluation import (
    CONFIDENCES,
    LINEAR,
    TRAILING,
    baselines,
    bootstrap_interval,
    judge_part,
    judge_segments,
    metrics,
    skill,
)
from models.feature_table import Rows
from models.movie import LEVEL
from models.questions import RECORD

LAST_CHAMPION = "last champion"


class Judgement(NamedTuple):
    """Figures by their names in MLflow, and rows of the table of segments."""

    figures: dict[str, float]
    segments: list[dict[str, Any]]


def judge(
    model: RatingModel,
    asked: Mapping[str, Rows],
    train: pd.DataFrame,
    holdout: pd.DataFrame,
    champion: NDArray[np.float64] | None = None,
) -> Judgement:
    """Judge a model by its hold-out, with the baselines and the champion's ratings beside it.

    `asked` holds the movies of the hold-out as the model takes them, whole records and by way of asking.
    """
    actual = holdout["vote_average"].to_numpy(dtype=float)
    scored = {way: model.predict_intervals(rows, CONFIDENCES) for way, rows in asked.items()}
    predicted, ends = scored[RECORD]
    rivals = baselines(train, holdout, model.linear_.predict(*asked[RECORD]))
    if champion is not None:
        rivals[LAST_CHAMPION] = champion
    figures = {"holdout_movies": float(len(holdout))}
    figures |= {f"holdout_{name}": value for name, value in metrics(actual, predicted).items()}
    figures["holdout_skill"] = skill(actual, predicted, rivals[TRAILING])
    for confidence, (low, high) in ends.items():
        figures[f"holdout_coverage_{confidence:.0%}".rstrip("%")] = float(_inside(actual, low, high).mean())
        figures[f"holdout_width_{confidence:.0%}".rstrip("%")] = float(np.mean(high - low))
    for name, (low_end, high_end) in bootstrap_interval(actual, predicted).items():
        figures |= {f"holdout_{name}_low": low_end, f"holdout_{name}_high": high_end}
    for name, predictions in rivals.items():
        figures |= {f"{slug(name)}_{kind}": value for kind, value in metrics(actual, predictions).items()}
        figures[f"{slug(name)}_skill"] = skill(actual, predictions, rivals[TRAILING])
    debuts = asked[RECORD].table[:, model.features_.columns_.index("director_count")] == 0
    held = {way: _inside(actual, *its_ends[LEVEL]) for way, (_, its_ends) in scored.items()}
    parts = judge_segments(holdout, predicted, held[RECORD], debuts)
    parts += [judge_part(f"asked by {way}", actual, rating, held[way]) for way, (rating, _) in scored.items()]
    return Judgement(figures, parts)


def comparison(figures: Mapping[str, float], model: str) -> list[dict[str, Any]]:
    """Return the table of a model against the baselines, best last."""
    rivals = ("training mean", TRAILING, "genre mean", LINEAR, LAST_CHAMPION)
    rows = {"holdout": model} | {slug(name): name for name in rivals if f"{slug(name)}_rmse" in figures}
    table = [
        {"predicted by": label}
        | {name: round(figures[f"{prefix}_{name}"], 3) for name in ("rmse", "mae", "r2", "spearman", "skill")}
        for prefix, label in rows.items()
    ]
    return sorted(table, key=lambda row: -row["rmse"])


def slug(name: str) -> str:
    """Write a baseline's name as MLflow metrics are written."""
    return name.replace(" ", "_").replace("-", "_")


def _inside(actual: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.bool_]:
    return (actual >= low) & (actual <= high)
