"""Partitions: the movies that were collected, typed, by logical date in the store.

A partition is one window as read on one logical date: a Parquet file, named after its own content, and a manifest with
row count and SHA-256. The manifest is written last, so a partition without one was never finished and does not exist;
and as the file's name is its content, two runs that write the same window cannot mix. What did not fit the declared
schema lies in a quarantine file beside it, with the reasons. A file that is none of these is passed over by name.

    tmdb/movies/2026-11-21/2015-01-01_2015-12-31_votes20.json
    tmdb/movies/2026-11-21/2015-01-01_2015-12-31_votes20-3f2a….parquet
    tmdb/quarantine/2026-11-21/2015-01-01_2015-12-31_votes20-77b0….parquet
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import asdict, dataclass, field, fields
from datetime import date
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.foundation.retrying import Hopeless
from tasks.foundation.run_log import log
from tasks.foundation.store import Store

_TEXTS = pa.list_(pa.string())
_ENTITY = pa.struct([("id", pa.string()), ("name", pa.string())])
_ENTITIES = pa.list_(_ENTITY)
SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        ("imdb_id", pa.string()),
        pa.field("title", pa.string(), nullable=False),
        ("original_title", pa.string()),
        ("overview", pa.string()),
        ("tagline", pa.string()),
        ("genres", _TEXTS),
        ("release_date", pa.date32()),
        ("original_language", pa.string()),
        ("spoken_languages", _TEXTS),
        ("runtime", pa.float64()),
        ("budget", pa.float64()),
        ("production_companies", _ENTITIES),
        ("production_countries", _ENTITIES),
        ("belongs_to_collection", _ENTITY),
        ("cast", _ENTITIES),
        ("directors", _ENTITIES),
        ("writers", _ENTITIES),
        ("producers", _ENTITIES),
        ("cinematographers", _ENTITIES),
        ("composers", _ENTITIES),
        ("editors", _ENTITIES),
        ("vote_average", pa.float64()),
        ("vote_count", pa.int64()),
        ("popularity", pa.float64()),
        ("revenue", pa.float64()),
        ("status", pa.string()),
        ("poster_path", pa.string()),
        pa.field("fetched_at", pa.timestamp("s", tz="UTC"), nullable=False),
    ]
)


class BrokenPartition(Hopeless):
    """A partition is not what its manifest says: it was damaged or tampered with after it was written."""


QUARANTINE = pa.schema([("id", pa.int64()), ("reason", pa.string()), ("body", pa.string())])
LISTS = tuple(field.name for field in SCHEMA if pa.types.is_list(field.type))
NUMBERS = ("vote_average", "vote_count", "runtime", "budget", "popularity", "revenue")


@dataclass(frozen=True)
class Partition:
    """One window as read on one logical date, and what reading it took; both ends of the release dates are inclusive.

    Its name is `slice`, as the manifests of all versions have it.
    """

    source: str
    logical_date: date
    slice: str
    start: date
    end: date
    rows: int
    expected: int
    requests: int
    sha256: str
    gone: list[int] = field(default_factory=list)  # ids that answer 404
    skipped: list[int] = field(default_factory=list)  # those of them that were not asked anew
    refused: dict[str, str] = field(default_factory=dict)  # reason by id
    lost: dict[str, list[str]] = field(default_factory=dict)  # facts that did not fit, by id of a movie that was kept
    retries: dict[str, int] = field(default_factory=dict)  # how often by fault

    @property
    def complete(self) -> bool:
        """Whether every movie that the source counted was read, is gone, or was refused with a reason."""
        return self.rows + len(self.gone) + len(self.refused) >= self.expected

    @property
    def manifest_key(self) -> str:
        """Where the manifest lies in the store."""
        return f"{self.source}/movies/{self.logical_date}/{self.slice}.json"

    @property
    def data_key(self) -> str:
        """Where the movies lie in the store."""
        return f"{self.source}/movies/{self.logical_date}/{self.slice}-{self.sha256[:16]}.parquet"


def movie_table(records: list[dict[str, Any]]) -> pa.Table:
    """Return records as a table of `SCHEMA`, by id."""
    return pa.Table.from_pylist(sorted(records, key=lambda r: r["id"]), schema=SCHEMA)


def write_partition(store: Store, movies: pa.Table, bodies: dict[str, str] | None = None, **facts: Any) -> Partition:
    """Write movies and then their manifest; `facts` are the other fields of Partition.

    `bodies` are the bodies of what was refused, as JSON by id: they are kept in the quarantine.
    """
    data = to_parquet(movies)
    partition = Partition(rows=len(movies), sha256=hashlib.sha256(data).hexdigest(), **facts)
    wrong = partition.refused | {movie_id: "; ".join(facts) for movie_id, facts in partition.lost.items()}
    if wrong:
        rows = [{"id": int(i), "reason": why, "body": (bodies or {}).get(i)} for i, why in wrong.items()]
        quarantine = to_parquet(pa.Table.from_pylist(rows, schema=QUARANTINE))
        digest = hashlib.sha256(quarantine).hexdigest()[:16]
        key = f"{partition.source}/quarantine/{partition.logical_date}/{partition.slice}-{digest}.parquet"
        store.write(key, quarantine)
    store.write(partition.data_key, data)
    store.write(partition.manifest_key, json.dumps(asdict(partition), default=str, indent=1).encode())
    return partition


def read_manifest(store: Store, key: str) -> Partition | None:
    """Return a partition by its manifest, or None where the file is none."""
    try:
        partition = partition_of(json.loads(store.read(key)))
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError) as error:
        log().warning("%s/%s is no manifest and is passed over: %s", store.uri, key, error)
        return None
    if partition.manifest_key != key:
        log().warning("%s/%s is a copy of %s and is passed over", store.uri, key, partition.manifest_key)
        return None
    return partition


def partition_of(facts: dict[str, Any]) -> Partition:
    """Return a partition from its manifest; raises ValueError, TypeError or KeyError where that is none."""
    unknown = facts.keys() - {f.name for f in fields(Partition)}
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))}: written by a later version")
    days = {name: date.fromisoformat(facts[name]) for name in ("logical_date", "start", "end")}
    return Partition(**(facts | days))


def read_partition(store: Store, partition: Partition) -> pa.Table:
    """Read one partition; raises BrokenPartition where its bytes are gone or not those that were written."""
    try:
        data = store.read(partition.data_key)
    except FileNotFoundError:
        data = b""
    if hashlib.sha256(data).hexdigest() != partition.sha256:
        raise BrokenPartition(
            f"{store.uri}/{partition.data_key} does not match its manifest: delete {partition.manifest_key} and "
            f"collect {partition.start} to {partition.end} again"
        )
    table = pq.read_table(io.BytesIO(data), schema=SCHEMA)
    if len(table) != partition.rows:
        raise BrokenPartition(f"{partition.data_key} has {len(table)} rows, its manifest says {partition.rows}")
    return table


def is_intact(store: Store, partition: Partition) -> bool:
    """Say whether a partition's bytes are those that were written."""
    try:
        read_partition(store, partition)
    except BrokenPartition as error:
        log().warning("%s", error)
        return False
    return True


def to_frame(table: pa.Table) -> pd.DataFrame:
    """Return records as a frame: lists are lists, empty where nothing is known, dates are timestamps."""
    movies: pd.DataFrame = table.to_pandas()
    for name in {"release_date", "logical_date"}.intersection(movies):
        movies[name] = pd.to_datetime(movies[name])
    movies[list(NUMBERS)] = movies[list(NUMBERS)].astype("float64")
    for name in LISTS:
        movies[name] = [[] if values is None else values.tolist() for values in movies[name]]
    return movies


def to_parquet(table: pa.Table) -> bytes:
    """Return a table as a Parquet file."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()
