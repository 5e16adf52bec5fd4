"""The bento: what goes into it, when it is built anew, and that one service does another no harm."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import httpx
import pytest
import yaml
from conftest import World, wait_for_port

from settings import PROJECT, get_settings
from tasks import bento, registry
from tasks.bento import code_digest, free_port, running, store_bento
from tasks.tether import tethered

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
    model = f"model=movie-rating:{registry.find(registry.CHAMPION).label}"
    for version in ("v8", "v9"):
        done = subprocess.run(
            [sys.executable, "-m", "bentoml", "build", "--version", version, "--arg", model, str(checkout)],
            env=bento.environment() | {"BENTOML_HOME": str(home), "PYTHONPATH": ""},
            cwd=checkout, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        source = home / "bentos" / "premiere" / version / "src"
        assert {str(file.relative_to(source)) for file in source.rglob("*") if file.is_file()} == wanted()


def test_the_digest_of_the_code_is_that_of_all_that_a_bento_is_built_from_and_of_nothing_else(checkout: Path) -> None:
    before = code_digest(checkout)
    assert before == code_digest(PROJECT)
    (checkout / "README.md").write_text("other")
    (checkout / "tasks" / "service.py").write_text("other")
    assert code_digest(checkout) == before
    digests = {before}
    for name in [*sorted(wanted()), "requirements-service.txt", "deploy/service.Dockerfile.j2"]:
        with (checkout / name).open("a") as file:
            file.write("\n# another\n")
        digests.add(code_digest(checkout))
    assert len(digests) == len(wanted()) + 3


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
    ours = [sys.executable, "-m", "tasks.bento"]
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
