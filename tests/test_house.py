"""The house: which way imports may point, and that no row of tasks becomes a tower again."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import pytest

from settings import PROJECT

ROWS = ("tasks.foundation", "tasks.data", "tasks.learning", "tasks.registry", "tasks.release.targets", "tasks.release")
ROWS += ("tasks.operations",)
FLOORS = 3


def test_imports_point_down_only() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_contract_sees_an_arrow_that_turns_back(tmp_path: Path) -> None:
    """It reads all packages of this folder, and fails where one imports what stands above it."""
    for name in ("models", "tasks", "serving", "flows", "sample", "pyproject.toml", "settings.py"):
        (tmp_path / name).symlink_to(PROJECT / name)
    (tmp_path / "models").unlink()
    (tmp_path / "models").mkdir()
    for path in (PROJECT / "models").glob("*.py"):
        (tmp_path / "models" / path.name).write_text(path.read_text())
    with (tmp_path / "models" / "movie.py").open("a") as file:
        file.write("\nfrom tasks.data.tmdb import TmdbClient  # noqa\n")
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "models.movie -> tasks.data.tmdb" in done.stdout


def modules() -> dict[str, Path]:
    paths = [*PROJECT.glob("*.py"), *(p for folder in ("flows", "models", "serving", "tasks") for p in walk(folder))]
    return {".".join(p.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__"): p for p in paths}


def walk(folder: str) -> list[Path]:
    return list((PROJECT / folder).rglob("*.py"))


MODULES = modules()


@lru_cache
def imported(module: str) -> frozenset[str]:
    """Return the modules of ours that one imports, anywhere in its text."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in MODULES else node.module for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return frozenset(found & MODULES.keys()) - {module}


def row_of(module: str) -> str:
    return max((row for row in ROWS if module == row or module.startswith(f"{row}.")), key=len, default="")


@lru_cache
def floor_of(module: str) -> int:
    """Return on which floor of its row a module stands: one above the highest that it imports there."""
    return 1 + max((floor_of(other) for other in imported(module) if row_of(other) == row_of(module)), default=0)


@pytest.mark.parametrize("row", ROWS)
def test_a_row_has_no_more_than_three_floors(row: str) -> None:
    high = {module: floor_of(module) for module in MODULES if row_of(module) == row}
    assert len(high) > 1
    assert {module: floor for module, floor in high.items() if floor > FLOORS} == {}


def test_no_task_is_reached_through_fn() -> None:
    """A plain function lies beneath each task. Only a flow's parameters are tried by its function, without a run."""
    flows = ("collect_movies", "promote_model", "flow", "self")
    reached = [
        f"{path.relative_to(PROJECT)}: {line.strip()}"
        for folder in ("flows", "tasks", "serving", "models", "benchmarks", "tests")
        for path in walk(folder)
        for line in path.read_text().splitlines()
        if path != Path(__file__) and any(name not in flows for name in re.findall(r"(\w+)\.fn\(", line))
    ]
    assert reached == []
