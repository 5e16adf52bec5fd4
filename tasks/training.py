"""Load what a model may learn from, fit it twice, and judge it: before the hold-out, then on everything."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from prefect import task
from prefect.artifacts import create_table_artifact

from models.estimator import RatingModel
from models.evaluation import baselines, metrics, skill
from settings import get_settings
from tasks.catalogue import read_catalogue
from tasks.store import open_store

MIN_TRAINING_VOTES = 10
LEVELS = (0.8, 0.9)
TRAILING = "trailing five-year mean"


@task(name="load movies", retries=2, retry_delay_seconds=10)
def load_movies(source: str, as_of: date) -> pd.DataFrame:
    """Return the rated movies of a source that were released before `as_of`."""
    movies = read_catalogue(open_store(get_settings().store_uri), source, as_of)
    rated = movies[movies["vote_average"].notna() & (movies["vote_count"] >= MIN_TRAINING_VOTES)]
    return rated[rated["release_date"].notna()].reset_index(drop=True)


@task(name="fit", task_run_name="fit {what} on {family}")
def fit(movies: pd.DataFrame, family: str, params: dict[str, Any], seed: int, what: str) -> RatingModel:
    """Fit one recipe on movies; `what` says what for."""
    return RatingModel(family, params, seed=seed).fit(movies)


@task(name="judge")
def judge(model: RatingModel, train: pd.DataFrame, holdout: pd.DataFrame) -> dict[str, float]:
    """Return the metrics of a model on its hold-out, with the baselines' beside them."""
    actual = holdout["vote_average"].to_numpy(dtype=float)
    rival = baselines(train, holdout)
    figures = {"holdout_movies": float(len(holdout))}
    predicted = model.predict(holdout)
    figures |= {f"holdout_{name}": value for name, value in metrics(actual, predicted).items()}
    figures["holdout_skill"] = skill(actual, predicted, rival[TRAILING])
    for level in LEVELS:
        _, low, high = model.predict_interval(holdout, level)
        figures[f"holdout_coverage_{level:.0%}".rstrip("%")] = float(np.mean((actual >= low) & (actual <= high)))
        figures[f"holdout_width_{level:.0%}".rstrip("%")] = float(np.mean(high - low))
    for name, predictions in rival.items():
        figures |= {f"{slug(name)}_{kind}": value for kind, value in metrics(actual, predictions).items()}
        figures[f"{slug(name)}_skill"] = skill(actual, predictions, rival[TRAILING])
    return figures


def comparison(figures: dict[str, float], model: str) -> list[dict[str, Any]]:
    """Return the table of a model against the baselines, best last."""
    rows = {"holdout": model} | {slug(name): name for name in ("training mean", TRAILING, "genre mean")}
    table = [
        {"predicted by": label}
        | {name: round(figures[f"{prefix}_{name}"], 3) for name in ("rmse", "mae", "r2", "spearman", "skill")}
        for prefix, label in rows.items()
    ]
    return sorted(table, key=lambda row: -row["rmse"])


def show_comparison(figures: dict[str, float], model: str, source: str) -> None:
    """Put the table of the model against the baselines into the Prefect UI."""
    create_table_artifact(
        key="model-against-baselines",
        table=comparison(figures, model),
        description=f"{figures['holdout_movies']:.0f} hold-out movies of source {source}"
        + (", which are synthetic" if source == "sample" else ""),
    )


def slug(name: str) -> str:
    """Write a baseline's name as MLflow metrics are written."""
    return name.replace(" ", "_").replace("-", "_")
