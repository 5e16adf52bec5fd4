"""The movies that were collected: typed partitions by logical date in the store.

A partition is one slice as read on one logical date: a Parquet file, named after its own content, and a manifest with
row count and SHA-256. The manifest is written last, so a partition without one was never finished and does not exist;
and as the file's name is its content, two runs that write the same slice cannot mix. What did not fit the declared
schema lies in a quarantine file beside it, with the reasons. The catalogue is all partitions together, newest record
of each id.

    tmdb/movies/2026-11-21/2015-01-01_2015-12-31_votes20.json
    tmdb/movies/2026-11-21/2015-01-01_2015-12-31_votes20-3f2a….parquet
    tmdb/quarantine/2026-11-21/2015-01-01_2015-12-31_votes20-77b0….parquet
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
        ("poster_path", pa.string()),
        pa.field("fetched_at", pa.timestamp("s", tz="UTC"), nullable=False),
    ]
)


class BrokenPartition(Exception):
    """A partition is not what its manifest says: it was damaged or tampered with after it was written."""


QUARANTINE = pa.schema([("id", pa.int64()), ("reason", pa.string()), ("body", pa.string())])
LISTS = tuple(field.name for field in SCHEMA if pa.types.is_list(field.type))
NUMBERS = ("vote_average", "vote_count", "runtime", "budget", "popularity", "revenue")


@dataclass(frozen=True)
class Partition:
    """One slice as read on one logical date, and what reading it took. Both ends of the release dates are inclusive."""

    source: str
    logical_date: date
    slice: str
    start: date
    end: date
    rows: int
    expected: int
    requests: int
    sha256: str
    gone: list[int] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)  # reason by id
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
    data = _parquet(movies)
    partition = Partition(rows=len(movies), sha256=hashlib.sha256(data).hexdigest(), **facts)
    if partition.refused:
        rows = [{"id": int(i), "reason": why, "body": (bodies or {}).get(i)} for i, why in partition.refused.items()]
        quarantine = _parquet(pa.Table.from_pylist(rows, schema=QUARANTINE))
        digest = hashlib.sha256(quarantine).hexdigest()[:16]
        key = f"{partition.source}/quarantine/{partition.logical_date}/{partition.slice}-{digest}.parquet"
        store.write(key, quarantine)
    store.write(partition.data_key, data)
    store.write(partition.manifest_key, json.dumps(asdict(partition), default=str, indent=1).encode())
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


def read_batches(store: Store, source: str) -> dict[date, pd.DataFrame]:
    """Return the movies of a source by the logical date of their reading, oldest first, as `read_catalogue` does.

    Raises FileNotFoundError where nothing was collected.
    """
    partitions = list_partitions(store, source)
    if not partitions:
        command = "flows.collect_imdb" if source == "imdb" else "flows.collect"
        raise FileNotFoundError(f"no movies of {source} in {store.uri}: collect some first, with python -m {command}")
    tables: dict[date, list[pa.Table]] = {}
    for partition in partitions:
        tables.setdefault(partition.logical_date, []).append(read_partition(store, partition))
    return {day: _frame(pa.concat_tables(parts)) for day, parts in tables.items()}


def newest(batches: dict[date, pd.DataFrame]) -> pd.DataFrame:
    """Return the newest record of each movie in some batches, by release date and id."""
    parts = [batch.assign(logical_date=pd.Timestamp(day)) for day, batch in batches.items() if len(batch)]
    movies = pd.concat(parts or list(batches.values()), ignore_index=True)
    by_age = movies.sort_values(["logical_date", "fetched_at"], kind="stable") if parts else movies
    ordered: pd.DataFrame = by_age.drop_duplicates("id", keep="last").sort_values(["release_date", "id"])
    return ordered.reset_index(drop=True)


def read_catalogue(store: Store, source: str) -> pd.DataFrame:
    """Return the newest record of each movie of a source, by release date and id.

    Columns are those of `SCHEMA` and `logical_date`, the day of the reading; lists are lists, empty where nothing is
    known; what is missing is None or NaN; release_date is a timestamp. Raises FileNotFoundError where there is nothing.
    """
    return newest(read_batches(store, source))


def _frame(table: pa.Table) -> pd.DataFrame:
    movies: pd.DataFrame = table.to_pandas()
    movies["release_date"] = pd.to_datetime(movies["release_date"])
    movies[list(NUMBERS)] = movies[list(NUMBERS)].astype("float64")
    for name in LISTS:
        movies[name] = [[] if values is None else values.tolist() for values in movies[name]]
    return movies


def purge(store: Store, source: str, before: date | None = None) -> int:
    """Remove what was read before a day, or all of a source; return how many files that were.

    Manifests go first, so that a purge that is cut short leaves no manifest without its movies.
    """
    keys = store.keys(f"{source}/")
    if before is not None:
        keys = [key for key in keys if (day := _logical_date(key)) and day < before]
    for key in sorted(keys, key=lambda key: not key.endswith(".json")):
        store.delete(key)
    return len(keys)


def _logical_date(key: str) -> date | None:
    """Return the logical date in a key, or None where it has none."""
    try:
        return date.fromisoformat(key.split("/")[2])
    except (IndexError, ValueError):
        return None


def _parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def fingerprint(movies: pd.DataFrame) -> str:
    """Return a short digest of what a model may learn from these movies; the time of fetching does not count."""
    content = movies.drop(columns=["fetched_at", "logical_date", "popularity"], errors="ignore").to_json(
        orient="records", date_format="iso"
    )
    return hashlib.sha256(content.encode()).hexdigest()[:16]
