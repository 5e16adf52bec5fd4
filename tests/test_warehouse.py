"""The mirror of the catalogue, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from settings import get_settings
from tasks.tmdb import now, record
from tasks.warehouse import MOVIES, connect, remove, upsert


def postgres_programs() -> Path | None:
    """Return the folder of initdb and pg_ctl: on PATH, or where Debian puts them."""
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((place for place in reversed(places) if (place / "pg_ctl").exists()), None)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    programs = postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL's initdb is not here: apt-get install postgresql")
    folder = Path("/tmp") / f"premiere-pg-{os.getpid()}"  # its user must reach it, which it may not below pytest's
    folder.mkdir(mode=0o777)
    as_user: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        folder.chmod(0o777)
        as_user = ["runuser", "-u", "postgres", "--"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def run(*command: str) -> None:
        done = subprocess.run([*as_user, *command], cwd="/", capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    data = str(folder / "data")
    run(str(programs / "initdb"), "-D", data, "-A", "trust", "-U", "premiere", "--no-sync")
    options = f"-c listen_addresses=127.0.0.1 -p {port} -c unix_socket_directories= -c fsync=off"
    run(str(programs / "pg_ctl"), "-D", data, "-o", options, "-l", str(folder / "log"), "-w", "start")
    try:
        yield f"postgresql://premiere@127.0.0.1:{port}/postgres"
    finally:
        run(str(programs / "pg_ctl"), "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, environment: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sa.Engine]:
    if request.param == "postgresql":
        monkeypatch.setenv("WAREHOUSE_URL", request.getfixturevalue("postgres"))
        get_settings.cache_clear()
    engine = connect()
    assert engine.dialect.name == request.param
    remove(engine, "tmdb")
    yield engine
    engine.dispose()


def rows(engine: sa.Engine) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(sa.select(MOVIES).order_by(MOVIES.c.id)).mappings()]


def test_twice_the_same_day_leaves_the_same_rows(engine: sa.Engine, bodies: list[dict[str, Any]]) -> None:
    records = [record(body, now()) for body in bodies[:1200]]
    assert upsert(engine, "tmdb", records) == 1200
    first = rows(engine)
    upsert(engine, "tmdb", records)
    assert rows(engine) == first
    assert len(first) == 1200
    assert first[0]["title"] == bodies[0]["title"]
    assert first[0]["cast"] == records[0]["cast"]
    assert first[0]["release_date"].isoformat() == bodies[0]["release_date"]


def test_a_newer_record_replaces_an_older_one_whatever_the_order(
    engine: sa.Engine, bodies: list[dict[str, Any]]
) -> None:
    old = record(bodies[0], now())
    new = record(bodies[0] | {"vote_average": 1.5}, now() + timedelta(days=1))
    for order in ([old], [new], [old]):
        upsert(engine, "tmdb", order)
    assert [row["vote_average"] for row in rows(engine)] == [1.5]


def test_removing_a_source_leaves_the_others(engine: sa.Engine, bodies: list[dict[str, Any]]) -> None:
    upsert(engine, "tmdb", [record(bodies[0], now())])
    upsert(engine, "imdb", [record(bodies[0], now())])
    assert remove(engine, "tmdb") == 1
    assert [row["source"] for row in rows(engine)] == ["imdb"]
    remove(engine, "imdb")


def test_all_records_or_none(engine: sa.Engine, bodies: list[dict[str, Any]]) -> None:
    records = [record(body, now()) for body in bodies[:600]]
    with pytest.raises(sa.exc.IntegrityError):
        upsert(engine, "tmdb", [*records, records[0] | {"id": 1, "title": None}])
    assert rows(engine) == []
