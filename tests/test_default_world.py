"""A user's world, for more than a day: a copy of the checkout, no variable set, stores where the defaults put them.

Two versions trained on two logical dates, each promoted by the real gate, built, served and asked; then rolled back.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import free_port

from settings import PROJECT, Settings

DAYS = ("2026-04-30", "2026-06-30")
WANTED = ("service.py", "settings.py", "models/", "serving/", "web/", "bentofile.yaml", "requirements-service.txt")


class Checkout:
    """A copy of the files that git would clone, and commands run in it as a user runs them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "premiere"
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        for name in subprocess.run(listed, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.split("\0"):
            if name and (PROJECT / name).exists():
                target = self.folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(PROJECT / name, target)
        # What a user has: no setting, and a home of their own.
        ours = {name.upper() for name in Settings.model_fields}
        kept = {k: v for k, v in os.environ.items() if k not in ours and not k.startswith(("PREFECT", "AWS", "MLFLOW"))}
        self.environment = kept | {"HOME": str(folder / "home")}
        (folder / "home").mkdir()

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=900,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
        assert "Traceback" not in done.stdout + done.stderr, done.stderr[-6000:]
        return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout(tmp_path_factory.mktemp("user"))


@pytest.fixture(scope="module")
def said(checkout: Checkout) -> list[str]:
    """What the main job printed on two days, and what the gate said with wider margins, so that v2 surely passes."""
    printed = [checkout.run("flows.pipeline", "--trials", "4", "--as-of", day) for day in DAYS]
    wide = {"segment-margin": 2, "interval-margin": 1, "coverage-margin": 0.2, "refresh-margin": 0.5}
    return [*printed, checkout.run("flows.promote", *(f"--{name}={value}" for name, value in wide.items()))]


@pytest.fixture
def served(checkout: Checkout, said: list[str]) -> Iterator[str]:
    """The address of what `make serve` serves."""
    port = free_port()
    command = [sys.executable, "-m", "tasks.release.targets.bento"]
    environment = checkout.environment | {"SERVICE_PORT": str(port)}
    with subprocess.Popen(command, cwd=checkout.folder, env=environment, stdout=subprocess.DEVNULL) as server:
        transport = httpx.HTTPTransport(retries=60)  # half a minute of growing pauses is enough and to spare
        url = f"http://127.0.0.1:{port}"
        try:
            with httpx.Client(transport=transport) as client:
                for _ in range(600):
                    try:
                        if client.get(f"{url}/ready").status_code == 200:
                            break
                    except httpx.TransportError:
                        continue
            yield url
        finally:
            server.terminate()
            server.wait(30)


def events(checkout: Checkout) -> list[tuple[str, int]]:
    records = sorted((checkout.folder / "data/ledger/movie-rating").iterdir())
    return [(r["event"], r["to"]) for r in map(json.loads, (path.read_text() for path in records))]


@pytest.mark.timeout(1800)
def test_the_second_version_is_judged_built_and_served_as_the_first_was(checkout: Checkout, said: list[str]) -> None:
    assert "Champion     movie-rating v1" in said[0]
    assert "  last champion" in said[1]
    made = [event for event in events(checkout) if event[0] in ("promoted", "refreshed")]
    assert made[0] == ("promoted", 1)
    assert made[1][1] == 2, said[2]
    for version in (1, 2):
        files = sorted((checkout.folder / f"bentos/bentos/premiere/v{version}/src").rglob("*"))
        strange = [
            name
            for name in (str(f.relative_to(checkout.folder / f"bentos/bentos/premiere/v{version}/src")) for f in files)
            if not f"{name}/".startswith(tuple(f"{w.rstrip('/')}/" for w in WANTED))
        ]
        assert strange == []


@pytest.mark.timeout(1800)
def test_the_same_day_again_does_nothing_new(checkout: Checkout, said: list[str]) -> None:
    before = events(checkout)
    again = checkout.run("flows.pipeline", "--trials", "4", "--as-of", DAYS[1])
    assert "0 requests this time" in again
    assert "Champion     movie-rating v2" in again
    assert events(checkout) == before


def ask(url: str) -> dict[str, Any]:
    answer = httpx.post(f"{url}/predict", json={"movie": {"title": "Little Women", "genres": ["Drama"]}}, timeout=30)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.timeout(1800)
def test_it_is_served_and_rolled_back_and_the_ledger_reads_as_it_was(checkout: Checkout, served: str) -> None:
    assert ask(served)["model"]["version"] == "v2"
    checkout.run("flows.rollback", "--reason", "a test")
    assert events(checkout)[-1] == ("rolled back", 1)
    assert "v1" in checkout.run("tasks.release.ledger").splitlines()[-1]
    news = checkout.run("flows.promote", "--version", "2")
    assert "was rolled back" in news
