"""Publish a trained model: one run with all that belongs to it, and one registered version, which becomes challenger.

It is handed finished figures, tables, plots and the card, and computes nothing about the model.
"""

from __future__ import annotations

import tempfile
import warnings
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from prefect import task

from models.estimator import RatingModel
from models.movie import Movie
from settings import PROJECT, get_settings
from tasks.foundation.retrying import RETRIED
from tasks.learning.report import Report
from tasks.registry import flavour
from tasks.registry.flavour import inputs
from tasks.registry.versions import (
    CHALLENGER,
    CODE,
    Version,
    client,
    code_digest,
    content_hash,
    discard_run,
    experiment,
    find,
    find_trained,
    model_code,
    set_alias,
)

SERVING_PACKAGES = ("scikit-learn", "skops", "xgboost-cpu", "lightgbm", "textblob", "pandas", "pydantic")
CREW = ("cast", "directors", "writers", "producers", "cinematographers", "composers", "editors")
# What a registered model shows as its input is invented: what TMDB wrote may not lie in a registry for good.
EXAMPLE: dict[str, Any] = {
    "title": "An Invented Movie",
    "original_title": "An Invented Movie",
    "overview": "Two sisters keep a lighthouse that no ship needs any more.",
    "tagline": "Somebody has to.",
    "genres": ["Drama"],
    "release_date": "2027-03-05",
    "original_language": "en",
    "spoken_languages": ["en"],
    "runtime": 96.0,
    "budget": 2_000_000.0,
    "production_companies": [{"name": "Invented Pictures", "id": "900000001"}],
    "production_countries": [{"name": "Ireland", "id": "IE"}],
    "belongs_to_collection": {"name": "Invented Movies", "id": "900000002"},
    **{role: [{"name": "Somebody Invented", "id": "900000003"}] for role in CREW},
}


@task(
    name="register",
    task_run_name="register {tags[family]} as of {tags[as_of]}",
    **RETRIED | {"retry_delay_seconds": 5},
)
def register(
    shipped: RatingModel, judged: RatingModel, holdout: pd.DataFrame, report: Report, tags: dict[str, str]
) -> Version:
    """Log a training run with both fits and return the new version, which becomes challenger.

    Tried again, it registers nothing twice: the tag `training` names the training, of which there is one version.
    """
    version = find_trained({"training": tags["training"]}) or _register(shipped, judged, holdout, report, tags)
    set_alias(CHALLENGER, version)
    return version


def _register(
    shipped: RatingModel, judged: RatingModel, holdout: pd.DataFrame, report: Report, tags: dict[str, str]
) -> Version:
    """Make the run and, last of all and in one step, the version.

    The run holds its trials as nested runs, the hold-out as its data set, segments, plots and model card. The runs of
    an earlier try, which came to no version, are removed.
    """
    mlflow_client = client()
    import mlflow

    name, runs = get_settings().model_name, experiment(mlflow_client)
    for half in mlflow_client.search_runs([runs], f"tags.training = '{tags['training']}'", max_results=10_000):
        discard_run(half)
    mlflow.set_experiment(experiment_id=runs)
    raw, example = inputs(holdout), inputs(pd.DataFrame([Movie(**EXAMPLE).facts()]))
    run_name = f"{tags['family']} as of {tags['as_of']}"
    with mlflow.start_run(run_name=run_name, tags=tags) as run, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.log_params(report.params)
        mlflow.log_metrics(report.metrics)
        mlflow.log_table(pd.DataFrame(report.trials), "trials.json")
        mlflow.log_table(pd.DataFrame(report.segments), "segments.json")
        mlflow.log_text(report.card, "model_card.md")
        facts = raw.drop(columns=[name for name in raw if raw[name].map(type).isin((list, dict)).any()])
        mlflow.log_input(
            mlflow.data.pandas_dataset.from_pandas(facts, name=f"{tags['source']}-{tags['data']}"), context="hold-out"
        )
        with tempfile.TemporaryDirectory() as folder:
            for file, figure in report.plots.items():
                figure.savefig(Path(folder) / file, dpi=110)
                plt.close(figure)
            mlflow.log_artifacts(folder, "plots")
        for path in model_code(PROJECT):
            mlflow.log_artifact(str(path), CODE)
        _log_trials(mlflow_client, run.info, report.trials, tags["training"])
        logged = {
            fit: mlflow.models.Model.log(
                None,
                flavour,
                name=fit,
                model=model,
                input_example=example,
                pip_requirements=[f"{package}=={installed(package)}" for package in SERVING_PACKAGES],
            )
            for fit, model in (("model", shipped), ("judged", judged))
        }
    digests = {
        name: content_hash(Path(mlflow.artifacts.download_artifacts(logged[fit].model_uri)))
        for name, fit in (("sha256", "model"), ("judged_sha256", "judged"))
    }
    digests["code_sha256"] = code_digest(PROJECT)
    if not mlflow_client.search_registered_models(f"name = '{name}'"):
        mlflow_client.create_registered_model(name, description="Predicts a movie's rating before its premiere.")
    created = mlflow_client.create_model_version(
        name,
        source=logged["model"].model_uri,
        run_id=run.info.run_id,
        model_id=logged["model"].model_id,
        description=report.summary,
        tags=tags | digests | {"judged_uri": logged["judged"].model_uri},
    )
    return find(str(created.version))


def _log_trials(mlflow_client: Any, parent: Any, trials: list[dict[str, Any]], training: str) -> None:
    """Log each trial as a nested run, in one request a run."""
    from mlflow.entities import Metric, Param

    for trial in trials:
        tags = {"mlflow.parentRunId": parent.run_id, "mlflow.runName": f"trial {trial['number']}", "training": training}
        nested = mlflow_client.create_run(parent.experiment_id, tags=tags)
        params = [Param(name, str(value)) for name, value in trial.items() if name not in ("number", "rmse")]
        stamp = nested.info.start_time
        mlflow_client.log_batch(nested.info.run_id, [Metric("tuning_rmse", trial["rmse"], stamp, 0)], params)
        mlflow_client.set_terminated(nested.info.run_id)
