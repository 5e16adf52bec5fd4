"""MLflow: what was tried, what came of it, and which version is champion.

One run a training, with the code of `models/` as it was. Under one registered version live two fits of the same recipe:
`model`, fitted on everything known, is what ships; `judged`, fitted before the hold-out, is what its metrics speak of
and what later versions are compared with. Both are saved as skops, without pickle. Aliases: `challenger` is
the newest version, `champion` the one in use.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
import warnings
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from prefect import task

from models.estimator import TRUSTED_TYPES, RatingModel
from models.movie import INPUTS
from settings import PROJECT, get_settings
from tasks.report import model_card, plots, save
from tasks.tmdb import now
from tasks.training import by_slice, comparison
from tasks.tuning import Tuned

CHAMPION, CHALLENGER = "champion", "challenger"
EXPERIMENT = "premiere"
CODE = "code/models"  # where in a run the code lies
NOT_FOUND = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # the second is MLflow's word for a missing alias
SERVING_PACKAGES = ("scikit-learn", "skops", "xgboost-cpu", "lightgbm", "textblob", "pandas", "pydantic")


@dataclass(frozen=True)
class Version:
    """One registered version: its number, the address of its files, and what is known of it."""

    number: int
    run_id: str
    tags: dict[str, str]

    @property
    def label(self) -> str:
        """How it is called everywhere outside MLflow: v7."""
        return f"v{self.number}"


def client() -> Any:
    """Return an MLflow client of the configured registry; MLflow is imported only here and is slow to."""
    warnings.filterwarnings("ignore", module="mlflow")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow

    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    mlflow.set_tracking_uri(get_settings().mlflow_tracking_uri)
    return mlflow.MlflowClient()


def inputs(movies: pd.DataFrame) -> pd.DataFrame:
    """Return the raw facts that a registered model takes, as its signature wants them: dates as ISO text."""
    frame = movies[list(INPUTS)].copy()
    frame["release_date"] = movies["release_date"].dt.strftime("%Y-%m-%d")
    return frame


@task(name="register", retries=2, retry_delay_seconds=5)
def register(
    shipped: RatingModel,
    judged: RatingModel,
    holdout: pd.DataFrame,
    recipe: Tuned,
    metrics: dict[str, float],
    tags: dict[str, str],
) -> Version:
    """Log a training run with both fits and return the new version, which becomes challenger.

    The run holds its trials as nested runs, the hold-out as its data set, the slices, the plots and the model card.
    """
    mlflow_client = client()
    import mlflow

    name, trials = get_settings().model_name, recipe.trials
    params = {"family": recipe.family, **recipe.params, "linear_share": recipe.linear_share, "seed": tags["seed"]}
    metrics = metrics | {"tuning_rmse": recipe.rmse}
    mlflow.set_experiment(experiment_id=_experiment(mlflow_client))
    raw = inputs(holdout)
    parts = by_slice(judged, holdout)
    card = model_card(tags, params, comparison(metrics, params["family"]), metrics, parts)
    signature = mlflow.models.infer_signature(raw, shipped.predict(raw))
    with mlflow.start_run(run_name=f"{params['family']} as of {tags['as_of']}") as run, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.log_params(params)
        mlflow.log_metrics(metrics)
        mlflow.set_tags(tags)
        mlflow.log_table(pd.DataFrame(trials), "trials.json")
        mlflow.log_table(pd.DataFrame(parts), "slices.json")
        mlflow.log_text(card, "model_card.md")
        facts = raw.drop(columns=[name for name in raw if raw[name].map(type).isin((list, dict)).any()])
        mlflow.log_input(
            mlflow.data.pandas_dataset.from_pandas(facts, name=f"{tags['source']}-{tags['data']}"), context="hold-out"
        )
        with tempfile.TemporaryDirectory() as folder:
            save(plots(judged, holdout, trials), Path(folder))
            mlflow.log_artifacts(folder, "plots")
        for path in model_code(PROJECT):
            mlflow.log_artifact(str(path), CODE)
        _log_trials(mlflow_client, run.info, trials)
        logged = {
            fit: mlflow.sklearn.log_model(
                model,
                name=fit,
                signature=signature,
                input_example=raw.head(2),
                serialization_format="skops",
                skops_trusted_types=TRUSTED_TYPES,
                pip_requirements=[f"{package}=={installed(package)}" for package in SERVING_PACKAGES],
            )
            for fit, model in (("model", shipped), ("judged", judged))
        }
        if logged["model"].signature is None:
            raise RuntimeError("MLflow kept no signature of the model: its input example has a type it cannot name")
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
        tags=tags | digests | {"judged_uri": logged["judged"].model_uri},
    )
    version = find(str(created.version))
    set_alias(CHALLENGER, version)
    return version


def describe(judged: RatingModel, movies: pd.DataFrame, source: str) -> dict[str, str]:
    """Return what a person asks of a version, as tags: when, from what, by which code."""
    return {
        "as_of": str((movies["release_date"].max() + pd.Timedelta(days=1)).date()),
        "judged_until": judged.learned_until_,
        "family": judged.family,
        "synthetic": str(source == "sample").lower(),
        "movies": str(len(movies)),
        "commit": commit(),
        "lock": lock_hash(),
        "trained_at": now().isoformat(),
    }


def _log_trials(mlflow_client: Any, parent: Any, trials: list[dict[str, Any]]) -> None:
    """Log each trial as a nested run, in one request a run."""
    from mlflow.entities import Metric, Param

    for trial in trials:
        tags = {"mlflow.parentRunId": parent.run_id, "mlflow.runName": f"trial {trial['number']}"}
        nested = mlflow_client.create_run(parent.experiment_id, tags=tags)
        params = [Param(name, str(value)) for name, value in trial.items() if name not in ("number", "rmse")]
        stamp = nested.info.start_time
        mlflow_client.log_batch(nested.info.run_id, [Metric("tuning_rmse", trial["rmse"], stamp, 0)], params)
        mlflow_client.set_terminated(nested.info.run_id)


def find(number_or_alias: str) -> Version:
    """Return a version by its number, or the one that an alias points to now.

    Raises LookupError, with what to do about it, where there is none.
    """
    from mlflow.exceptions import MlflowException

    name = get_settings().model_name
    mlflow_client = client()
    try:
        if number_or_alias.isdigit():
            found = mlflow_client.get_model_version(name, number_or_alias)
        else:
            found = mlflow_client.get_model_version_by_alias(name, number_or_alias)
    except MlflowException as error:
        if error.error_code not in NOT_FOUND:
            raise  # the registry does not answer: that is not the same as having nothing
        raise LookupError(
            f"the registry has no {number_or_alias} of model {name}: train one first, with python -m flows.train"
            + (", and promote it, with python -m flows.promote" if number_or_alias == CHAMPION else "")
        ) from error
    return Version(int(found.version), found.run_id, dict(found.tags))


def current_champion() -> Version | None:
    """Return the champion, or None where there is none yet."""
    try:
        return find(CHAMPION)
    except LookupError:
        return None


def find_trained(tags: dict[str, str]) -> Version | None:
    """Return the newest version that carries all these tags, or None."""
    from mlflow.exceptions import MlflowException

    try:
        versions = client().search_model_versions(f"name = '{get_settings().model_name}'")
    except MlflowException as error:
        if error.error_code not in NOT_FOUND:
            raise
        return None
    alike = [v for v in versions if tags.items() <= v.tags.items()]
    return find(str(max(int(v.version) for v in alike))) if alike else None


def set_alias(alias: str, version: Version) -> None:
    """Point an alias to a version."""
    client().set_registered_model_alias(get_settings().model_name, alias, str(version.number))


def tag_version(version: Version, tags: dict[str, str]) -> None:
    """Write facts onto a version."""
    mlflow_client = client()
    for key, value in tags.items():
        mlflow_client.set_model_version_tag(get_settings().model_name, str(version.number), key, value)


def run_metrics(version: Version) -> dict[str, float]:
    """Return the metrics of the run that made a version."""
    return dict(client().get_run(version.run_id).data.metrics)


def download(version: Version, fit: Literal["model", "judged"], folder: Path) -> tuple[Path, Path]:
    """Bring a fit and the code that it was fitted with into a folder; return the model's file and the code's folder.

    Raises RuntimeError where either is not what was registered.
    """
    client()
    import mlflow

    uri = model_uri(version) if fit == "model" else version.tags["judged_uri"]
    fetched = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder / "fit")))
    code = Path(mlflow.artifacts.download_artifacts(f"runs:/{version.run_id}/code", dst_path=str(folder)))
    found = {"sha256" if fit == "model" else "judged_sha256": content_hash(fetched), "code_sha256": code_digest(code)}
    for name, digest in found.items():
        if version.tags.get(name) != digest:
            raise RuntimeError(f"{version.label}: {name} is {digest}, registered was {version.tags.get(name)}")
    return fetched / "model.skops", code


def model_uri(version: Version) -> str:
    """Return MLflow's address of what ships."""
    return f"models:/{get_settings().model_name}/{version.number}"


def content_hash(folder: Path) -> str:
    """Return the SHA-256 of the stored model file: the same in the registry, in a bento and in an image."""
    return hashlib.sha256((folder / "model.skops").read_bytes()).hexdigest()


def model_code(folder: Path) -> list[Path]:
    """Return the files of the package `models` in a folder: what a fit needs to be loaded."""
    return sorted((folder / "models").glob("*.py"))


def code_digest(folder: Path) -> str:
    """Return the SHA-256 of the package `models` in a folder."""
    digest = hashlib.sha256()
    for path in model_code(folder):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def lock_hash() -> str:
    """Return a digest of the locked libraries."""
    return hashlib.sha256((PROJECT / "requirements.txt").read_bytes()).hexdigest()[:12]


def commit() -> str:
    """Return the commit of the project's checkout, or SOURCE_COMMIT where there is no checkout or no git."""
    if not (PROJECT / ".git").exists() or not shutil.which("git"):
        return get_settings().source_commit
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=PROJECT, capture_output=True, text=True, check=False)
    return found.stdout.strip() or get_settings().source_commit


def _experiment(mlflow_client: Any) -> str:
    """Return the experiment's id. With a database as registry its files go beside that database."""
    found = mlflow_client.get_experiment_by_name(EXPERIMENT)
    if found:
        return str(found.experiment_id)
    uri = get_settings().mlflow_tracking_uri
    location = None
    if uri.startswith("sqlite:///"):
        location = (Path(uri.removeprefix("sqlite:///")).resolve().parent / "mlartifacts").as_uri()
    return str(mlflow_client.create_experiment(EXPERIMENT, artifact_location=location))
