"""The catalogue: all partitions of a source together, newest record of each movie.

A snapshot keeps it whole: the records, folded from partitions that then need no reading, and their manifests. So a run
on day 1,000 costs what one on day 10 does. It is a copy: one that is lost, damaged or made by older code is made anew
from the partitions, which stay until the age limit.

    tmdb/snapshot.json
    tmdb/snapshot/77b0….parquet

Records of a batch (what was read on one logical date) that breaks the contract are kept apart: nothing is learned from
them, and older records of their movies stay in use.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from functools import lru_cache
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from models import contract
from models.contract import Violation, check_batch, mend
from tasks.data import partitions
from tasks.data.partitions import (
    SCHEMA,
    BrokenPartition,
    Partition,
    is_intact,
    partition_of,
    read_manifest,
    read_partition,
    to_frame,
    to_parquet,
)
from tasks.foundation.run_log import log
from tasks.foundation.store import Store

# A record as the catalogue holds it: when it was read, and whether its batch may be learned from.
RECORD = SCHEMA.append(pa.field("logical_date", pa.date32())).append(pa.field("accepted", pa.bool_()))


@dataclass(frozen=True)
class Batch:
    """What was read on one logical date, and the rules of the contract that it breaks; none where it is accepted."""

    read_on: date
    movies: int
    violations: list[Violation] = field(default_factory=list)


@dataclass(frozen=True)
class Catalogue:
    """All that a source has: partitions, batches, and of each movie the newest record, and the newest accepted one."""

    source: str
    records: pa.Table  # of `RECORD`
    batches: list[Batch]
    partitions: list[Partition]

    def newest_records(self) -> pa.Table:
        """Return the newest record of each movie, by release date and id."""
        return _newest(self.records, ["id"]).drop_columns("accepted")

    def newest(self) -> pd.DataFrame:
        """Return the newest record of each movie as `read_catalogue` does."""
        return to_frame(self.newest_records())

    def accepted(self) -> pd.DataFrame:
        """Return the newest record of each movie that may be learned from, in the same form."""
        return to_frame(self.records.filter(self.records["accepted"]).drop_columns("accepted"))


def list_partitions(store: Store, source: str) -> list[Partition]:
    """Return all finished partitions of a source, oldest logical date first.

    Manifests that the snapshot holds are not read again; what is no manifest of ours is passed over with a warning.
    """
    return list(_listed(store, source, _read_snapshot(store, source)).values())


def folded_partitions(store: Store, source: str) -> list[Partition]:
    """Return the partitions that the snapshot holds: they were read whole."""
    return list(_read_snapshot(store, source).manifests.values())


def _listed(store: Store, source: str, snapshot: _Snapshot) -> dict[str, Partition]:
    """Return the partitions by their manifest's stamp."""
    found = {}
    for key, written in store.stamps(f"{source}/movies/").items():
        if key.endswith(".json"):
            stamp = f"{key} {written}"
            partition = snapshot.manifests.get(stamp) or read_manifest(store, key)
            if partition:
                found[stamp] = partition
    return found


def read_catalogue(store: Store, source: str) -> pd.DataFrame:
    """Return the newest record of each movie of a source, by release date and id.

    Columns are those of `SCHEMA` and `logical_date`, the day of the reading; lists are lists, empty where nothing is
    known; what is missing is None or NaN; release_date is a timestamp. Raises FileNotFoundError where there is nothing.
    """
    return open_catalogue(store, source).newest()


def open_catalogue(store: Store, source: str, as_of: date | None = None) -> Catalogue:
    """Return what a source has; with `as_of`, what was known at the end of that day, where the store has it.

    Of movies that were first read later than that, the earliest record stands in. Raises FileNotFoundError where there
    is nothing.
    """
    snapshot = _read_snapshot(store, source)
    listed = _listed(store, source, snapshot)
    if not listed:
        command = "flows.collect_imdb" if source == "imdb" else "flows.collect"
        raise FileNotFoundError(
            f"no movies of {source} in {store.uri}: collect some first, with python -m {command} or the deployment "
            f"{'collect-imdb/weekly' if source == 'imdb' else 'collect-movies/daily'}"
        )
    if as_of and any(p.logical_date > as_of for p in listed.values()):
        return _known_on(as_of, _fold(store, source, _Snapshot(), listed, keep_all=True)[0])
    return _fold(store, source, snapshot, listed)[0]


def fold(store: Store, source: str) -> None:
    """Bring the snapshot of a source up to date, so that later runs need not read what this one did."""
    snapshot = _read_snapshot(store, source)
    listed = _listed(store, source, snapshot)
    if listed.keys() == snapshot.manifests.keys() and snapshot.data in store.keys(f"{source}/snapshot/"):
        return
    if not listed:
        for key in (_snapshot_key(source), *store.keys(f"{source}/snapshot/")):
            store.delete(key)
        return
    try:
        catalogue, intact = _fold(store, source, snapshot, listed)
    except BrokenPartition as error:
        log().warning("%s", error)  # whoever needs movies is told; who collects brings new ones
        return
    data = to_parquet(catalogue.records)
    key = f"{source}/snapshot/{hashlib.sha256(data).hexdigest()}.parquet"
    facts = {
        "code": _code(),
        "data": key,
        "batches": [asdict(batch) for batch in catalogue.batches],
        "manifests": {stamp: vars(partition) for stamp, partition in intact.items()},
    }
    store.write(key, data)
    store.write(_snapshot_key(source), json.dumps(facts, default=str).encode())
    for other in store.keys(f"{source}/snapshot/"):
        if other != key:
            store.delete(other)


@dataclass(frozen=True)
class _Snapshot:
    """What `fold` wrote; empty where it wrote nothing that can be used."""

    manifests: dict[str, Partition] = field(default_factory=dict)  # by stamp, of the partitions that are folded in
    batches: list[Batch] = field(default_factory=list)
    data: str = ""


def _read_snapshot(store: Store, source: str) -> _Snapshot:
    try:
        facts = json.loads(store.read(_snapshot_key(source)))
        if facts["code"] != _code():
            return _Snapshot()
        batches = [
            Batch(date.fromisoformat(b["read_on"]), b["movies"], [Violation(**v) for v in b["violations"]])
            for b in facts["batches"]
        ]
        return _Snapshot({k: partition_of(v) for k, v in facts["manifests"].items()}, batches, facts["data"])
    except FileNotFoundError:
        return _Snapshot()
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        log().warning("%s/%s cannot be read and is made anew: %s", store.uri, _snapshot_key(source), error)
        return _Snapshot()


def _fold(
    store: Store, source: str, snapshot: _Snapshot, listed: dict[str, Partition], keep_all: bool = False
) -> tuple[Catalogue, dict[str, Partition]]:
    """Return the catalogue of a snapshot and the partitions that came since, and all partitions that could be read."""
    intact = {stamp: partition for stamp, partition in listed.items() if stamp in snapshot.manifests}
    kept = _still_there(store, snapshot, listed)
    if kept is None:  # what was folded in is gone again: begin anew
        snapshot, intact, kept = _Snapshot(), {}, []
    tables: dict[date, list[pa.Table]] = {}
    for stamp, partition in listed.items():
        if stamp not in intact:
            try:
                table = read_partition(store, partition)
            except BrokenPartition as error:
                log().warning("%s", error)
            else:
                tables.setdefault(partition.logical_date, []).append(table)
                intact[stamp] = partition
    if not intact:
        raise BrokenPartition(f"every partition of {source} in {store.uri} is damaged: collect again")
    batches = [b for b in snapshot.batches if b.read_on >= min(p.logical_date for p in listed.values())]
    for day, parts in tables.items():
        movies, violations = _checked(pa.concat_tables(parts), source, day)
        earlier = next((batch for batch in batches if batch.read_on == day), None)
        if earlier:  # more was read on that day: the day is judged as a whole
            folded = [p for stamp, p in snapshot.manifests.items() if stamp in intact and p.logical_date == day]
            parts = [*parts, *(read_partition(store, p) for p in folded if is_intact(store, p))]
            whole, violations = _checked(pa.concat_tables(parts), source, day)
            if bool(violations) != bool(earlier.violations):
                return _fold(store, source, _Snapshot(), listed, keep_all)
            batches.remove(earlier)
        batches.append(Batch(day, len(whole) if earlier else len(movies), violations))
        kept.append(
            movies.append_column("logical_date", pa.array([day] * len(movies), pa.date32()))
            .append_column("accepted", pa.array([not violations] * len(movies), pa.bool_()))
            .cast(RECORD)
        )
    records = pa.concat_tables(kept)
    return Catalogue(
        source,
        records if keep_all else _newest(records, ["id", "accepted"]),
        sorted(batches, key=lambda batch: batch.read_on),
        list(listed.values()),
    ), intact


def _still_there(store: Store, snapshot: _Snapshot, listed: dict[str, Partition]) -> list[pa.Table] | None:
    """Return the records of a snapshot that are not too old, or None where they cannot be used any more.

    A manifest that was written anew has another stamp; one of a day before all that is left was purged by its age.
    """
    if not snapshot.data:
        return []
    oldest = min(partition.logical_date for partition in listed.values())
    there = {partition.manifest_key for partition in listed.values()}
    if any(p.manifest_key not in there and p.logical_date >= oldest for p in snapshot.manifests.values()):
        return None
    try:
        data = store.read(snapshot.data)
        if f"{hashlib.sha256(data).hexdigest()}.parquet" != Path(snapshot.data).name:
            raise ValueError("it was changed")
        records = pq.read_table(io.BytesIO(data), schema=RECORD)
    except (OSError, ValueError) as error:
        log().warning("%s/%s cannot be read and is made anew: %s", store.uri, snapshot.data, error)
        return None
    return [records.filter(pc.greater_equal(records["logical_date"], pa.scalar(oldest)))]


def _checked(movies: pa.Table, source: str, day: date) -> tuple[pa.Table, list[Violation]]:
    """Return a batch, each movie once and without what cannot be, and the rules that it breaks."""
    movies = _newest(movies, ["id"])
    frame = to_frame(movies)
    violations = check_batch(frame, source, day)
    for name, values in mend(frame).items():
        column = pa.array(values.astype(object).where(values.notna(), None), SCHEMA.field(name).type, from_pandas=True)
        movies = movies.set_column(SCHEMA.get_field_index(name), SCHEMA.field(name), column)
    return movies, violations


def _known_on(as_of: date, catalogue: Catalogue) -> Catalogue:
    """Return a catalogue of all records without those that were read after a day, but for movies unknown until then."""
    records = catalogue.records
    early = records.filter(pc.less_equal(records["logical_date"], pa.scalar(as_of)))
    unknown = []
    for flag in (True, False):  # of a movie that was known in a rejected batch only, an accepted record stands in
        all_of, known = (table.filter(pc.equal(table["accepted"], flag)) for table in (records, early))
        unknown.append(all_of.filter(pc.invert(pc.is_in(all_of["id"], known["id"].combine_chunks()))))
    late = _newest(pa.concat_tables(unknown), ["id", "accepted"], oldest=True)
    early = _newest(early, ["id", "accepted"])
    if len(late):
        log().warning(
            "of %d movies, %d were first read after %s: their ratings and votes are those of %s and later",
            len(early) + len(late), len(late), as_of, pc.min(late["logical_date"]).as_py(),
        )  # fmt: skip
    return Catalogue(catalogue.source, pa.concat_tables([early, late]), catalogue.batches, catalogue.partitions)


def _newest(records: pa.Table, keys: Sequence[str], oldest: bool = False) -> pa.Table:
    """Return the newest record for each value of some columns, or the oldest one, by release date and id."""
    by = [name for name in ("logical_date", "fetched_at") if name in records.column_names]
    order = records.select([*keys, *by]).to_pandas().sort_values(by, kind="stable")
    chosen = records.take(order.drop_duplicates(list(keys), keep="first" if oldest else "last").index.to_numpy())
    return chosen.sort_by([("release_date", "ascending"), ("id", "ascending")])


def _snapshot_key(source: str) -> str:
    return f"{source}/snapshot.json"


@lru_cache
def _code() -> str:
    """Return a digest of the code that folds: what older code wrote is made anew."""
    return hashlib.sha256(
        b"".join(Path(f).read_bytes() for f in (__file__, partitions.__file__, contract.__file__))
    ).hexdigest()[:12]


def purge(store: Store, source: str, before: date | None = None) -> int:
    """Remove what was read before a day, or all of a source; return how many files that were.

    Manifests go first, so that a purge that is cut short leaves no manifest without its movies; the snapshot follows.
    """
    keys = store.keys(f"{source}/")
    if before is not None:
        keys = [key for key in keys if (day := _logical_date(key)) and day < before]
    for key in sorted(keys, key=lambda key: not key.endswith(".json")):
        store.delete(key)
    if before is not None:
        fold(store, source)
    return len(keys)


def _logical_date(key: str) -> date | None:
    """Return the logical date in a key, or None where it has none."""
    try:
        return date.fromisoformat(key.split("/")[2][:10])
    except (IndexError, ValueError):
        return None


def fingerprint(movies: pd.DataFrame) -> str:
    """Return a short digest of what a model may learn from these movies; the time of fetching does not count."""
    content = movies.drop(columns=["fetched_at", "logical_date", "popularity"], errors="ignore").to_json(
        orient="records", date_format="iso"
    )
    return hashlib.sha256(content.encode()).hexdigest()[:16]
