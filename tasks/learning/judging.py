"""Judge a fit by the hold-out that it never saw, and show it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from prefect import task
from prefect.artifacts import create_table_artifact

from models import judging
from models.estimator import RatingModel
from models.feature_table import Rows
from models.judging import Judgement, comparison


@task(name="judge", task_run_name="judge {model.family}")
def judge(
    model: RatingModel,
    asked: Mapping[str, Rows],
    train: pd.DataFrame,
    holdout: pd.DataFrame,
    champion: NDArray[np.float64] | None,
) -> Judgement:
    """Return the figures of a model on its hold-out, those of the baselines and the champion beside them."""
    return judging.judge(model, asked, train, holdout, champion)


def show_comparison(figures: Mapping[str, float], model: str, source: str) -> None:
    """Put the table of the model against the baselines into the Prefect UI."""
    create_table_artifact(
        key="model-against-baselines",
        table=comparison(figures, model),
        description=f"{figures['holdout_movies']:.0f} hold-out movies of source {source}"
        + (", which are synthetic" if source == "sample" else ""),
    )
