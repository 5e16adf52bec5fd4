"""The service on this host, replaced under load: real containers of the real service behind a real HAProxy."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import httpx
import pytest
from conftest import World, another_version, free_port

from flows.promote import promote_model
from flows.rollback import rollback_model
from flows.ship import ship_model
from settings import get_settings
from tasks.registry import versions as registry
from tasks.release.targets import compose
from tasks.release.targets.probing import GOLDEN_MOVIES

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1200)]


@pytest.fixture
def front(
    copied_world: World, docker_engine: docker.DockerClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The address at which the service will stand, in a compose project of the test's own."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0
    if not plugin and not shutil.which("docker-compose"):
        pytest.skip("Docker Compose is not here: apt-get install docker-compose")
    port = free_port()
    monkeypatch.setattr(compose, "STATE", tmp_path / ".env")
    compose.STATE.write_text(f"COMPOSE_PROJECT_NAME=premiere-test-{port}\n")
    monkeypatch.setenv("SERVICE_PORT", str(port))
    get_settings.cache_clear()
    yield f"http://127.0.0.1:{port}"
    for service in ("front", "blue", "green"):
        for container in compose._containers(service):
            container.remove(force=True, v=True)
    for network in docker_engine.networks.list(names=[f"premiere-test-{port}"]):
        network.remove()


@contextmanager
def load(url: str, clients: int) -> Iterator[Counter[str]]:
    """Ask without a pause from several clients, half of them on connections that they keep; count what came back."""
    answers: Counter[str] = Counter()
    stop = threading.Event()

    def work(number: int) -> None:
        limits = httpx.Limits(max_keepalive_connections=None if number % 2 else 0)
        with httpx.Client(base_url=url, timeout=20, limits=limits) as client:
            while not stop.is_set():
                try:
                    answer = client.post("/predict", json={"movie": GOLDEN_MOVIES[number % 3]})
                    said = answer.json()["model"]["version"] if answer.status_code == 200 else f"{answer.status_code}"
                except httpx.HTTPError as error:
                    said = repr(error)
                answers[said] += 1

    threads = [threading.Thread(target=work, args=(n,)) for n in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_promotion_and_rollback_replace_the_running_service_without_a_failed_request(front: str, lenient: None) -> None:
    first = registry.find(registry.CHAMPION)
    ship_model(["compose"])
    assert httpx.get(f"{front}/model/info").json()["version"] == first.label
    second = another_version()
    with load(front, 6) as answers:
        news = promote_model(second.number, ship_to=["bento", "compose"])
        assert news["promoted"]
        assert httpx.get(f"{front}/model/info").json()["version"] == second.label
        begun = time.monotonic()
        rollback_model("a test")
        took = time.monotonic() - begun
    assert httpx.get(f"{front}/model/info").json()["version"] == first.label
    assert set(answers) == {first.label, second.label}, answers  # nothing but answers, of one or the other
    assert min(answers.values()) > 20
    print(f"{sum(answers.values())} requests, none failed; rolled back in {took:.0f} s")
    live = compose.serving()
    assert live.attrs["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    assert sum(len(compose._containers(colour)) for colour in compose.OTHER) == 1


def test_an_image_that_does_not_get_ready_leaves_the_running_one_alone(
    front: str, docker_engine: docker.DockerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ship_model(["compose"])
    broken = docker_engine.containers.create("python:3.11-slim", ["sh", "-c", "echo out of order; exit 3"])
    image = broken.commit("premiere", "broken", conf={"Cmd": ["sh", "-c", "echo out of order; exit 3"]})
    broken.remove()
    with pytest.raises(LookupError, match="promote again"):
        compose.swap("premiere:broken", "sha256:" + "0" * 64)
    with pytest.raises(RuntimeError, match=r"premiere:broken: the container ended; its last words:\nout of order"):
        compose.swap("premiere:broken", image.id)
    assert httpx.get(f"{front}/readyz").status_code == 200
    assert compose.serving().attrs["Config"]["Image"].startswith("premiere:v1-")
    docker_engine.images.remove("premiere:broken", force=True)
