"""Every example of docs/clients.md, as it stands there, against the running service."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import sync_playwright

from settings import PROJECT

DOCUMENT = (PROJECT / "docs" / "clients.md").read_text()
ADDRESS = "http://127.0.0.1:3000"


def examples(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)


@pytest.mark.parametrize("example", examples("sh"))
def test_the_curl_examples_answer(service: str, example: str) -> None:
    done = subprocess.run(["bash", "-c", example.replace(ADDRESS, service)], capture_output=True, text=True)
    answer = json.loads(done.stdout)
    found = answer["results"][0]["prediction"] if "results" in answer else answer
    assert found["low"] < found["rating"] < found["high"]


@pytest.mark.parametrize("example", [example for example in examples("python") if ADDRESS in example])
def test_the_python_example_answers(service: str, example: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", example.replace(ADDRESS, service)], cwd=tmp_path, capture_output=True, text=True
    )
    assert re.match(r"\d\.\d, 90 % between \d\.\d and \d\.\d\n[+-]\d\.\d\d  \w", done.stdout), done.stderr[-2000:]


def test_the_browser_example_answers(service: str) -> None:
    chromium = shutil.which("chromium")
    if not chromium:
        pytest.skip("Chromium is not here: apt-get install chromium")
    (example,) = examples("js")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.goto(f"{service}/health")  # the page's own origin
        page.evaluate(f"async () => {{ {example.replace(ADDRESS, service)} }}")
        browser.close()
    assert re.fullmatch(r"\d\.\d+ \d\.\d+ \d\.\d+", said[-1])


def test_every_route_of_the_document_is_there(service: str) -> None:
    paths = httpx.get(f"{service}/openapi.json").json()["paths"]
    named = set(re.findall(r"`(?:POST|GET) (/[a-z/]+)`", DOCUMENT))
    assert named <= {*paths, "/metrics"}
    assert {path for path in paths if path.startswith("/predict")} <= named
