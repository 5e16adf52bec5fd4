"""How a fit is stored in MLflow: as scikit-learn's, without pickle, and for whoever asks MLflow for a rating.

The folder holds `model.skops`, which the service and later comparisons read, and `code/models`, with which
`mlflow.pyfunc.load_model` and `mlflow models serve` rate raw movies where there is no checkout: `models.scorer`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from models.estimator import TRUSTED_TYPES, RatingModel
from models.movie import INPUTS, LEVEL
from settings import PROJECT


def signature() -> Any:
    """Return what a stored model takes and gives, in MLflow's words: of the inputs only the title is required.

    MLflow's own types would refuse what `/predict` takes: a whole number of minutes, a name beside an object, a cell
    that pandas left empty. So each column may hold anything, and `models.movie.Movie` judges it.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import AnyType

    anything: Any = AnyType()  # type: ignore[no-untyped-call]
    return ModelSignature(
        Schema([ColSpec(anything, name, required=name == "title") for name in INPUTS]),
        Schema([ColSpec("double", name) for name in ("rating", "low", "high")]),
        ParamSchema([ParamSpec("confidence", "double", LEVEL), ParamSpec("level", "double", LEVEL)]),
    )


def save_model(path: str, mlflow_model: Any, model: RatingModel, **facts: Any) -> None:
    """Write a model into a folder; MLflow calls it, as it does of each flavour. `facts` are those of scikit-learn's."""
    import mlflow

    mlflow.sklearn.save_model(
        model,
        path,
        mlflow_model=mlflow_model,
        code_paths=[str(PROJECT / "models")],
        signature=signature(),
        serialization_format="skops",
        skops_trusted_types=TRUSTED_TYPES,
        **facts,
    )
    mlflow_model.flavors["python_function"]["loader_module"] = "models.scorer"
    mlflow_model.save(str(Path(path) / "MLmodel"))


def inputs(movies: pd.DataFrame) -> pd.DataFrame:
    """Return the raw facts that a registered model takes, as its signature wants them: dates as ISO text."""
    frame = movies[list(INPUTS)].copy()
    frame["release_date"] = pd.to_datetime(movies["release_date"]).dt.strftime("%Y-%m-%d")
    return frame
