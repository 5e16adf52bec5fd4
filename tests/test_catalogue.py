from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.catalogue import (
    BrokenPartition,
    Partition,
    fingerprint,
    list_partitions,
    read_catalogue,
    read_partition,
    write_partition,
)
from tasks.store import FolderStore
from tasks.tmdb import now, record


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


def write(store: FolderStore, bodies: list[dict[str, Any]], day: date = date(2026, 1, 1), **changes: Any) -> Partition:
    facts: dict[str, Any] = {"source": "sample", "start": date(2005, 1, 1), "end": date(2005, 12, 31), "min_votes": 20}
    facts |= {"logical_date": day, "expected": len(bodies), "requests": 1}
    late = timedelta(seconds=day.toordinal())
    return write_partition(store, [record(body, now() + late) for body in bodies], **(facts | changes))


def test_a_partition_comes_back_as_it_was_written(store: FolderStore, bodies: list[dict[str, Any]]) -> None:
    partition = write(store, bodies[:50])
    assert list_partitions(store, "sample") == [partition]
    movies = read_catalogue(store, "sample")
    assert len(movies) == partition.rows == 50
    first, body = movies.iloc[0], min(bodies[:50], key=lambda b: (b["release_date"], b["id"]))
    assert first["title"] == body["title"]
    assert first["cast"] == [{"id": str(c["id"]), "name": c["name"]} for c in body["credits"]["cast"]]
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
    store.delete(f"{partition.key}.json")
    assert list_partitions(store, "sample") == []
    with pytest.raises(FileNotFoundError, match=r"python -m flows\.collect"):
        read_catalogue(store, "sample")


@pytest.mark.parametrize("damage", ["change", "remove"])
def test_a_damaged_partition_is_refused_by_name(store: FolderStore, bodies: list[dict[str, Any]], damage: str) -> None:
    partition = write(store, bodies[:3])
    path = store.folder / f"{partition.key}.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data) if damage == "change" else path.unlink()
    with pytest.raises(BrokenPartition, match=partition.key):
        read_partition(store, partition)


def test_the_world_as_of_a_day_ends_before_it(store: FolderStore, bodies: list[dict[str, Any]]) -> None:
    write(store, bodies[:50])
    day = date.fromisoformat(bodies[20]["release_date"])
    movies = read_catalogue(store, "sample", day)
    assert movies["release_date"].max().date() < day


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
