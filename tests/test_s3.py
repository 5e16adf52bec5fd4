"""The store on a real S3 server on loopback, with signed requests."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from conftest import KEY, SECRET, S3Server, serving
from prefect_aws import AwsClientParameters, AwsCredentials, S3Bucket

from models.body import record
from settings import PROJECT, Settings
from tasks.data.catalogue import list_partitions, read_catalogue
from tasks.data.partitions import movie_table, write_partition
from tasks.foundation.clock import now
from tasks.foundation.store import S3Store, open_store


def test_what_is_written_is_read_listed_and_deleted(server: S3Server) -> None:
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


def test_a_block_of_prefect_names_bucket_and_credentials(
    server: S3Server, prefect_api: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "region_name": "us-east-1"}
    endpoint = AwsClientParameters(endpoint_url=f"http://127.0.0.1:{server.port}")
    credentials = AwsCredentials(**keys, aws_client_parameters=endpoint)
    credentials.save("test", overwrite=True)
    S3Bucket(bucket_name="movies", bucket_folder="deep", credentials=AwsCredentials.load("test")).save("store")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name)
    store = open_store("s3-bucket/store")
    store.write("a/1", b"one")
    assert store.read("a/1") == b"one"
    assert store.uri == "s3://movies/deep"
    assert (server.folder / "movies" / "deep" / "a" / "1").read_bytes() == b"one"


def test_a_wrong_secret_is_refused(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(ClientError):
        open_store("s3://movies").write("a", b"")


def test_a_server_killed_in_the_middle_of_an_upload_leaves_no_half_partition(
    server: S3Server, bodies: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store("s3://movies/premiere")
    facts: dict[str, Any] = {"source": "tmdb", "logical_date": date(2026, 1, 1), "expected": 9, "requests": 1}
    facts |= {"start": date(2005, 1, 1), "end": date(2005, 12, 31)}
    good = write_partition(store, movie_table([record(b, now()) for b in bodies[:9]]), slice="good", **facts)

    assert isinstance(store, S3Store)
    # It takes a while to send.
    monkeypatch.setattr("tasks.data.partitions.to_parquet", lambda table: os.urandom(200 << 20))
    killer = threading.Timer(0.3, server.kill)
    killer.start()
    with pytest.raises((BotoCoreError, ClientError)):
        write_partition(store, movie_table([]), slice="cut", **facts)
    killer.join()
    server.start()
    assert list_partitions(store, "tmdb") == [good]
    assert len(read_catalogue(store, "tmdb")) == 9


def test_the_collector_writes_to_s3_as_to_a_folder(
    server: S3Server, bodies: list[dict[str, Any]], tmp_path: Path
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
