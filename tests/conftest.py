"""What tests share: the sample in memory, a stand-in server, and one small world where the whole job ran once."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

import docker
import httpx
import pandas as pd
import pytest
import uvicorn
from playwright.sync_api import Browser, sync_playwright
from skops import io as skops_io

from benchmarks import servers
from models.body import record
from models.estimator import TRUSTED_TYPES, RatingModel
from models.promotion import Verdict
from sample import generator, tmdb_server
from settings import PROJECT, Settings, get_settings
from tasks.foundation.clock import now
from tasks.foundation.store import Store, open_store
from tasks.registry import versions as registry
from tasks.registry.versions import CHAMPION, Version, download
from tasks.release.targets.bento import free_port

RCLONE = Path(sys.executable).with_name("rclone")
KEY, SECRET = "premiere-test", servers.SECRET
# Read before any test empties the settings. Unset, the tests marked `recorded` skip.
RECORDED = get_settings().recorded_data
TODAY = date(2026, 6, 30)


# What takes its time: a test that asks for one of these, or lies in one of these files, is not fast.
SLOW_FIXTURES = {"prefect_api", "_world", "service", "docker_engine", "postgres", "server", "seaweed", "prefect"}
SLOW = "default_world estimator feature_table life mlflow_database replay tether bento tuning ecs"
SLOW_FILES = {f"test_{name}" for name in SLOW.split()}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        # With several workers the tests of one file stay together, as they share what is slow to make. So do all that
        # need Docker or a browser: a container that starts is a new network, at which Chromium drops what it loads.
        fixtures = set(item.fixturenames)  # type: ignore[attr-defined]
        network = item.get_closest_marker("docker") or fixtures & {"docker_engine", "browser"}
        item.add_marker(pytest.mark.xdist_group("network" if network else item.path.stem))
        if not SLOW_FIXTURES & fixtures and item.path.stem not in SLOW_FILES:
            item.add_marker(pytest.mark.fast)
    if RECORDED is None:
        for item in items:
            if item.get_closest_marker("recorded"):
                item.add_marker(pytest.mark.skip(reason="RECORDED_DATA, the folder of recorded movies, is not set"))
    elif not RECORDED.is_dir():
        raise pytest.UsageError(f"RECORDED_DATA is {RECORDED}, which is no folder: correct it, or leave it empty")


@pytest.fixture(scope="session")
def bodies() -> list[dict[str, Any]]:
    """The sample's movie bodies as of `TODAY`."""
    return generator.movies(TODAY)


@pytest.fixture(scope="session")
def rated(bodies: list[dict[str, Any]]) -> pd.DataFrame:
    """The sample's rated movies as training sees them, oldest first. Do not edit."""
    movies = pd.DataFrame([record(body, now()) for body in bodies])
    movies["release_date"] = pd.to_datetime(movies["release_date"])
    return movies[movies["vote_average"].notna()].reset_index(drop=True)


@contextmanager
def serving(bodies: list[dict[str, Any]], **options: Any) -> Iterator[str]:
    """Serve bodies with the stand-in over HTTP on loopback; yield its base URL."""
    with serving_app(tmdb_server.app(tmdb_server.Catalogue(bodies), **options)) as url:
        yield url


@contextmanager
def serving_app(app: Any) -> Iterator[str]:
    """Serve an app of the stand-in in this process."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/3"
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.fixture
def serve() -> Callable[..., Any]:
    return serving


def set_environment(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Point every setting into a folder, and away from the developer's own environment."""
    for name in Settings.model_fields:
        patch.setenv(name.upper(), "")
    patch.setenv("STORE_URI", str(folder / "store"))
    patch.setenv("WAREHOUSE_URL", f"sqlite:///{folder}/warehouse.db")
    patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
    patch.setenv("OPTUNA_STORAGE", f"sqlite:///{folder}/optuna.db")
    patch.setenv("BENTOML_HOME", str(folder / "bentos"))
    get_settings.cache_clear()


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty world of its own in a folder."""
    set_environment(monkeypatch, tmp_path)
    yield tmp_path
    get_settings.cache_clear()


@pytest.fixture(scope="session")
def prefect_api() -> Iterator[None]:
    """A Prefect database of the tests' own."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness():
        yield


@dataclass(frozen=True)
class World:
    """A folder in which the whole job ran once on the sample."""

    folder: Path
    collected: dict[str, Any]
    trained: dict[str, Any]
    promoted: dict[str, Any]


@pytest.fixture(scope="session")
def _world(prefect_api: None, tmp_path_factory: pytest.TempPathFactory) -> World:
    from flows.collect import collect_movies
    from flows.promote import promote_model
    from flows.train import train_model

    folder = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        set_environment(patch, folder)
        try:
            collected = collect_movies(generator.FIRST_DAY, TODAY)
            trained = train_model(trials=4, as_of=TODAY)
            return World(folder, collected, trained, promote_model())
        finally:
            get_settings.cache_clear()


@pytest.fixture
def world(_world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The world after one run of the whole job; tests read it, and leave it as it was."""
    set_environment(monkeypatch, _world.folder)
    yield _world
    get_settings.cache_clear()


@pytest.fixture
def copied_world(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A copy of the world that a test may move as it likes; BentoML, which reads its home once, keeps the first."""
    folder = tmp_path / "world"
    shutil.copytree(world.folder, folder, ignore=shutil.ignore_patterns("bentos", "mlflow.db"))
    # MLflow's database says where files lie: what a copy deletes is its own.
    with (
        contextlib.closing(sqlite3.connect(world.folder / "mlflow.db")) as first,
        contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as copy,
    ):
        copy.executescript("\n".join(first.iterdump()).replace(str(world.folder), str(folder)))
    set_environment(monkeypatch, folder)
    monkeypatch.setenv("BENTOML_HOME", str(world.folder / "bentos"))
    get_settings.cache_clear()
    yield dataclasses.replace(world, folder=folder)
    get_settings.cache_clear()


def another_version() -> Version:
    """Register the champion's model once more, as a version of its own."""
    client, name, champion = registry.client(), get_settings().model_name, registry.find(CHAMPION)
    source = client.get_model_version(name, str(champion.number)).source
    tags = {k: v for k, v in champion.tags.items() if k not in ("verdict", "promoted_at", "rolled_back")}
    return registry.find(
        str(client.create_model_version(name, source=source, run_id=champion.run_id, tags=tags).version)
    )


@pytest.fixture
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gate that lets every version but the champion pass: what follows it is what is tested."""

    def compare(challenger: Version, champion: Version | None, gate: Any) -> tuple[Verdict, None]:
        return Verdict("kept" if champion and champion.number == challenger.number else "better", "a test"), None

    monkeypatch.setattr("tasks.release.promoting._compare", compare)
    monkeypatch.setattr("flows.promote.try_bento", lambda *_: None)


@pytest.fixture(scope="session")
def service(_world: World) -> Iterator[str]:
    """The address of the built service, running."""
    from tasks.release.targets.bento import running

    with pytest.MonkeyPatch.context() as patch:
        set_environment(patch, _world.folder)
        try:
            with running(_world.promoted["shipped"][0]) as url:
                yield url
        finally:
            get_settings.cache_clear()


def without_project(folder: Path) -> dict[str, str]:
    """The variable with which a process does not see the installed project, but only what it is given."""
    folder.mkdir(exist_ok=True)
    hide = f"import sys; sys.path[:] = [path for path in sys.path if path != {str(PROJECT)!r}]\n"
    (folder / "sitecustomize.py").write_text(hide)
    return {"PYTHONPATH": str(folder)}


# A movie of which much is told.
FULL: dict[str, Any] = {
    "title": "A test",
    "overview": "A wonderful story.",
    "tagline": "See it.",
    "genres": ["Drama"],
    "release_date": "2026-12-24",
    "original_language": "en",
    "runtime": 110,
    "budget": 30_000_000,
    "production_companies": ["Some Pictures"],
    "production_countries": ["US"],
    "belongs_to_collection": "Some Collection",
    "cast": ["A B", "C D"],
    "directors": ["E F"],
    "writers": ["G H"],
}


def predict(service: str, movie: dict[str, Any]) -> httpx.Response:
    """Ask a service for one movie."""
    return httpx.post(f"{service}/predict", json={"movie": movie}, timeout=30)


def case(name: str) -> dict[str, Any]:
    """Return a recorded case."""
    return dict(json.loads((RECORDED / "cases" / f"service-{name}.json").read_text()))


@contextmanager
def another(world: World, **environment: str) -> Iterator[str]:
    """The champion's service once more, with an environment of its own."""
    from tasks.release.targets import bento

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bento, "ALONE", bento.ALONE | environment)
        with bento.running(world.promoted["shipped"][0]) as url:
            yield url


def load_fit(version: Version, fit: Literal["model", "judged"]) -> RatingModel:
    """Load a registered fit into this process, with the present code."""
    with tempfile.TemporaryDirectory() as folder:
        return skops_io.load(download(version, fit, Path(folder))[0], trusted=TRUSTED_TYPES)


class S3Server:
    """rclone serving a folder as S3; buckets are folders."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        (folder / "movies").mkdir(parents=True)

    def start(self) -> None:
        self.process = subprocess.Popen(
            [RCLONE, "serve", "s3", "--auth-key", f"{KEY},{SECRET}", "--addr", f"127.0.0.1:{self.port}", self.folder],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | {"HOME": str(self.folder.parent)},
        )  # fmt: skip
        wait_for_port(self.port)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    server = S3Server(tmp_path / "s3")
    for name, value in {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.port}",
    }.items():
        monkeypatch.setenv(name, value)
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of SeaweedFS: S3 whose conditional writes hold, as Amazon's do; rclone's do not. Bucket: movies."""
    server, url = servers.seaweed(tmp_path_factory.mktemp("seaweed") / "s3", KEY, "movies")
    server.start()
    yield url
    server.kill()


@pytest.fixture
def s3_store(seaweed: str, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty store on a real S3 server."""
    for name, value in {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_ENDPOINT_URL": seaweed}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return open_store(f"s3://movies/{uuid.uuid4().hex}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if not chromium:
        pytest.skip("Chromium is not here: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[docker.DockerClient]:
    """A Docker engine that answers, with its command first on PATH; the tests that need one skip without it."""
    for command in (Path(folder) / "docker" for folder in os.environ["PATH"].split(os.pathsep)):
        if command.exists() and not subprocess.run([command, "info"], capture_output=True, timeout=60).returncode:
            break
    else:
        pytest.skip("no Docker engine answers here: start one, or install Docker")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
        client = docker.from_env(timeout=600)
        yield client
        client.close()


@pytest.fixture(scope="session")
def image_registry(docker_engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real image registry on loopback."""
    if not shutil.which("docker-registry"):
        pytest.skip("no image registry is here: apt-get install docker-registry")
    folder, port = tmp_path_factory.mktemp("registry"), free_port()
    config = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder)}},
        "http": {"addr": f"127.0.0.1:{port}"},
        "log": {"level": "error"},
    }
    (folder / "config.yml").write_text(json.dumps(config))
    server = subprocess.Popen(
        ["docker-registry", "serve", folder / "config.yml"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_for_port(port)
    yield f"127.0.0.1:{port}"
    server.terminate()
    server.wait(20)


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert time.monotonic() < deadline
        time.sleep(0.05)


def write_jsonl(path: Path, bodies: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(body) + "\n" for body in bodies))
    return path


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if servers.postgres_programs() is None:
        pytest.skip("PostgreSQL's initdb is not here: apt-get install postgresql")
    folder = Path("/tmp") / f"premiere-pg-{os.getpid()}"  # its user must reach it, which it may not below pytest's
    try:
        server, url = servers.postgres(folder / "server")
        server.start()
        yield f"{url.replace('+psycopg', '')}postgres"
        server.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
