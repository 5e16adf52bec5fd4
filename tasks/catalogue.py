"""The movies that were collected: typed partitions by logical date in the store.

A partition is one window of release dates as read on one logical date: a Parquet file and a manifest beside it with
row count and SHA-256. The manifest is written last, so a partition without one was never finished and does not exist.
The catalogue is all partitions together, newest record of each id.

    tmdb/movies/2026-11-21/2015-01-01_2015-12-31.parquet
    tmdb/movies/2026-11-21/2015-01-01_2015-12-31.json
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.store import Store

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
        pa.field("fetched_at", pa.timestamp("s", tz="UTC"), nullable=False),
    ]
)


class BrokenPartition(Exception):
    """A partition is not what its manifest says: it was damaged or tampered with after it was written."""


@dataclass(frozen=True)
class Partition:
    """One window of release dates (both ends inclusive) as read on one logical date, and what reading it took."""

    source: str
    logical_date: date
    start: date
    end: date
    min_votes: int
    rows: int
    expected: int
    requests: int
    sha256: str
    gone: list[int] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    @property
    def window(self) -> tuple[date, date, int]:
        """What was asked: first day, last day, vote floor."""
        return self.start, self.end, self.min_votes

    @property
    def complete(self) -> bool:
        """Whether every movie that TMDB counted was read, is gone, or was refused with a reason."""
        return self.rows + len(self.gone) + len(self.refused) >= self.expected

    @property
    def key(self) -> str:
        """Where it lies in the store, without the ending."""
        return partition_key(self.source, self.logical_date, self.window)


def partition_key(source: str, logical_date: date, window: tuple[date, date, int]) -> str:
    """Name a partition in the store, without the ending."""
    start, end, min_votes = window
    return f"{source}/movies/{logical_date}/{start}_{end}_votes{min_votes}"


def write_partition(store: Store, records: list[dict[str, Any]], **facts: Any) -> Partition:
    """Write records and then their manifest; `facts` are the other fields of Partition."""
    table = pa.Table.from_pylist(sorted(records, key=lambda r: r["id"]), schema=SCHEMA)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    data = buffer.getvalue()
    partition = Partition(rows=len(records), sha256=hashlib.sha256(data).hexdigest(), **facts)
    store.write(f"{partition.key}.parquet", data)
    store.write(f"{partition.key}.json", json.dumps(asdict(partition), default=str, indent=1).encode())
    return partition


def list_partitions(store: Store, source: str) -> list[Partition]:
    """Return all finished partitions of a source, oldest logical date first."""
    partitions = []
    for key in store.keys(f"{source}/movies/"):
        if key.endswith(".json"):
            facts = json.loads(store.read(key))
            days = {name: date.fromisoformat(facts[name]) for name in ("logical_date", "start", "end")}
            partitions.append(Partition(**(facts | days)))
    return partitions


def read_partition(store: Store, partition: Partition) -> pa.Table:
    """Read one partition; raises BrokenPartition where its bytes are gone or not those that were written."""
    try:
        data = store.read(f"{partition.key}.parquet")
    except FileNotFoundError:
        data = b""
    if hashlib.sha256(data).hexdigest() != partition.sha256:
        raise BrokenPartition(
            f"{store.uri}/{partition.key}.parquet does not match its manifest: delete the .json beside it and collect "
            f"{partition.start} to {partition.end} again"
        )
    return pq.read_table(io.BytesIO(data), schema=SCHEMA)


def read_catalogue(store: Store, source: str, as_of: date | None = None) -> pd.DataFrame:
    """Return the newest record of each movie of a source, by release date and id; released before `as_of` if given.

    Columns are those of `SCHEMA`; lists stay lists, release_date is a timestamp. Raises FileNotFoundError where nothing
    was collected.
    """
    partitions = list_partitions(store, source)
    if not partitions:
        raise FileNotFoundError(
            f"no movies of {source} in {store.uri}: collect some first, with python -m flows.collect"
        )
    newest: dict[int, dict[str, Any]] = {}
    for partition in partitions:  # oldest first, so that a newer record replaces an older one
        for row in read_partition(store, partition).to_pylist():
            if row["id"] not in newest or row["fetched_at"] >= newest[row["id"]]["fetched_at"]:
                newest[row["id"]] = row
    movies = pd.DataFrame(list(newest.values()), columns=SCHEMA.names)
    movies["release_date"] = pd.to_datetime(movies["release_date"])
    for name in ("vote_average", "vote_count", "runtime", "budget", "popularity", "revenue"):
        movies[name] = movies[name].astype("float64")
    if as_of is not None:
        movies = movies[movies["release_date"] < pd.Timestamp(as_of)]
    return movies.sort_values(["release_date", "id"]).reset_index(drop=True)


def fingerprint(movies: pd.DataFrame) -> str:
    """Return a short digest of what a model may learn from these movies; the time of fetching does not count."""
    content = movies.drop(columns=["fetched_at", "popularity"]).to_json(orient="records", date_format="iso")
    return hashlib.sha256(content.encode()).hexdigest()[:16]
