"""How the stack does: what runs, which champion, the last run of each flow, the next one, the disk.

Docker, MLflow and Prefect are asked one after the other; where one does not answer, its line says so. It needs Python
alone, as a host with Docker has it: neither the environment nor the settings.

    python -m tasks.operations.status
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from tasks.operations.progress import Away, Prefect, answer, champion, told

PROJECT = Path(__file__).resolve().parents[2]
PORTS = {"prefect": 4200, "mlflow": 5000, "front": 3000}  # inside the containers


def main() -> None:
    """Print a line or more for each question."""
    containers: list[dict[str, Any]] = []
    questions: dict[str, Callable[[], Iterator[str]]] = {
        "Runs": lambda: runs(containers),
        "Champion": lambda: champions(containers),
        "Last runs": lambda: last_runs(containers),
        "Next run": lambda: next_run(containers),
        "Disk": lambda: disk(containers),
    }
    try:
        containers += compose_ps()
    except Away as away:
        print(f"{'Runs':<12}{away}")
        return
    for title, question in questions.items():
        try:
            lines = list(question())
        except Away as away:
            lines = [str(away)]
        for line in lines:
            print(f"{title:<12}{line}")
            title = ""


def compose_ps() -> list[dict[str, Any]]:
    """Return the containers of the stack, as Docker Compose lists them; raises Away."""
    said = _docker(*shlex.split(os.environ.get("COMPOSE") or "docker compose"), "ps", "--all", "--format", "json")
    lines = [json.loads(line) for line in said.splitlines() if line.strip()]
    found = [row for line in lines for row in (line if isinstance(line, list) else [line])]  # older ones print a list
    if not found:
        raise Away("nothing of the stack is here: make up starts it")
    return found


def runs(containers: list[dict[str, Any]]) -> Iterator[str]:
    """Tell of each part of the stack, and how it does."""
    for row in sorted(containers, key=lambda row: str(row["Name"])):
        yield f"{row['Name']:<28} {row['Status']}"


def champions(containers: list[dict[str, Any]]) -> Iterator[str]:
    """Tell which version is champion, and which the service serves, or what it waits for."""
    yield from _one(lambda: _registered(containers))
    yield from _one(lambda: _served(containers))


def _registered(containers: list[dict[str, Any]]) -> str:
    model = _setting("MODEL_NAME", "movie-rating")
    found = champion(_address(containers, "mlflow"), model)
    if not found:
        return f"{model} has none yet"
    tags = {tag["key"]: tag["value"] for tag in found.get("tags", [])}
    made = f"{tags.get('family', '?')}, of {tags.get('source', '?')}, trained {tags.get('trained_at', '?')[:16]}"
    return f"{model} v{found['version']} ({made})"


def _served(containers: list[dict[str, Any]]) -> str:
    status, said = answer("the service", f"{_address(containers, 'front')}/ready")
    if status == 200:
        return f"the service serves {said['version']}"
    reason = said.get("reason") if isinstance(said, dict) else None
    return f"the service is not ready: {reason or f'it answers {status}'}"


def last_runs(containers: list[dict[str, Any]]) -> Iterator[str]:
    """Tell how the last run of each flow went."""
    found = Prefect(f"{_address(containers, 'prefect')}/api").last_runs()
    for name, run in sorted(found.items(), key=lambda item: str(item[1]["expected_start_time"]), reverse=True):
        took = f"{run['total_run_time']:.0f} s"
        yield f"{name:<20} {_minute(run['expected_start_time'])} {took:>7}  {told(run)}"
    if not found:
        yield "none yet"


def next_run(containers: list[dict[str, Any]]) -> Iterator[str]:
    """Tell what runs next, and when."""
    found = Prefect(f"{_address(containers, 'prefect')}/api").next_run()
    yield f"{found[1]:<20} {_minute(found[0])}" if found else "none is scheduled: see the deployments in Prefect's UI"


def disk(containers: list[dict[str, Any]]) -> Iterator[str]:
    """Tell how large the stack's volumes are, and what is free where Docker keeps them."""
    label = f"com.docker.compose.project={containers[0]['Project']}"
    volumes = json.loads(_docker("docker", "system", "df", "--verbose", "--format", "{{json .Volumes}}"))
    for volume in volumes:
        if label in (volume["Labels"] or "").split(","):
            yield f"{volume['Name']:<28} {volume['Size']}"
    folder = Path(_docker("docker", "info", "--format", "{{.DockerRootDir}}").strip())
    if folder.exists():  # not where Docker runs in a machine of its own
        yield f"{'free in ' + str(folder):<28} {shutil.disk_usage(folder).free / 1e9:.1f}GB"


def _setting(name: str, default: str) -> str:
    """Return a setting as Compose reads it: from the environment, or else from .env."""
    told = {}
    with suppress(OSError):
        lines = (PROJECT / ".env").read_text().splitlines()
        told = dict(line.strip().split("=", 1) for line in lines if "=" in line and not line.strip().startswith("#"))
    return os.environ.get(name) or told.get(name, "").strip("\"' ") or default


def _one(question: Callable[[], str]) -> Iterator[str]:
    """Yield an answer, or that there is none."""
    try:
        yield question()
    except Away as away:
        yield str(away)


def _address(containers: list[dict[str, Any]], part: str) -> str:
    """Return where a part is published on this host; raises Away where it is not."""
    for row in containers:
        for port in row.get("Publishers") or [] if row["Service"] == part else []:
            if port["TargetPort"] == PORTS[part] and port["PublishedPort"]:
                return f"http://127.0.0.1:{port['PublishedPort']}"
    raise Away(f"{part} does not run")


def _minute(time: str) -> str:
    return time[:16].replace("T", " ")


def _docker(*command: str) -> str:
    try:
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        raise Away(f"{command[0]} does not answer: is Docker installed, and does it run?") from None
    if done.returncode:
        raise Away(f"{' '.join(command[:2])} says: {(done.stderr.strip() or 'nothing').splitlines()[-1]}")
    return done.stdout


if __name__ == "__main__":
    main()
