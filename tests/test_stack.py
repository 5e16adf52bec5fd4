"""The whole stack, as `docker compose up` starts it: real containers of every part, from nothing to a prediction."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest
import yaml
from conftest import FULL, free_port, predict

from settings import PROJECT, Settings
from tasks.operations import status

FILE, DEBIAN = PROJECT / "docker-compose.yml", PROJECT / "docker-compose.debian.yml"
PASSWORDS = {"POSTGRES_PASSWORD": "of0a1test", "S3_SECRET_KEY": "another1of0a1test"}
GIB = 1 << 30


def compose_command() -> list[str]:
    """Return the command of Docker Compose v2: Docker's plugin, or the one that is installed with the tests."""
    ours = Path(sys.executable).with_name("docker-compose")
    for command in (["docker", "compose"], [str(ours)]):
        try:
            done = subprocess.run([*command, "version", "--short"], capture_output=True, text=True)
        except OSError:
            continue
        if done.returncode == 0 and int(done.stdout.lstrip("v").split(".")[0]) >= 2:
            return command
    pytest.skip("Docker Compose v2 is not here: install Docker's plugin, or the test tools anew")


def parts() -> dict[str, Any]:
    return dict(yaml.safe_load(FILE.read_text())["services"])


@pytest.mark.parametrize("name", sorted(parts()))
def test_every_part_is_bounded_comes_back_and_is_checked_without_starting_a_python(name: str) -> None:
    part = parts()[name]
    assert part["restart"] == "unless-stopped"
    assert part["read_only"] is True
    assert part["cap_drop"] == ["ALL"]
    assert part["mem_limit"]
    assert part["logging"]["options"].keys() == {"max-size", "max-file"}
    assert not re.search(r"python|prefect|mlflow", part["healthcheck"]["test"][1])
    assert all(re.match(r"127\.0\.0\.1:", port) for port in part.get("ports", []))
    repository, _, tag = part["image"].partition(":")
    assert tag == "local" or re.search(r"\d+\.\d+", tag), repository
    for volume in part.get("volumes", []):
        assert (
            volume.startswith("./deploy/stack/") or volume.split(":")[0] in yaml.safe_load(FILE.read_text())["volumes"]
        )


def test_without_passwords_it_says_what_to_do_and_the_script_does_it(tmp_path: Path) -> None:
    for source in (FILE, PROJECT / "deploy" / "stack" / "passwords.sh"):
        copy = tmp_path / source.relative_to(PROJECT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(source.read_text())
    command, environment = compose_command(), {k: v for k, v in os.environ.items() if k not in PASSWORDS}
    environment.pop("COMPOSE_FILE", None)

    def config() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, "config", "--quiet"], cwd=tmp_path, env=environment, capture_output=True, text=True
        )

    refused = config()
    assert refused.returncode
    told = re.search(r"sh deploy/stack/passwords\.sh", refused.stderr)
    assert told, refused.stderr
    (tmp_path / ".env").write_text("POSTGRES_PASSWORD=\nTMDB_RATE=40")  # without an end of its last line
    for _ in range(2):
        subprocess.run(told[0].split(), cwd=tmp_path, check=True, capture_output=True)
    lines = (tmp_path / ".env").read_text().splitlines()
    assert lines[:2] == ["POSTGRES_PASSWORD=", "TMDB_RATE=40"]
    assert sorted(line.split("=")[0] for line in lines[2:]) == sorted(PASSWORDS)
    assert all(re.fullmatch(r"[0-9a-f]{48}", line.split("=")[1]) for line in lines[2:])
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    assert config().returncode == 0


def test_status_says_that_nothing_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COMPOSE", "no-such-command")
    status.main()
    assert "no-such-command does not answer: is Docker installed" in capsys.readouterr().out


class Stack:
    """The stack in a compose project of the tests' own, on ports of its own."""

    def __init__(self, folder: Path) -> None:
        self.ports = {name: free_port() for name in status.PORTS}
        self.url = f"http://127.0.0.1:{self.ports['front']}"
        self.project = f"premiere-test-{self.ports['front']}"
        images = dict.fromkeys(("prefect", "mlflow", "worker", "service"), "premiere-flows:test")
        images |= {"front": "premiere-front:test", "postgres": "premiere-postgres:test", "s3": "premiere-s3:test"}
        override = "services:\n"
        for name, image in images.items():
            override += f"  {name}:\n    image: {image}\n"
            if name in self.ports:
                override += f'    ports: !override ["127.0.0.1:{self.ports[name]}:{status.PORTS[name]}"]\n'
        (folder / "test.yml").write_text(override)
        (folder / "env").write_text("".join(f"{name}={value}\n" for name, value in PASSWORDS.items()))
        # Neither the developer's settings nor his .env.
        self.environment = os.environ | {name.upper(): "" for name in Settings.model_fields} | PASSWORDS
        self.environment |= {
            "COMPOSE_PROJECT_NAME": self.project,
            "COMPOSE_FILE": os.pathsep.join(map(str, (FILE, DEBIAN, folder / "test.yml"))),
            "COMPOSE_ENV_FILES": str(folder / "env"),
            "DOCKER_BUILDKIT": "0",
            "FIRST_TRIALS": "2",
        }
        self.command = compose_command()

    def compose(self, *arguments: str, check: bool = True) -> str:
        done = subprocess.run(
            [*self.command, *arguments], cwd=PROJECT, env=self.environment, capture_output=True, text=True, timeout=1200
        )
        assert not check or done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:] + self.logs()
        return done.stdout

    def logs(self) -> str:
        command = [*self.command, "logs", "--tail", "30"]
        return subprocess.run(command, cwd=PROJECT, env=self.environment, capture_output=True, text=True).stdout

    def status(self) -> str:
        environment = self.environment | {"COMPOSE": " ".join(self.command)}
        command = [sys.executable, "-m", "tasks.operations.status"]
        return subprocess.run(
            command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=300, check=True
        ).stdout

    def sql(self, database: str, query: str) -> str:
        psql = f"PGPASSWORD={PASSWORDS['POSTGRES_PASSWORD']} psql -h 127.0.0.1 -U premiere -d {database} -Atc"
        return self.compose("exec", "-T", "postgres", "sh", "-c", f'{psql} "{query}"').strip()

    def wait(self, what: Callable[[], bool], seconds: float) -> float:
        """Wait for what is to come; return how long it took."""
        begun = time.monotonic()
        while not what():
            assert time.monotonic() - begun < seconds, self.logs()
            time.sleep(1)
        return time.monotonic() - begun

    def rates(self) -> bool:
        try:
            return predict(self.url, FULL).status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture(scope="module")
def stack(docker_engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("stack"))
    stack.compose("build")
    try:
        yield stack
    finally:
        stack.compose("down", "--volumes", "--timeout", "5", check=False)
        for name in ("front", "postgres", "s3"):
            docker_engine.images.remove(f"premiere-{name}:test", force=True)


@pytest.mark.docker
@pytest.mark.long
@pytest.mark.timeout(2400)
def test_from_nothing_to_a_prediction_and_back_after_kills(stack: Stack, docker_engine: docker.DockerClient) -> None:
    begun = time.monotonic()
    stack.compose("up", "--detach", "--no-build")

    def not_ready() -> httpx.Response | None:
        try:
            answer = httpx.get(f"{stack.url}/ready", timeout=10)
        except httpx.TransportError:
            return None
        return answer if "waiting" in answer.text else None

    stack.wait(lambda: not_ready() is not None, 300)
    said = not_ready()
    assert said is not None
    assert said.status_code == 503
    assert "no champion" in said.json()["reason"]
    assert "Premiere" in httpx.get(f"{stack.url}/ui/").text
    assert predict(stack.url, FULL).json()["errors"][0]["field"] == "model"
    stack.compose("up", "--detach", "--no-build", "--wait")
    healthy = time.monotonic() - begun

    # The step is the daily run's, which the stack itself started.
    seen: set[str] = set()

    def first_prediction() -> bool:
        answer = not_ready()
        seen.add(answer.json()["waiting"].get("step", "") if answer else "")
        return stack.rates()

    stack.wait(first_prediction, 1500)
    first = time.monotonic() - begun
    assert any("sample" in step for step in seen), seen
    assert predict(stack.url, FULL).json()["model"]["version"] == "v1"

    told = stack.status()
    assert re.search(r"-service-1 +Up .*healthy", told), told
    assert "movie-rating v1 (" in told
    assert "the service serves v1" in told
    for flow in ("premiere", "collect-movies", "train-model", "promote-model"):
        assert re.search(rf"{flow} +\d{{4}}-", told), told
    assert re.search(r"Next run +premiere +\d{4}-\d\d-\d\d 05:00", told), told
    assert f"{stack.project}_postgres" in told

    # One server, four databases, all in use; the movies, the ledger and the models lie in S3.
    for database, table in {"prefect": "flow_run", "mlflow": "model_versions", "optuna": "trials"}.items():
        assert int(stack.sql(database, f"select count(*) from {table}")) > 0
    stack.wait(lambda: stack.sql("warehouse", "select count(*) from predictions") != "0", 60)
    assert int(stack.sql("warehouse", "select count(*) from movies")) > 1000
    listed = "import boto3; s3 = boto3.client('s3'); pages = s3.get_paginator('list_objects_v2')"
    listed += "; print(*[o['Key'] for p in pages.paginate(Bucket='premiere') for o in p['Contents']])"
    keys = stack.compose("exec", "-T", "worker", "python", "-c", listed).split()
    for pattern in (r"store/sample/movies/.*\.parquet", r"store/ledger/movie-rating/.*", r"mlartifacts/.*model\.skops"):
        assert any(re.fullmatch(pattern, key) for key in keys), pattern

    # Nothing is open beyond loopback.
    rows = [json.loads(line) for line in stack.compose("ps", "--format", "json").splitlines()]
    assert {port["URL"] for row in rows for port in row["Publishers"] if port["PublishedPort"]} == {"127.0.0.1"}
    used = sum(docker_engine.containers.get(row["ID"]).stats(stream=False)["memory_stats"]["usage"] for row in rows)
    assert used < 3 * GIB

    # A service that is killed comes back, and the worker, when it starts again, begins no second first run.
    def killed(part: str) -> Callable[[], bool]:
        container = docker_engine.containers.get(stack.compose("ps", "--quiet", part).strip())
        stack.compose("exec", "-T", part, "sh", "-c", "kill -9 -1", check=False)

        def is_back() -> bool:
            container.reload()
            return container.attrs["RestartCount"] == 1 and container.health == "healthy"

        return is_back

    stack.wait(killed("service"), 300)
    back = stack.wait(stack.rates, 300)
    stack.wait(killed("worker"), 300)
    assert stack.sql("prefect", "select count(*) from flow_run where idempotency_key like '%first%'") == "1"

    # Two replicas: one may end, and every request that follows is answered.
    stack.compose("up", "--detach", "--no-build", "--no-recreate", "--scale", "service=2")
    replicas = docker_engine.containers.list(filters={"label": [
        f"com.docker.compose.project={stack.project}", "com.docker.compose.service=service",
    ]})  # fmt: skip
    assert len(replicas) == 2

    def serves(container: Any) -> bool:
        return bool(container.exec_run(["curl", "-fs", "http://127.0.0.1:3000/readyz"]).exit_code == 0)

    stack.wait(lambda: all(serves(container) for container in replicas), 300)
    time.sleep(5)  # the front looks every second
    replicas[0].kill()
    assert {predict(stack.url, FULL).status_code for _ in range(20)} == {200}
    print(f"healthy {healthy:.0f} s, first prediction {first:.0f} s after up; {used / GIB:.2f} GiB; back {back:.0f} s")

    # What is down is told, and the rest all the same.
    stack.compose("stop", "prefect")
    told = stack.status()
    assert "prefect does not run" in told
    assert "movie-rating v1 (" in told
