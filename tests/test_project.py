"""What holds for the project as a whole: the arrows between its packages, its documents, its lock."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

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


def test_a_process_that_only_reads_the_service_holds_neither_learners_nor_a_database() -> None:
    """BentoML reads service.py in two processes, and one of them rates nothing."""
    arguments = "from bentoml._internal.configuration.containers import BentoMLContainer as container"
    named = 'container.bento_arguments.set({"model": "movie-rating:v1"})'
    loaded = set(run(f"{arguments}; {named}; import service, sys; print(*sys.modules)").split())
    assert "serving.champion" in loaded
    heavy = {"pandas", "numpy", "sklearn", "xgboost", "lightgbm", "skops", "textblob", "sqlalchemy"}
    assert not loaded & {*heavy, "prometheus_client"}  # which would miss the folder that BentoML names later


def test_flows_import_from_tasks_and_tasks_never_from_flows() -> None:
    for path in (PROJECT / "tasks").rglob("*.py"):
        assert not re.search(r"^\s*(from|import) flows", path.read_text(), re.MULTILINE), path
    for path in [*(PROJECT / "models").glob("*.py"), PROJECT / "settings.py"]:
        assert not re.search(r"^\s*(from|import) (flows|tasks)", path.read_text(), re.MULTILINE), path


def test_no_flow_has_the_name_of_a_package() -> None:
    """Prefect loads a flow's file by its path, with flows/ first on sys.path: it would stand before the package."""
    names = {path.stem for path in (PROJECT / "flows").glob("*.py")} - {"__init__"}
    ours = {path.stem for path in PROJECT.iterdir() if path.is_dir() or path.suffix == ".py"}
    assert not names & {*ours, *sys.stdlib_module_names, *PLATFORMS, "optuna", "pandas", "httpx"}


def test_every_make_command_of_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z-]+)", (PROJECT / "README.md").read_text()))
    assert {"run", "test"} <= named <= targets


def workflows() -> dict[str, dict[str, Any]]:
    return {path.name: yaml.safe_load(path.read_text()) for path in (PROJECT / ".github/workflows").glob("*.yml")}


def commands(name: str) -> list[str]:
    return [step["run"] for job in workflows()[name]["jobs"].values() for step in job["steps"] if "run" in step]


def test_every_make_command_that_is_told_or_run_exists() -> None:
    """In the documents, the workflows and the hooks."""
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    told = [path.read_text() for path in (PROJECT / "CONTRIBUTING.md", *(PROJECT / "docs").rglob("*.md"))]
    told = [code for text in told for code in re.findall(r"(?:^|`)(make [^`\n]*)", text, re.MULTILINE)]
    run = ["\n".join(commands(name)) for name in workflows()]
    (local,) = yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text())["repos"]
    run += [hook["entry"] for hook in local["hooks"]]
    for text in (told, run):
        named = {name for code in text for name in re.findall(r"^\s*(?:exec )?make ([a-z-]+)", code, re.MULTILINE)}
        assert named
        assert named <= targets


def test_workflows_may_little_and_name_a_major_version_of_each_action() -> None:
    assert {"ci.yml", "newest.yml", "release.yml"} <= workflows().keys()
    for name, workflow in workflows().items():
        assert workflow["permissions"] == {"contents": "read"}, name
        for job in workflow["jobs"].values():
            assert job["timeout-minutes"] <= 60
            for step in job["steps"]:
                assert ("run" in step) or re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step["uses"]), name


@pytest.mark.parametrize(
    ("tag", "heading", "said"),
    [
        ("v1.2.3", "## 1.2.3 (2026-12-01)", ""),
        ("v1.2.3", "## 1.2.3 (unreleased)", "CHANGELOG.md needs a section"),
        ("v1.2.3", "## 1.2.30 (2026-12-01)", "CHANGELOG.md needs a section"),
        ("v1.2.4", "## 1.2.4 (2026-12-01)", "pyproject.toml does not say version 1.2.4"),
    ],
)
def test_a_release_has_its_section_of_the_changelog(tmp_path: Path, tag: str, heading: str, said: str) -> None:
    (tmp_path / "pyproject.toml").write_text('version = "1.2.3"\n')
    (tmp_path / "CHANGELOG.md").write_text(
        f"# Changelog\n\n## 2.0.0\n\n- Later.\n\n{heading}\n\n- This.\n\n## 1.0.0\n\n- Old.\n"
    )
    (script,) = (command for command in commands("release.yml") if "notes.md" in command and "awk" in command)
    environment = os.environ | {"GITHUB_REF_NAME": tag}
    done = subprocess.run(["bash", "-ec", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode != 0, said in done.stdout) == (bool(said), True)
    if not said:
        assert (tmp_path / "notes.md").read_text().split("\n") == ["", "- This.", "", ""]


def test_no_file_names_a_folder_that_a_checkout_does_not_have() -> None:
    """What lies beside the checkout is known to .ci/run alone, which says so by RECORDED_DATA."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    beside = re.compile(r"\.\./share[d]|PROJECT\.paren[t]|/ \"share[d]\"")
    names = [name for name in listed.stdout.splitlines() if (PROJECT / name).is_file()]
    assert "tests/conftest.py" in names
    found = [name for name in names if beside.search((PROJECT / name).read_text(errors="replace"))]
    assert found == [".ci/run"]


def test_every_decision_stands_in_the_index_and_says_what_would_change_it() -> None:
    folder = PROJECT / "docs/decisions"
    pages = {path.name for path in folder.glob("*.md")} - {"README.md"}
    assert set(re.findall(r"\]\((.*?)\)", (folder / "README.md").read_text())) == pages
    for name in pages:
        text = (folder / name).read_text()
        assert re.findall(r"^\*\*(.*?)\.\*\*", text, re.MULTILINE) == [
            "Context", "Decision", "What follows", "What would change it",
        ]  # fmt: skip
        for path in re.findall(r"`((?:models|tasks|serving|tests|web|flows)/[\w/.]*)`", text):
            assert (PROJECT / path).exists(), f"{name}: {path}"
        for link in re.findall(r"\]\(([^)#]+)", text):
            assert (folder / link).exists(), f"{name}: {link}"


def test_every_file_of_the_readme_exists() -> None:
    tree = re.search(r"```tree\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)
    assert tree
    for line in tree[1].splitlines():
        for name in line.split("  ")[0].split():
            assert (PROJECT / name).exists(), name


def test_every_module_and_target_says_what_it_is() -> None:
    for folder in ("flows", "tasks", "models", "sample"):
        for path in (PROJECT / folder).rglob("*.py"):
            assert path.read_text().startswith('"""'), path
    help_text = subprocess.run(["make", "help"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    for target in ("run", "test", "check", "serve", "ui", "bench", "clean"):
        assert f"make {target}" in help_text


def test_the_pythons_that_are_supported_are_the_same_wherever_they_are_named() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    named = {
        "classifiers": [kind.rpartition(" ")[2] for kind in project["classifiers"] if kind.startswith("Programming")],
        "CI": re.findall(r'"(3\.\d+)"', (PROJECT / ".github" / "workflows" / "ci.yml").read_text()),
        "make": [f"3.{n}" for n in re.findall(r"python3\.(\d+) ", (PROJECT / "Makefile").read_text())],
        "README": re.findall(r"3\.\d+", (PROJECT / "README.md").read_text().partition(" and make (")[0]),
    }
    assert len(pythons := named["classifiers"]) > 1
    assert named == dict.fromkeys(named, pythons)
    assert project["requires-python"] == f">={pythons[0]},<3.{int(pythons[-1][2:]) + 1}"
    supported = re.search(r"^SUPPORTED := (.*)$", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    assert supported
    assert f"not {tuple(map(int, pythons[0].split('.')))} <= " in supported[1]
    assert f" <= {tuple(map(int, pythons[-1].split('.')))})" in supported[1]


def elsewhere(code: str, folder: Path, path: str) -> subprocess.CompletedProcess[str]:
    """Run code in a folder that is not the project's."""
    env = os.environ | {"PYTHONPATH": path}
    return subprocess.run([sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True)


def test_the_project_is_installed_in_place(tmp_path: Path) -> None:
    code = "import flows, models, sample, serving.schema, settings, tasks; print(settings.PROJECT)"
    found = elsewhere(code, tmp_path, "")
    assert (found.returncode, found.stdout.strip()) == (0, str(PROJECT)), f"{found.stderr}: make run installs it"


def test_other_code_on_the_path_comes_before_the_installed_project_and_is_not_mixed_with_it(tmp_path: Path) -> None:
    """`tasks.rating` runs the models/ of another version so; what that lacks is not taken from ours."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").touch()
    assert elsewhere("import models; print(models.__path__[0])", Path("/"), str(tmp_path)).stdout.strip() == str(
        tmp_path / "models"
    )
    mixed = elsewhere("import models.features", Path("/"), str(tmp_path))
    assert "No module named 'models.features'" in mixed.stderr


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt", "requirements-service.txt"])
def test_the_lock_has_hashes_and_no_addresses(name: str) -> None:
    text = (PROJECT / name).read_text()
    assert "://" not in text
    pins = re.findall(r"^\S+==\S+(?: ;.*)? \\$", text, re.MULTILINE)
    assert len(pins) > 50
    assert len(re.findall(r"^[a-z0-9]", text, re.MULTILINE)) == len(pins)


def test_training_and_serving_are_locked_to_the_same_versions() -> None:
    def pins(name: str) -> set[tuple[str, str]]:
        return set(re.findall(r"^(\S+)==(\S+)", (PROJECT / name).read_text(), re.MULTILINE))

    flows, dev, service = (pins(f"requirements{kind}.txt") for kind in ("", "-dev", "-service"))
    assert flows <= dev
    assert service <= flows
