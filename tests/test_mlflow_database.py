"""MLflow's database on its first start: killed, made twice at once, older, somebody else's."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from settings import PROJECT, get_settings
from tasks.foundation.starting import alone
from tasks.registry import mlflow_database
from tasks.registry import versions as registry
from tasks.registry.mlflow_database import RegistryAway, make_ready
from tasks.release.targets.bento import free_port

OLDER = "0584bdc529eb"  # a step of MLflow's, neither the first nor the last
# What a killed start leaves: tables of a step that is not noted as done.
LEFT = f"""
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL);
INSERT INTO alembic_version VALUES ('{OLDER}');
CREATE TABLE experiments (experiment_id INTEGER, name VARCHAR(256));
CREATE TABLE secrets (secret_id VARCHAR(36));
"""


@pytest.fixture
def file(environment: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(mlflow_database, "STILL", 0.5)
    make_ready.cache_clear()
    yield environment / "mlflow.db"
    make_ready.cache_clear()


def write(file: Path, script: str) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(script)


def start(module: str, **extra: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", module]
    return subprocess.Popen(
        command, cwd=PROJECT, env=os.environ | extra, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_first_start_that_was_killed_is_gone_on_with_or_told_in_one_line(file: Path) -> None:
    for seconds in (0.1, 0.5, 1.0, 1.5):
        file.unlink(missing_ok=True)
        first = start("tasks.registry.mlflow_database")
        while not file.exists():
            assert first.poll() is None
            time.sleep(0.01)
        time.sleep(seconds)
        first.kill()
        first.communicate()
        second = start("tasks.registry.mlflow_database")
        said = second.communicate(timeout=120)[1].splitlines()
        if second.returncode:
            assert said[-1].startswith(f"MLflow's database sqlite:///{file} is half made")
            assert f"remove the file {file}, and start again" in said[-1]
            assert file.exists()
        assert len(said) <= 2, said


def test_a_half_made_database_is_met_by_whoever_opens_mlflow(file: Path) -> None:
    write(file, LEFT)
    for call in (registry.client, registry.check_registry):
        with pytest.raises(RegistryAway, match=rf"half made.*remove the file {file}") as error:
            call()
        assert len(str(error.value).splitlines()) == 1
        assert error.value.__cause__ is None
    for module in ("tasks.operations.ui", "tasks.registry.mlflow_database"):
        process = start(module)
        said = process.communicate(timeout=120)[1]
        assert process.returncode == 1
        assert said.splitlines()[-1].startswith("MLflow's database")
        assert len(said.splitlines()) <= 2, said


@pytest.mark.parametrize("version", [f"DELETE FROM alembic_version WHERE version_num = '{OLDER}';", ""])
def test_a_half_made_database_that_holds_runs_is_left_as_it_is(file: Path, version: str) -> None:
    write(file, LEFT + version + "INSERT INTO experiments VALUES (1, 'mine');")
    before = file.read_bytes()
    with pytest.raises(RegistryAway, match=r"hold records .*nothing is removed.*mlflow db upgrade.*backup") as error:
        registry.client()
    assert "remove the file" not in str(error.value)
    assert file.read_bytes() == before


def test_each_database_is_made_and_one_that_failed_is_met_again(file: Path) -> None:
    write(file, LEFT)
    for _ in range(2):
        with pytest.raises(RegistryAway):
            make_ready(f"sqlite:///{file}")
    file.unlink()
    for path in (file, file.with_name("another.db")):
        make_ready(f"sqlite:///{path}")
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT count(*) FROM runs").fetchone() == (0,)


def test_somebody_elses_database_is_named(file: Path) -> None:
    write(file, LEFT + "UPDATE alembic_version SET version_num = 'v3.2.0.a';")
    with pytest.raises(RegistryAway, match=r"version v3\.2\.0\.a.*another program's.*of its own"):
        registry.client()


def test_other_tables_in_the_same_database_do_no_harm(file: Path) -> None:
    write(file, "CREATE TABLE movies (id INTEGER); INSERT INTO movies VALUES (1);")
    assert registry.client().search_registered_models() == []


def test_two_first_starts_at_once_wait_for_each_other(file: Path) -> None:
    both = [start("tasks.registry.mlflow_database") for _ in range(2)]
    said = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert "".join(said).count("Making MLflow's database") == 1
    registry.check_registry()


def test_a_start_that_holds_the_lock_for_ever_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = get_settings().mlflow_tracking_uri.get_secret_value()
    monkeypatch.setenv("START_SECONDS", "0.5")
    get_settings.cache_clear()
    with alone("it", uri), pytest.raises(RuntimeError, match="another start to make MLflow's database"):
        make_ready(uri)


def test_a_server_needs_no_database(file: Path) -> None:
    process = start("tasks.registry.mlflow_database", MLFLOW_TRACKING_URI=f"http://127.0.0.1:{free_port()}")
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 0
    assert not file.exists()


def test_postgresql_is_made_once_and_what_was_left_half_made_is_told(
    file: Path, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(postgres, autocommit=True) as admin:
        for name in ("fresh", "halfway"):
            admin.execute(f"CREATE DATABASE {name}")
    addresses: dict[str, Any] = {name: postgres.replace("/postgres", f"/{name}") for name in ("fresh", "halfway")}
    both = [start("tasks.registry.mlflow_database", MLFLOW_TRACKING_URI=addresses["fresh"]) for _ in range(2)]
    assert [process.wait(200) for process in both] == [0, 0]
    with psycopg.connect(addresses["halfway"], autocommit=True) as connection:
        connection.execute(LEFT)
    secret = addresses["halfway"].replace("premiere@", "premiere:secret@")
    process = start("tasks.registry.mlflow_database", MLFLOW_TRACKING_URI=secret)
    said = process.communicate(timeout=120)[1].splitlines()
    assert "is half made" in said[-1]
    assert "dropdb" in said[-1]
    assert "secret" not in said[-1].replace("secrets", "")
    assert len(said) <= 2
