from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from models.body import record
from tasks.catalogue import (
    BrokenPartition,
    Partition,
    fingerprint,
    list_partitions,
    movie_table,
    purge,
    read_catalogue,
    read_partition,
    write_partition,
)
from tasks.store import FolderStore
from tasks.tmdb import now


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


def write(store: FolderStore, bodies: list[dict[str, Any]], day: date = date(2026, 1, 1), **changes: Any) -> Partition:
    facts: dict[str, Any] = {"source": "sample", "start": date(2005, 1, 1), "end": date(2005, 12, 31), "slice": "a"}
    facts |= {"logical_date": day, "expected": len(bodies), "requests": 1}
    late = timedelta(seconds=day.toordinal())
    return write_partition(store, movie_table([record(body, now() + late) for body in bodies]), **(facts | changes))


def test_a_partition_comes_back_as_it_was_written(store: FolderStore, bodies: list[dict[str, Any]]) -> None:
    partition = write(store, bodies[:50])
    assert list_partitions(store, "sample") == [partition]
    movies = read_catalogue(store, "sample")
    assert len(movies) == partition.rows == 50
    first, body = movies.iloc[0], min(bodies[:50], key=lambda b: (b["release_date"], b["id"]))
    assert first["title"] == body["title"]
    assert list(first["cast"]) == [{"id": str(c["id"]), "name": c["name"]} for c in body["credits"]["cast"]]
    assert first["release_date"].date().isoformat() == body["release_date"]
    assert movies["budget"].isna().any()


def test_the_newest_record_of_a_movie_counts(store: FolderStore, bodies: list[dict[str, Any]]) -> None:
    write(store, bodies[:3])
    write(store, [bodies[1] | {"vote_average": 1.5}], day=date(2026, 2, 1))
    movies = read_catalogue(store, "sample").set_index("id")
    assert len(movies) == 3
    assert movies.loc[bodies[1]["id"], "vote_average"] == 1.5


def test_a_partition_without_manifest_does_not_exist(store: FolderStore, bodies: list[dict[str, Any]]) -> None:
    partition = write(store, bodies[:3])
    store.delete(partition.manifest_key)
    assert list_partitions(store, "sample") == []
    with pytest.raises(FileNotFoundError, match=r"python -m flows\.collect"):
        read_catalogue(store, "sample")


@pytest.mark.parametrize("damage", ["change", "remove"])
def test_a_damaged_partition_is_refused_by_name(store: FolderStore, bodies: list[dict[str, Any]], damage: str) -> None:
    partition = write(store, bodies[:3])
    path = store.folder / partition.data_key
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data) if damage == "change" else path.unlink()
    with pytest.raises(BrokenPartition, match=partition.data_key):
        read_partition(store, partition)


def test_two_runs_that_write_the_same_slice_leave_a_whole_one(store: FolderStore, bodies: list[dict[str, Any]]) -> None:
    """The data file of the other run comes between ours and our manifest: the manifest still finds its own."""
    ours = write(store, bodies[:3])
    manifest = store.read(ours.manifest_key)
    write(store, bodies[:2])
    store.write(ours.manifest_key, manifest)
    assert len(read_partition(store, list_partitions(store, "sample")[0])) == 3


def test_what_does_not_fit_is_kept_with_the_reason(store: FolderStore, bodies: list[dict[str, Any]]) -> None:
    facts = {"source": "sample", "start": date(2005, 1, 1), "end": date(2005, 1, 1), "slice": "a", "expected": 2}
    facts |= {"logical_date": date(2026, 1, 1), "requests": 1, "refused": {"7": "movie 7: title: missing"}}
    partition = write_partition(store, movie_table([record(bodies[0], now())]), {"7": '{"id": 7}'}, **facts)
    (key,) = store.keys("sample/quarantine/")
    assert pq.read_table(store.folder / key).to_pylist() == [
        {"id": 7, "reason": "movie 7: title: missing", "body": '{"id": 7}'}
    ]
    assert partition.complete
    assert len(read_catalogue(store, "sample")) == 1


def test_a_purge_removes_what_is_too_old_and_only_that(store: FolderStore, bodies: list[dict[str, Any]]) -> None:
    write(store, bodies[:3])
    write(store, bodies[3:5], day=date(2026, 6, 1))
    write(store, bodies[5:6], source="tmdb")
    assert purge(store, "sample", date(2026, 3, 1)) == 2
    assert len(read_catalogue(store, "sample")) == 2
    purge(store, "sample")
    assert store.keys("sample/") == []
    assert len(read_catalogue(store, "tmdb")) == 1


def test_sources_never_mix(store: FolderStore, bodies: list[dict[str, Any]]) -> None:
    write(store, bodies[:3])
    write(store, bodies[3:5], source="tmdb")
    assert len(read_catalogue(store, "tmdb")) == 2


def test_the_fingerprint_is_of_what_can_be_learned(store: FolderStore, bodies: list[dict[str, Any]]) -> None:
    write(store, bodies[:20])
    movies = read_catalogue(store, "sample")
    same = movies.assign(fetched_at=now(), popularity=0.0)
    assert fingerprint(movies) == fingerprint(same)
    assert fingerprint(movies) != fingerprint(movies.assign(vote_average=movies["vote_average"] + 0.1))
