from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from models.body import record
from tasks.data.catalogue import (
    fingerprint,
    fold,
    folded_partitions,
    list_partitions,
    open_catalogue,
    purge,
    read_catalogue,
)
from tasks.data.partitions import BrokenPartition, Partition, movie_table, read_partition, write_partition
from tasks.foundation.clock import now
from tasks.foundation.store import FolderStore


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


def test_two_runs_that_write_the_same_window_leave_a_whole_one(
    store: FolderStore, bodies: list[dict[str, Any]]
) -> None:
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


def titles(store: FolderStore) -> list[str]:
    return [f"{movie.id} {movie.vote_average}" for movie in read_catalogue(store, "sample").itertuples()]


def test_a_movie_in_two_partitions_of_one_day_is_there_once(store: FolderStore, bodies: list[dict[str, Any]]) -> None:
    write(store, bodies[:200], slice="a")
    write(store, [bodies[1] | {"vote_average": 1.5}, *bodies[200:210]], slice="b", start=date(2006, 1, 1))
    catalogue = open_catalogue(store, "sample")
    assert len(catalogue.accepted()) == 210
    assert not any(batch.violations for batch in catalogue.batches)


def test_a_snapshot_changes_nothing_but_what_is_read(
    store: FolderStore, bodies: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for n, day in enumerate((date(2026, 1, 1), date(2026, 1, 2), date(2026, 1, 3))):
        write(store, [b | {"vote_average": 5.0 + n} for b in bodies[n : n + 50]], day)
    before, partitions = titles(store), list_partitions(store, "sample")
    fold(store, "sample")
    assert titles(store) == before
    assert list_partitions(store, "sample") == partitions
    read: list[str] = []
    plain = store.read
    monkeypatch.setattr(store, "read", lambda key: read.append(key) or plain(key))
    assert titles(store) == before
    assert not [key for key in read if "/movies/" in key]
    late = write(store, [bodies[0] | {"vote_average": 1.0}], date(2026, 1, 4))
    read.clear()
    assert f"{bodies[0]['id']} 1.0" in titles(store)
    assert [key for key in read if "/movies/" in key] == [late.manifest_key, late.data_key]


def test_a_partition_that_is_written_anew_or_gone_counts_as_it_is_now(
    store: FolderStore, bodies: list[dict[str, Any]]
) -> None:
    write(store, bodies[:5], date(2026, 1, 1))
    other = write(store, bodies[5:9], date(2026, 1, 2))
    fold(store, "sample")
    write(store, bodies[:7], date(2026, 1, 1))  # the same window, read again
    assert len(titles(store)) == 9
    store.delete(other.manifest_key)
    assert len(titles(store)) == 7
    fold(store, "sample")
    assert len(titles(store)) == 7


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"code": 1}', None])
@pytest.mark.parametrize("which", ["snapshot.json", "snapshot/"])
def test_a_snapshot_that_is_lost_or_torn_is_made_anew(
    store: FolderStore, bodies: list[dict[str, Any]], damage: bytes | None, which: str
) -> None:
    write(store, bodies[:5], date(2026, 1, 1))
    before = titles(store)
    fold(store, "sample")
    (key,) = store.keys(f"sample/{which}")
    store.delete(key) if damage is None else store.write(key, damage)
    assert titles(store) == before
    write(store, bodies[:6], date(2026, 1, 2))
    fold(store, "sample")
    assert len(titles(store)) == 6


STRAY = {
    "._2016-01-01_2019-12-31_votes0.json": b"\x00\x05\x16\x07",
    "x.json": b"",
    "list.json": b"[1, 2]",
    "later.json": b'{"source": "sample", "colour": "blue"}',
    ".DS_Store": b"\x00",
    "notes.txt": b"",
}


def test_stray_files_are_named_and_passed_over(
    store: FolderStore, bodies: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    partition = write(store, bodies[:5])
    folder = partition.manifest_key.rpartition("/")[0]
    for name, data in STRAY.items():
        store.write(f"{folder}/{name}", data)
    store.write(f"{folder}/a (1).json", store.read(partition.manifest_key))
    assert list_partitions(store, "sample") == [partition]
    assert len(titles(store)) == 5
    fold(store, "sample")
    assert len(titles(store)) == 5
    for name in ("x.json", "list.json", "later.json", "a (1).json", "._2016-01-01_2019-12-31_votes0.json"):
        assert any(name in record.getMessage() for record in caplog.records), name


@pytest.mark.parametrize("folded", [False, True])
def test_a_damaged_partition_costs_itself(store: FolderStore, bodies: list[dict[str, Any]], folded: bool) -> None:
    write(store, bodies[:5], date(2026, 1, 1))
    damaged = write(store, bodies[5:9], date(2026, 1, 2))
    store.write(damaged.data_key, b"torn")
    if folded:
        fold(store, "sample")
    assert len(titles(store)) == 5
    assert damaged not in folded_partitions(store, "sample")


def test_what_was_known_on_a_day_is_what_was_read_until_then(
    store: FolderStore, bodies: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    for month, rating in ((1, 5.0), (3, 6.0), (5, 7.0)):
        write(store, [b | {"vote_average": rating} for b in bodies[:3]], date(2026, month, 1))
    write(store, [bodies[3] | {"vote_average": 8.0}], date(2026, 4, 1))
    fold(store, "sample")

    def known(day: date) -> dict[int, float]:
        movies = open_catalogue(store, "sample", day).accepted()
        return dict(zip(movies["id"], movies["vote_average"], strict=True))

    ids = [b["id"] for b in bodies[:4]]
    assert known(date(2026, 6, 1)) == dict.fromkeys(ids[:3], 7.0) | {ids[3]: 8.0}
    assert not caplog.records
    assert known(date(2026, 3, 31)) == dict.fromkeys(ids[:3], 6.0) | {ids[3]: 8.0}
    assert "of 4 movies, 1 were first read after 2026-03-31" in caplog.text
    assert known(date(2025, 1, 1)) == dict.fromkeys(ids[:3], 5.0) | {ids[3]: 8.0}


@pytest.mark.parametrize(
    ("field", "value"), [("budget", 15e9), ("vote_count", 2e7), ("release_date", date(2999, 1, 1)), ("runtime", 1e9)]
)
def test_one_absurd_value_in_the_store_costs_itself(
    store: FolderStore, bodies: list[dict[str, Any]], field: str, value: Any
) -> None:
    """As an earlier version may have written it."""
    records = [record(body, now()) for body in bodies[:150]]
    records[0][field] = int(value) if field == "vote_count" else value
    facts: dict[str, Any] = {"source": "sample", "start": date(2005, 1, 1), "end": date(2005, 12, 31), "slice": "a"}
    write_partition(store, movie_table(records), logical_date=date(2026, 6, 1), expected=150, requests=1, **facts)
    catalogue = open_catalogue(store, "sample")
    assert not any(batch.violations for batch in catalogue.batches)
    movies = catalogue.accepted().set_index("id")
    assert len(movies) == 150
    assert pd.isna(movies.loc[records[0]["id"], field])
