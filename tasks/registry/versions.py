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
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from settings import get_settings, make_room, without_passwords, without_secrets
from tasks.foundation.clock import now
from tasks.registry.mlflow_database import LOCKED, RegistryAway, make_ready

CHAMPION, CHALLENGER = "champion", "challenger"
EXPERIMENT = "premiere"
CODE = "code/models"  # where in a run the code lies
NOT_FOUND = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # the second is MLflow's word for a missing alias


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

    @property
    def known_on(self) -> date:
        """The day whose knowledge it learned from; older versions tell that of their newest movie only."""
        return date.fromisoformat(self.tags.get("known_on", self.tags["as_of"])[:10])


def client() -> Any:
    """Return an MLflow client of the configured registry; MLflow is imported only here and is slow to.

    A database in a file may be locked for a while by a backup or a page: it is waited for. A new one is made. Raises
    RegistryAway, with what to do, for one that was left half made.
    """
    warnings.filterwarnings("ignore", module="mlflow")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow

    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    uri = _tracking_uri()
    make_ready(uri)
    mlflow.set_tracking_uri(f"{uri}?timeout={LOCKED}" if uri.startswith("sqlite:") and "?" not in uri else uri)
    return mlflow.MlflowClient()


def _tracking_uri() -> str:
    """Return MLflow's address. Its errors quote it: user and password of a server go where MLflow takes them, too."""
    uri = get_settings().mlflow_tracking_uri.get_secret_value()
    if not uri.startswith("http"):
        return make_room(uri, "MLFLOW_TRACKING_URI")
    parts = urlsplit(uri)
    if parts.username:
        os.environ["MLFLOW_TRACKING_USERNAME"] = unquote(parts.username)
        os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(parts.password or "")
    return without_secrets(uri)


def check_registry() -> None:
    """Raise RegistryAway, with what to do about it, unless MLflow answers and takes a tag and a file."""
    uri = without_secrets(get_settings().mlflow_tracking_uri.get_secret_value())
    try:
        with _impatient(), tempfile.TemporaryDirectory() as folder:
            mlflow_client = client()
            from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

            ours = mlflow_client.get_experiment(experiment(mlflow_client))
            mlflow_client.set_experiment_tag(ours.experiment_id, "written", now().isoformat())
            (Path(folder) / "written.txt").write_text(now().isoformat())
            files: Any = get_artifact_repository(ours.artifact_location)
            files.log_artifact(str(Path(folder) / "written.txt"))
    except RegistryAway as error:
        raise RegistryAway(f"nothing was trained: {error}") from None
    except Exception as error:
        raise RegistryAway(
            without_passwords(
                f"nothing was trained: MLflow at {uri} does not answer, or cannot be written to: {str(error)[:500]}. "
                "Start it, mend the rights on its database and its files, or mend MLFLOW_TRACKING_URI"
            )
        ) from None  # MLflow's own errors show its address with the password


@contextmanager
def _impatient() -> Iterator[None]:
    """Ask a server a few times within seconds, not for minutes, while the block runs."""
    hasty = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
    before = {name: os.environ.get(name) for name in hasty}
    os.environ.update(hasty)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


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
    return find_alias(CHAMPION)


def find_alias(alias: str) -> Version | None:
    """Return the version that an alias points to, or None where it points to none."""
    try:
        return find(alias)
    except LookupError:
        return None


def all_versions() -> list[Version]:
    """Return all versions of the model, oldest first."""
    found: list[Any] = []
    with _where_it_is():
        found = client().search_model_versions(f"name = '{get_settings().model_name}'")
    return sorted((Version(int(v.version), v.run_id, dict(v.tags)) for v in found), key=lambda version: version.number)


@contextmanager
def _where_it_is() -> Iterator[None]:
    """Pass over the rest of the block where MLflow has not what it asks for."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code not in NOT_FOUND:
            raise


def delete_files(version: Version) -> None:
    """Delete the files of a version, of its fits and of its run; its rows in the registry stay."""
    with _where_it_is():  # a person may have deleted the run, with what belonged to it
        _delete_files_of(client().get_run(version.run_id))


def _delete_files_of(run: Any) -> None:
    """Delete what lies in a run and in the fits that it made; what is gone is no error."""
    mlflow_client = client()
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    def delete(place: str) -> None:
        files: Any = get_artifact_repository(place)
        files.delete_artifacts()

    for fit in run.outputs.model_outputs if run.outputs else []:
        with _where_it_is():
            delete(mlflow_client.get_logged_model(fit.model_id).artifact_location)
    with _where_it_is():
        delete(run.info.artifact_uri)


def unfinished_runs(before: datetime) -> list[Any]:
    """Return MLflow's runs of trainings that began before a moment, came to no end, and to no version of any model."""
    mlflow_client, stamp = client(), int(before.timestamp() * 1000)
    asked = f"tags.family != '' and attributes.status != 'FINISHED' and attributes.start_time < {stamp}"
    found = mlflow_client.search_runs([experiment(mlflow_client)], asked, max_results=1_000)
    return [run for run in found if not mlflow_client.search_model_versions(f"run_id = '{run.info.run_id}'")]


def discard_run(run: Any) -> None:
    """Delete a run of MLflow's, and before it its files."""
    _delete_files_of(run)
    client().delete_run(run.info.run_id)


def find_trained(tags: dict[str, str]) -> Version | None:
    """Return the newest version that carries all these tags and whose files are there, or None."""
    alike = [version for version in all_versions() if tags.items() <= version.tags.items()]
    return next((version for version in reversed(alike) if has_files(version)), None)


def has_files(version: Version) -> bool:
    """Say whether the fits of a version and its code lie in the registry, as far as listing them tells."""
    import mlflow

    wanted = {model_uri(version): "model.skops", version.tags.get("judged_uri", ""): "model.skops"}
    wanted |= {f"runs:/{version.run_id}/{CODE}": "estimator.py"}
    listed: dict[str, list[Any]] = {}
    with _where_it_is():
        listed |= {uri: mlflow.artifacts.list_artifacts(artifact_uri=uri) for uri in wanted}
    held = {uri: any(Path(f.path).name == wanted[uri] and f.file_size for f in files) for uri, files in listed.items()}
    return bool(held) and all(held.values())


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

    Raises LookupError where either cannot be had, RuntimeError where it is not what was registered.
    """
    client()
    import mlflow
    from mlflow.exceptions import MlflowException

    uri = model_uri(version) if fit == "model" else version.tags.get("judged_uri", "")
    try:
        fetched = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder / "fit")))
        code = Path(mlflow.artifacts.download_artifacts(f"runs:/{version.run_id}/code", dst_path=str(folder)))
        digest = content_hash(fetched)
    except (MlflowException, OSError) as error:
        why = without_passwords(str(getattr(error, "strerror", None) or error))
        raise LookupError(f"{version.label}: its fit `{fit}` at {uri}, or its code, is not to be had: {why}") from error
    found = {"sha256" if fit == "model" else "judged_sha256": digest, "code_sha256": code_digest(code)}
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


def experiment(mlflow_client: Any) -> str:
    """Return the experiment's id. With a database as registry its files go beside that database."""
    found = mlflow_client.get_experiment_by_name(EXPERIMENT)
    if found:
        return str(found.experiment_id)
    uri = _tracking_uri()
    location = None
    if uri.startswith("sqlite:///"):
        location = (Path(uri.removeprefix("sqlite:///")).resolve().parent / "mlartifacts").as_uri()
    return str(mlflow_client.create_experiment(EXPERIMENT, artifact_location=location))
