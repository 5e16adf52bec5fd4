"""The bento: what goes into it, when it is built anew, and that one service does another no harm."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest
import yaml
from conftest import World, another_version, wait_for_port, without_project

from serving.rater import Rater
from settings import PROJECT, get_settings
from tasks.foundation.tether import tethered
from tasks.registry import versions as registry
from tasks.release.targets import bento, images
from tasks.release.targets.bento import bento_to_serve, code_digest, free_port, running, store_bento

MOVIE = {"movie": {"title": "x"}}


def tracked() -> list[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the project's own files."""
    folder = tmp_path / "checkout"
    for name in tracked():
        if (PROJECT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / name, folder / name)
    return folder


def wanted() -> set[str]:
    folders = {"models": ".py", "serving": ".py", "web": ""}
    inside = {
        name
        for name in tracked()
        for folder, end in folders.items()
        if name.startswith(f"{folder}/") and name.endswith(end)
    }
    return inside | {"service.py", "settings.py", "bentofile.yaml"}


@pytest.mark.timeout(300)
def test_a_second_build_holds_what_the_first_holds_though_that_lies_in_its_folder(world: World, checkout: Path) -> None:
    home = checkout / "bentos"
    shutil.copytree(world.folder / "bentos" / "models", home / "models")
    for stray in ("data/service.py", ".venv/lib/settings.py", "bentos/tmp/old/src/service.py", "deploy/web/x.html"):
        (checkout / stray).parent.mkdir(parents=True, exist_ok=True)
        (checkout / stray).touch()
    label = registry.find(registry.CHAMPION).label
    model = f"model=movie-rating:{label}"
    (python,) = home.glob(f"models/movie-rating/{label}/mlflow_model/python_env.yaml")
    for version, fitted_on in (("v8", "3.11"), ("v9", "3.13")):
        python.write_text(re.sub("^python: .*", f"python: {fitted_on}.7", python.read_text(), flags=re.MULTILINE))
        done = subprocess.run(
            [sys.executable, "-m", "bentoml", "build", "--version", version, "--arg", model, str(checkout)],
            env=bento.environment() | {"BENTOML_HOME": str(home)} | without_project(checkout.parent / "hidden"),
            cwd=checkout, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        image = yaml.safe_load((home / "bentos" / "premiere" / version / "bento.yaml").read_text())["image"]
        assert (image["base_image"], image["python_version"]) == (f"python:{fitted_on}-slim", fitted_on)
        source = home / "bentos" / "premiere" / version / "src"
        assert {str(file.relative_to(source)) for file in source.rglob("*") if file.is_file()} == wanted()


def test_the_digest_of_the_code_is_that_of_all_that_a_bento_is_built_from_and_of_nothing_else(checkout: Path) -> None:
    before = code_digest(checkout)
    assert before == code_digest(PROJECT)
    (checkout / "README.md").write_text("other")
    (checkout / "tasks" / "service.py").write_text("other")
    assert code_digest(checkout) == before
    digests = {before}
    others = ["requirements-service.txt", "deploy/service-setup.sh"]
    for name in [*sorted(wanted()), *others]:
        with (checkout / name).open("a") as file:
            file.write("\n# another\n")
        digests.add(code_digest(checkout))
    assert len(digests) == len(wanted()) + len(others) + 1


def test_a_model_is_found_however_long_the_path_of_its_store_is(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("a" * 60) / ("b" * 60)
    long.mkdir(parents=True)
    (long / "bentos").symlink_to(world.folder / "bentos")
    monkeypatch.setenv("BENTOML_HOME", str(long / "bentos"))
    get_settings.cache_clear()
    version = registry.find(registry.CHAMPION)
    assert bento.content(version) == version.tags["sha256"]


def made(tag: str) -> tuple[str, str]:
    folder = get_settings().bentoml_home / "bentos" / tag.replace(":", "/")
    info = yaml.safe_load((folder / "bento.yaml").read_text())
    return info["creation_time"], info["labels"]["code"]


@pytest.mark.timeout(300)
def test_a_bento_of_older_code_is_built_anew_and_the_service_that_runs_it_keeps_its_own(
    world: World, service: str, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = registry.find(registry.CHAMPION)
    tag = store_bento(version)
    first, page = made(tag), httpx.get(f"{service}/ui/").text
    assert store_bento(version) == tag
    assert made(tag) == first
    index = checkout / "web" / "index.html"
    index.write_text(index.read_text() + "<!-- newer -->")
    try:
        with monkeypatch.context() as patch:
            patch.setattr(bento, "PROJECT", checkout)
            assert store_bento(version) == tag
        assert made(tag)[1] == code_digest(checkout) != first[1]
        built = get_settings().bentoml_home / "bentos" / tag.replace(":", "/") / "src" / "web" / "index.html"
        assert built.read_text().endswith("<!-- newer -->")
        assert httpx.get(f"{service}/ui/").text == page
        assert httpx.post(f"{service}/predict", json=MOVIE).status_code == 200
    finally:
        store_bento(version)
    assert made(tag)[1] == first[1]


def counted(url: str) -> dict[str, float]:
    """Return the counters of a service by name and labels."""
    lines = httpx.get(f"{url}/metrics", timeout=30).raise_for_status().text.splitlines()
    pairs = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
    return {name: float(value) for name, value in pairs if name.split("{")[0].endswith("_total")}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("way", ["make serve", "bentoml serve"])
def test_a_service_that_is_tried_empties_no_metrics_of_the_one_that_runs(
    world: World, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag, port = world.promoted["shipped"][0], free_port()
    monkeypatch.setenv("SERVICE_PORT", str(port))
    monkeypatch.setenv("WAREHOUSE_URL", f"sqlite:///{tmp_path}/warehouse.db")
    get_settings.cache_clear()
    ours = [sys.executable, "-m", "tasks.release.targets.bento"]
    command = tethered(*(ours if way == "make serve" else bento.serve_command(tag, port)))
    url, metrics = f"http://127.0.0.1:{port}", Counter[int]()
    quiet = subprocess.DEVNULL
    with subprocess.Popen(
        command, cwd=PROJECT, env=bento.environment(), stdin=subprocess.PIPE, stdout=quiet, stderr=quiet
    ):
        wait_for_port(port)
        while httpx.get(f"{url}/readyz", timeout=30).status_code != 200:
            pass
        before = counted(url)
        version = registry.find(registry.CHAMPION).label
        assert before['premiere_records_total{outcome="lost"}'] == 0
        assert before['premiere_records_total{outcome="dropped"}'] == 0
        assert f'premiere_clipped_total{{model="{version}"}}' in before
        assert before['premiere_thread_restarts_total{thread="recorder"}'] == 0
        for _ in range(3):
            httpx.post(f"{url}/predict", json=MOVIE, timeout=30).raise_for_status()
        (requests,) = [
            name
            for name in counted(url)
            if name.startswith("bentoml_service_request_total") and '"/predict",http_response_code="200"' in name
        ]
        assert counted(url)[requests] == 3
        stop = threading.Event()

        def scrape() -> None:
            while not stop.wait(0.02):
                metrics[httpx.get(f"{url}/metrics", timeout=30).status_code] += 1

        scraping = threading.Thread(target=scrape)
        scraping.start()
        with running(tag) as other:
            httpx.post(f"{other}/predict", json=MOVIE, timeout=30).raise_for_status()
        stop.set()
        scraping.join()
        assert metrics.keys() == {200}
        httpx.post(f"{url}/predict", json=MOVIE, timeout=30).raise_for_status()
        after = counted(url)
        assert after[requests] == 4
        assert after.keys() >= before.keys()
        if way == "make serve":
            again = subprocess.run(ours, cwd=PROJECT, env=dict(os.environ), capture_output=True, text=True, timeout=100)
            assert again.returncode == 1
            assert f"port {port} is in use" in again.stderr
            assert counted(url)[requests] == 4
        threads = httpx.get(f"{url}/ready").json()["threads"]
        assert threads["recorder"]["state"] == "up"
        assert threads["follower"]["state"] == "not started"


@pytest.mark.timeout(300)
def test_a_bento_served_by_hand_keeps_its_record_in_its_users_home_and_says_where(world: World, tmp_path: Path) -> None:
    tag, port = world.promoted["shipped"][0], free_port()
    environment = bento.environment() | {"HOME": str(tmp_path), "WAREHOUSE_URL": "", "DATA_HOME": ""}
    with (tmp_path / "log").open("w") as log, subprocess.Popen(
        tethered(*bento.serve_command(tag, port)),
        cwd=tmp_path, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log,
    ) as server:  # fmt: skip
        wait_until_ready(f"http://127.0.0.1:{port}")
        httpx.post(f"http://127.0.0.1:{port}/predict", json=MOVIE, timeout=30).raise_for_status()
        server.terminate()
    database = tmp_path / ".premiere" / "warehouse.db"
    with sqlite3.connect(database) as connection:
        assert connection.execute("select route from predictions").fetchall() == [("predict",)]
    assert f"predictions are recorded in sqlite:///{database}" in (tmp_path / "log").read_text()
    assert not list((get_settings().bentoml_home / "bentos" / tag.replace(":", "/") / "src").rglob("*.db"))


def readme_commands() -> list[str]:
    """The commands of BentoML that README names, in order, without their comments."""
    blocks = re.findall(r"```sh\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)
    (block,) = [block for block in blocks if "export BENTOML_HOME=$PWD/bentos" in block]
    return [line.partition("#")[0].strip() for line in block.splitlines() if line.startswith("bentoml ")]


@pytest.fixture
def shell(world: World, checkout: Path) -> dict[str, Any]:
    """How a command starts in a plain shell: in the checkout, the environment activated, with README's variable."""
    for folder in ("models", "bentos"):
        shutil.copytree(world.folder / "bentos" / folder, checkout / "bentos" / folder)
    env = os.environ | without_project(checkout.parent / "hidden")
    path = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    places = {"BENTOML_HOME": str(checkout / "bentos"), "WAREHOUSE_URL": f"sqlite:///{world.folder}/warehouse.db"}
    return {"cwd": checkout, "env": env | {"PATH": path} | places}


def run(command: str, shell: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(shlex.split(command), **shell, capture_output=True, text=True, timeout=500)


def wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + 100
    while True:
        with suppress(httpx.TransportError):
            if httpx.get(f"{url}/readyz", timeout=30).status_code == 200:
                return
        assert time.monotonic() < deadline
        time.sleep(0.2)


@contextmanager
def serving(command: str, shell: dict[str, Any]) -> Iterator[str]:
    """Run a command that serves, on a free port; yield its address."""
    port, quiet = free_port(), subprocess.DEVNULL
    options = shell | {"env": shell["env"] | {"BENTOML_PORT": str(port)}}
    with subprocess.Popen(
        tethered(*shlex.split(command)), **options, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet
    ) as server:
        try:
            wait_until_ready(f"http://127.0.0.1:{port}")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def built_model(checkout: Path, tag: str) -> str:
    """Return the tag of the model that a bento serves."""
    info = yaml.safe_load((checkout / "bentos" / "bentos" / tag.replace(":", "/") / "bento.yaml").read_text())
    return str(info["args"]["model"])


@pytest.mark.timeout(600)
def test_bentomls_own_commands_list_build_and_serve_as_readme_says(world: World, checkout: Path, shell: Any) -> None:
    commands = readme_commands()
    assert [command.split()[1] for command in commands] == ["list", "build", "serve", "serve", "containerize"]
    listed, building, *services = commands[:4]
    champion = registry.find(registry.CHAMPION)
    assert "premiere:v1" in run(listed, shell).stdout
    done = run(building, shell)
    assert done.returncode == 0, done.stderr
    tag = next(word.strip('."') for word in done.stdout.replace('"', " ").split() if word.startswith("premiere:"))
    assert built_model(checkout, tag) == bento.model_tag(champion)
    for command in services:
        with serving(command, shell) as url:
            answer = httpx.post(f"{url}/predict", json=MOVIE, timeout=30).raise_for_status().json()
            assert answer["model"]["version"] == champion.label
            assert answer["model"]["sha256"] == champion.tags["sha256"]


@pytest.mark.timeout(300)
def test_a_build_takes_the_champion_and_never_what_was_imported_last(
    copied_world: World, checkout: Path, shell: Any
) -> None:
    champion, later = registry.find(registry.CHAMPION), another_version()
    models = checkout / "bentos" / "models" / get_settings().model_name
    shutil.copytree(models / champion.label, models / later.label, dirs_exist_ok=True)  # another test's may lie there
    (models / "latest").write_text(later.label)
    done = run("bentoml build --version mine", shell)
    assert done.returncode == 0, done.stderr
    assert built_model(checkout, "premiere:mine") == bento.model_tag(champion)
    shutil.rmtree(models)  # brought from the registry where it is not there, too
    assert run("bentoml build --version again", shell).returncode == 0
    registry.client().delete_registered_model_alias(get_settings().model_name, registry.CHAMPION)
    refused = run("bentoml build --version none", shell)
    assert refused.returncode != 0
    assert "the registry has no champion" in refused.stderr.replace("\n", " ")
    assert "--arg model=movie-rating:v7" in refused.stderr.replace("\n", " ")


@pytest.mark.docker
@pytest.mark.timeout(1200)
def test_the_image_of_bentomls_own_command_serves(
    world: World, docker_engine: docker.DockerClient, checkout: Path, shell: Any
) -> None:
    env = shell["env"] | images._builder() | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    (command,) = [command for command in readme_commands() if "containerize" in command]
    done = run(command, shell | {"env": env})
    assert done.returncode == 0, done.stderr[-3000:]
    container = docker_engine.containers.run("premiere:v1", detach=True, ports={"3000/tcp": ("127.0.0.1", None)})
    try:
        container.reload()
        url = f"http://127.0.0.1:{container.ports['3000/tcp'][0]['HostPort']}"
        wait_until_ready(url)
        answer = httpx.post(f"{url}/predict", json=MOVIE, timeout=30).raise_for_status().json()
        assert answer["model"]["sha256"] == registry.find(registry.CHAMPION).tags["sha256"]
    finally:
        container.remove(force=True)
        docker_engine.images.remove("premiere:v1", force=True)


def edit(file: Path, before: str, after: str) -> None:
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", ["fails", "rates otherwise"])
def test_a_champion_that_todays_code_would_rate_wrongly_by_gets_no_new_bento_and_keeps_its_own(
    world: World, checkout: Path, shell: Any, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    champion = registry.find(registry.CHAMPION)
    tag = store_bento(champion)
    before = made(tag)
    if how == "fails":
        edit(checkout / "models" / "facts.py", '    "n_genres": "genres",\n', '    "n_all_genres": "genres",\n')
    else:
        edit(checkout / "models" / "facts.py", "float(len(title))", "float(len(title) + 100)")
    refused = run("bentoml build", shell)
    assert refused.returncode != 0
    told = refused.stderr.replace("\n", " ")
    assert f"{champion.label} was fitted by other code of models/, and today's {how}" in told
    assert "Train anew" in told
    assert f"bentoml serve premiere:{champion.label}" in told
    monkeypatch.setattr(bento, "PROJECT", checkout)
    with pytest.raises(RuntimeError, match=f"today's {how}"):
        store_bento(champion)
    assert bento_to_serve(champion) == tag  # an upgrade takes down no service that has a bento of its own
    assert made(tag) == before


def test_code_that_cannot_use_a_model_says_so_and_not_what_numpy_says(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    champion = registry.find(registry.CHAMPION)
    folder = get_settings().bentoml_home / "models" / get_settings().model_name / champion.label / "mlflow_model"
    assert Rater(folder, "movie-rating", champion.label, dict(champion.tags)).info.version == champion.label
    for fault in (ValueError("operands could not be broadcast together"), AttributeError("no attribute `x_`")):

        def fail(*_: Any, fault: Exception = fault) -> None:
            raise fault

        with monkeypatch.context() as patch:
            patch.setattr("models.estimator.RatingModel.predict_interval", fail)
            with pytest.raises(
                ValueError, match=f"movie-rating:{champion.label} cannot be served .* Train anew"
            ) as error:
                Rater(folder, "movie-rating", champion.label, dict(champion.tags))
        assert str(fault) not in str(error.value)
