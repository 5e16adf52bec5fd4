"""BentoML: the model in its store, the bento built from it, and the service started for a question or for good.

Everything is tagged with the MLflow version (`movie-rating:v7`, `premiere:v7`) and asked for by that tag. BentoML runs
as a command of its own: it reads its home and its arguments once a process.

    python -m tasks.release.targets.bento            serve the champion on loopback until stopped
    python -m tasks.release.targets.bento --store    put its model into BentoML's store and print its tag
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import httpx
import numpy as np
import yaml
from prefect import task

from models.movie import TOLERANCE
from settings import PROJECT, get_settings, make_folder
from tasks.foundation.retrying import worth_another_try
from tasks.foundation.run_log import log
from tasks.foundation.starting import wait_for
from tasks.foundation.tether import tethered
from tasks.registry import versions as registry
from tasks.registry.versions import Version
from tasks.release.targets.probing import probe, score_golden

# A service that is tried asks for no token, follows nothing and records nothing.
ALONE = {"SERVICE_API_TOKEN": "", "SERVICE_PER_MINUTE": "0", "FOLLOW_REGISTRY": "false", "RECORD_PREDICTIONS": "false"}


@task(
    name="build bento",
    task_run_name="build bento {version.label}",
    retries=1,
    retry_delay_seconds=5,
    retry_condition_fn=worth_another_try,
)
def build_bento(version: Version) -> str:
    """Put the model into BentoML's store and build the bento, unless they are there; return the bento's tag."""
    return store_bento(version)


def store_bento(version: Version) -> str:
    """Put the model into BentoML's store and build the bento; return its tag.

    A bento of that tag stays if it was built from this model and from the code as it is now. A service that runs has a
    copy of its own. Raises RuntimeError, before anything is replaced, for a version that needs older code.
    """
    tag, code = f"premiere:{version.label}", code_digest(PROJECT)
    other_model = import_model(version)
    found = _bentoml("get", tag, "-o", "json", check=False)
    if found.returncode == 0 and not other_model and json.loads(found.stdout)["labels"].get("code") == code:
        return tag
    require_todays_code(version)
    if found.returncode == 0:
        _bentoml("delete", tag, "--yes")
    facts = ["--version", version.label, "--label", f"code={code}", "--arg", f"model={model_tag(version)}"]
    _bentoml("build", *facts, str(PROJECT))
    return tag


def bento_to_serve(version: Version) -> str:
    """Return the tag of the bento that serves a version: as `store_bento`, or else the one that its promotion built.

    So an upgrade whose code rates otherwise takes nothing down: the version goes on with its own code until the gate
    lets another through.
    """
    try:
        return store_bento(version)
    except RuntimeError as error:
        tag = f"premiere:{version.label}"
        try:
            require(tag, version.tags["sha256"])
        except LookupError:
            raise error from None
        log().warning("%s is served as it was built: %s", tag, error)
        return tag


def delete(labels: Collection[str]) -> int:
    """Delete the bentos of versions, and their models in BentoML's store, where they are; return how many bentos."""
    store, removed = Path(_home()), 0
    for label in labels:
        if (store / "bentos" / "premiere" / label).exists():
            _bentoml("delete", f"premiere:{label}", "--yes")
            removed += 1
        if (store / "models" / get_settings().model_name / label).exists():
            _bentoml("models", "delete", f"{get_settings().model_name}:{label}", "--yes")
    return removed


def require_todays_code(version: Version) -> None:
    """Raise RuntimeError unless today's code, which a bento is built from, rates as a version's own does."""
    if version.tags.get("code_sha256") == registry.code_digest(PROJECT):
        return
    by_its_own = score_golden(version).table()
    try:
        off = float(np.abs(by_its_own - score_golden(version, PROJECT).table()).max())
        wrong = "" if off <= TOLERANCE else f"rates otherwise, by up to {off:.2g} points"
    except RuntimeError as error:
        wrong = f"fails on it: {str(error).strip().splitlines()[-1]}"
    if wrong:
        raise RuntimeError(
            f"{version.label} was fitted by other code of models/, and today's {wrong}. Train anew and promote (python "
            f"-m flows.train, python -m flows.promote), serve its own bento (bentoml serve premiere:{version.label}), "
            "or roll back to one that has its own (make rollback)"
        )


def content_name(version: Version) -> str:
    """Return a name for what a version's bento holds, model and code: the same name never means two things."""
    return f"{version.label}-{version.tags['sha256'][:12]}-{code_digest(PROJECT)[:8]}"


def code_digest(project: Path) -> str:
    """Return the SHA-256 of all that a bento is built from beside its model: what bentofile.yaml includes or names."""
    bentofile = project / "bentofile.yaml"
    config = yaml.safe_load(bentofile.read_text())
    fits = [path for pattern in config["include"] for path in project.glob(pattern.lstrip("/"))]
    found = [file for path in fits for file in (path, *path.rglob("*")) if file.is_file()]
    named = [config["python"]["requirements_txt"], config["docker"]["setup_script"]]
    digest = hashlib.sha256()
    for path in sorted({bentofile, *found, *(project / name for name in named)}):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(project)} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def import_model(version: Version) -> bool:
    """Copy what ships of a version from MLflow into BentoML's model store, under the version's tag.

    Returns whether it had to: a model of that tag but of another registry's making is replaced.
    """
    os.environ["BENTOML_HOME"] = _home()
    registry.client()
    import bentoml

    with contextlib.suppress(bentoml.exceptions.NotFound):
        stored = bentoml.models.get(model_tag(version))
        if stored.info.metadata.get("sha256") == version.tags["sha256"]:
            return False
        bentoml.models.delete(model_tag(version))
    tags = version.tags
    facts: dict[str, Any] = {key: tags[key] for key in ("sha256", "family", "source", "trained_at")}
    facts |= {"synthetic": tags["synthetic"] == "true", "metrics": registry.run_metrics(version)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bentoml.mlflow.import_model(model_tag(version), registry.model_uri(version), metadata=facts)
    return True


def content(version: Version) -> str:
    """Return the SHA-256 of the model file in BentoML's store that a version's bento serves."""
    return _stored_content(model_tag(version))


def require(tag: str, digest: str) -> None:
    """Raise LookupError unless a bento is in the store, with a model file of this SHA-256."""
    label = tag.rpartition(":")[2]
    if (
        _bentoml("get", tag, check=False).returncode
        or _stored_content(f"{get_settings().model_name}:{label}") != digest
    ):
        raise LookupError(f"{tag} is gone from BentoML's store, or is another: promote {label} again to build it")


def export(tag: str, folder: Path) -> Path:
    """Write a bento with its model as one file into a folder and return its path."""
    file = folder / f"{tag.replace(':', '-')}.bento"
    _bentoml("export", tag, str(file))
    return file


def _stored_content(tag: str) -> str:
    found = _bentoml("models", "get", tag, "-o", "path", check=False)
    folder = Path(found.stdout.strip()) / "mlflow_model"
    return registry.content_hash(folder) if found.returncode == 0 and folder.exists() else ""


def model_tag(version: Version) -> str:
    """Return the tag of a version in BentoML's model store."""
    return f"{get_settings().model_name}:{version.label}"


@task(name="try the bento", task_run_name="try {bento}")
def try_bento(version: Version, bento: str, latency_ms: float) -> None:
    """Serve a bento as it was built and hold it to its model: see `tasks.release.targets.probing.probe`."""
    with running(bento) as url:
        probe(version, url, latency_ms)


@task(name="ask the service", task_run_name="ask {bento}")
def ask_service(bento: str, movies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Start a bento as it was built, ask it about each movie over HTTP, stop it, and return its answers.

    Raises RuntimeError with the service's own words where it does not start or does not answer 200.
    """
    answers = []
    with running(bento) as url:
        for movie in movies:
            response = httpx.post(f"{url}/predict", json={"movie": movie}, timeout=30)
            if response.status_code != 200:
                raise RuntimeError(
                    f"{bento} answered {response.status_code} to {movie['title']!r}: {response.text[:500]}"
                )
            answers.append(response.json())
    return answers


@contextmanager
def running(bento: str, port: int | None = None) -> Iterator[str]:
    """Serve a bento on loopback while the block runs; yield its address once it is ready.

    Raises RuntimeError with its last words where it ends before that, or is not ready within START_SECONDS.
    """
    port = port or free_port()
    url, command = f"http://127.0.0.1:{port}", tethered(*serve_command(bento, port))
    with (
        tempfile.NamedTemporaryFile() as output,
        home_of_its_own(bento, port) as home,
        subprocess.Popen(
            command, env=environment() | home | ALONE, stdin=subprocess.PIPE, stdout=output, stderr=output
        ) as server,
    ):

        def words() -> str:
            return Path(output.name).read_text(errors="replace")

        def ready() -> bool:
            if server.poll() is not None:
                raise RuntimeError(f"{bento} did not get ready on {url}; its last words:\n{words()[-3000:]}")
            return _ready(url)

        try:
            wait_for(f"{bento} on {url}", ready, words, log().info)
            yield url
        finally:
            server.terminate()  # then the tether is let go of: what does not end within its grace is killed


def serve_command(bento: str, port: int, host: str = "127.0.0.1") -> list[str]:
    """Return the command that serves a bento, on loopback where no other address is named."""
    return [sys.executable, "-m", "bentoml", "serve", bento, "--host", host, "--port", str(port)]


@contextmanager
def home_of_its_own(bento: str, port: int) -> Iterator[dict[str, str]]:
    """Yield the environment of a service on this port: see `make_home`; the folder goes with the block."""
    home = make_home(bento, _served(port))
    try:
        yield {"BENTOML_HOME": str(home)}
    finally:
        shutil.rmtree(home, ignore_errors=True)


def make_home(bento: str, home: Path) -> Path:
    """Make a folder that is BentoML's home to one service, and return it.

    BentoML keeps a service's metrics in its home and empties them when the next one starts there. The bento is a copy,
    so that it may be built anew meanwhile; the models are those of BENTOML_HOME.
    """
    store, name, version = Path(_home()), *bento.split(":")
    built = store / "bentos" / name / version
    if not built.exists():
        raise RuntimeError(f"{bento} is not in BentoML's store {store}: promote {version} again to build it")
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(built, home / "bentos" / name / version)
    (home / "models").symlink_to(store / "models")
    return home


def _served(port: int) -> Path:
    return Path(_home()) / "served" / str(port)


def store_champion() -> str:
    """Put the champion's model into BentoML's store, for a bento of today's code, and return its tag there."""
    version = registry.find(registry.CHAMPION)
    require_todays_code(version)
    import_model(version)
    return model_tag(version)


def serve_champion() -> None:
    """Become the service of the champion, in the foreground, on SERVICE_PORT.

    Raises RuntimeError where somebody listens on that port already.
    """
    settings = get_settings()
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", settings.service_port)) == 0:
            raise RuntimeError(f"port {settings.service_port} is in use: stop what runs there, or set SERVICE_PORT")
    bento = store_bento(registry.find(registry.CHAMPION))
    print(f"{bento} on http://127.0.0.1:{settings.service_port} (Ctrl-C stops it)", flush=True)
    become(bento, settings.service_port, _served(settings.service_port))


def become(bento: str, port: int, home: Path, host: str = "127.0.0.1") -> NoReturn:
    """Become the service of a bento, with a folder as its home: this process is it from now on."""
    command = serve_command(bento, port, host)
    # The bento is a copy elsewhere: it is told where the project's things are.
    places = {"WAREHOUSE_URL": get_settings().warehouse_url.get_secret_value(), "PROJECT_HOME": str(PROJECT)}
    places["BENTOML_HOME"] = str(make_home(bento, home))
    os.execve(command[0], command, environment() | places)  # noqa: S606 (our own interpreter)


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=2).status_code == 200
    except httpx.TransportError:
        return False


def _bentoml(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bentoml", *arguments]
    wide = {"COLUMNS": "9999"}  # it would break a long path in two
    done = subprocess.run(command, env=environment() | wide, cwd=PROJECT, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"bentoml {' '.join(arguments)} failed:\n{(done.stdout + done.stderr)[-3000:]}")
    return done


def _home() -> str:
    return str(make_folder(get_settings().bentoml_home, "BENTOML_HOME"))


def environment() -> dict[str, str]:
    """The environment of BentoML's commands: nothing is reported to its makers."""
    return os.environ | {"BENTOML_HOME": _home(), "BENTOML_DO_NOT_TRACK": "True", "PYTHONWARNINGS": "ignore"}


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    try:
        if sys.argv[1:] == ["--store"]:
            print(store_champion())
        else:
            serve_champion()
    except LookupError as error:
        sys.exit(f"nothing to serve: {error}")
    except RuntimeError as error:
        sys.exit(str(error))
