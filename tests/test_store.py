from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasks.foundation.store import FolderStore, S3Store, Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


def test_what_is_written_is_read(store: FolderStore) -> None:
    store.write("a/b.bin", b"one")
    store.write("a/b.bin", b"two")
    assert store.read("a/b.bin") == b"two"
    with pytest.raises(FileNotFoundError):
        store.read("a/c.bin")


def test_keys_are_listed_by_prefix(store: FolderStore) -> None:
    for key in ("a/1", "a/2", "ab/3", "b/4"):
        store.write(key, b"")
    assert store.keys("a/") == ["a/1", "a/2"]
    assert store.keys("a") == ["a/1", "a/2", "ab/3"]
    assert store.keys("none/") == []
    store.delete("a/1")
    store.delete("a/1")
    assert store.keys("a/") == ["a/2"]


def test_a_write_that_fails_leaves_the_old_bytes_and_no_litter(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write("a/b", b"old")
    monkeypatch.setattr("tasks.foundation.store.os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        store.write("a/b", b"new and longer")
    assert store.read("a/b") == b"old"
    assert [p.name for p in store.folder.rglob("*") if p.is_file()] == ["b"]


def test_the_address_chooses_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    assert isinstance(open_store(str(tmp_path)), FolderStore)
    s3 = open_store("s3://bucket/some/prefix/")
    assert isinstance(s3, S3Store)
    assert s3.uri == "s3://bucket/some/prefix"
    with pytest.raises(ValueError, match="names no bucket"):
        open_store("s3:///prefix")


@pytest.fixture(params=["folder", "s3"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    found: Store = request.getfixturevalue("s3_store") if request.param == "s3" else FolderStore(tmp_path / "store")
    return found


def test_of_many_who_create_a_key_at_once_one_succeeds(either: Store) -> None:
    start = threading.Barrier(8)

    def create(number: int) -> bool:
        start.wait()
        return either.create("a/key", str(number).encode())

    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(create, range(8)))
    assert sum(created) == 1
    assert either.read("a/key") == str(created.index(True)).encode()
    assert either.keys("a/") == ["a/key"]


def test_a_stamp_is_another_after_each_write_and_only_then(either: Store) -> None:
    either.write("a/1", b"one")
    either.write("a/2", b"two")
    first = either.stamps("a/")
    assert either.stamps("a/") == first
    time.sleep(1.1)  # S3 tells seconds
    either.write("a/1", b"one")
    second = either.stamps("a/")
    assert (second["a/1"] != first["a/1"], second["a/2"]) == (True, first["a/2"])
