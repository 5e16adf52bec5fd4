from __future__ import annotations

from pathlib import Path

import pytest

from tasks.store import FolderStore, S3Store, open_store


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
    monkeypatch.setattr("tasks.store.os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
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
