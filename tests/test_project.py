"""What holds for the project as a whole: the arrows between its packages, its documents, its lock."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from settings import PROJECT

PLATFORMS = ("prefect", "mlflow", "bentoml", "httpx", "boto3", "optuna", "settings", "tasks", "flows")


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    return done.stdout


def test_models_import_none_of_the_platforms() -> None:
    names = [p.stem for p in (PROJECT / "models").glob("*.py") if p.stem != "__init__"]
    code = "import sys; " + "; ".join(f"import models.{name}" for name in names)
    loaded = set(run(f"{code}; print(*sys.modules)").split())
    assert not loaded & set(PLATFORMS)


def test_flows_import_from_tasks_and_tasks_never_from_flows() -> None:
    for path in (PROJECT / "tasks").glob("*.py"):
        assert not re.search(r"^\s*(from|import) flows", path.read_text(), re.MULTILINE), path
    for path in [*(PROJECT / "models").glob("*.py"), PROJECT / "settings.py"]:
        assert not re.search(r"^\s*(from|import) (flows|tasks)", path.read_text(), re.MULTILINE), path


def test_module_names_are_unique_across_folders() -> None:
    names = [p.stem for folder in ("flows", "tasks", "models", "sample") for p in (PROJECT / folder).glob("*.py")]
    names = [name for name in names if name != "__init__"]
    assert sorted(names) == sorted(set(names))
    assert not {"mlflow", "prefect", "optuna", "bentoml", "tasks", "models"} & set(names)


def test_every_make_command_of_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z-]+)", (PROJECT / "README.md").read_text()))
    assert {"run", "test"} <= named <= targets


def test_every_file_of_the_readme_exists() -> None:
    tree = re.search(r"```tree\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)
    assert tree
    for line in tree[1].splitlines():
        for name in line.split("  ")[0].split():
            assert (PROJECT / name).exists(), name


def test_every_module_and_target_says_what_it_is() -> None:
    for folder in ("flows", "tasks", "models", "sample"):
        for path in (PROJECT / folder).glob("*.py"):
            assert path.read_text().startswith('"""'), path
    help_text = subprocess.run(["make", "help"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    for target in ("run", "test", "check", "serve", "ui", "bench", "clean"):
        assert f"make {target}" in help_text


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt", "requirements-service.txt"])
def test_the_lock_has_hashes_and_no_addresses(name: str) -> None:
    text = (PROJECT / name).read_text()
    assert "://" not in text
    pins = re.findall(r"^\S+==\S+(?: ;.*)? \\$", text, re.MULTILINE)
    assert len(pins) > 50
    assert len(re.findall(r"^[a-z0-9]", text, re.MULTILINE)) == len(pins)


def test_training_and_serving_are_locked_to_the_same_versions() -> None:
    def pins(name: str) -> dict[str, str]:
        return dict(re.findall(r"^(\S+)==(\S+)", (PROJECT / name).read_text(), re.MULTILINE))

    flows, dev, service = (pins(f"requirements{kind}.txt") for kind in ("", "-dev", "-service"))
    assert flows.items() <= dev.items()
    assert service.items() <= flows.items()
