"""Fit a recipe: before the hold-out, to be judged, and on everything, to be shipped."""

from __future__ import annotations

from prefect import task

from models.estimator import RatingModel
from models.feature_table import FeatureTable
from tasks.learning.tuning import Tuned


@task(name="fit", task_run_name="fit {what}", tags=["training"])
def fit(known: FeatureTable, recipe: Tuned, seed: int, what: str) -> RatingModel:
    """Fit a recipe on the movies of a feature table; `what` says what for."""
    return RatingModel(recipe.family, recipe.params, recipe.linear_share, seed=seed).fit(known)
