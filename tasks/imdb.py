"""IMDb's data sets, streamed: title.basics.tsv.gz and title.ratings.tsv.gz, in bounded memory whatever their length.

What IMDb lacks is missing. It gives a year and no day: a movie counts as released on the last day of its year, so that
nothing is learned from before it was surely out. IMDb's terms: personal and non-commercial use.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.compute as pc
from prefect import get_run_logger, task
from pyarrow import csv

from models.movie import FIRST_DATE
from settings import get_settings
from tasks.catalogue import list_partitions
from tasks.partitions import SCHEMA, Partition, write_partition
from tasks.store import open_store
from tasks.tmdb import now

BASICS, RATINGS = "title.basics.tsv.gz", "title.ratings.tsv.gz"
BLOCK = 16 << 20  # bytes of text held at once
SOURCE = "imdb"
TEXT = pa.string()
BASICS_TYPES = dict.fromkeys(("tconst", "titleType", "primaryTitle", "originalTitle", "isAdult", "genres"), TEXT)
BASICS_TYPES |= {"startYear": pa.int32(), "runtimeMinutes": TEXT}
RATINGS_TYPES = {"tconst": TEXT, "averageRating": pa.float64(), "numVotes": pa.int64()}


@task(name="read IMDb", tags=["imdb"], retries=2, retry_delay_seconds=60)
def read_imdb(logical_date: date) -> Partition:
    """Read all movies of IMDb's data sets into one partition, unless this day's is there."""
    settings = get_settings()
    store = open_store(settings.store_uri)
    there = [p for p in list_partitions(store, SOURCE) if p.logical_date == logical_date]
    if there:
        return there[-1]
    with _files(settings.imdb_base_url) as folder:
        movies, refused = read_movies(folder, now())
    years = pc.min_max(movies["release_date"]).as_py()
    partition = write_partition(
        store,
        movies,
        refused,
        source=SOURCE,
        logical_date=logical_date,
        slice="movies",
        start=years["min"] or logical_date,
        end=years["max"] or logical_date,
        expected=len(movies) + len(refused),
        requests=0,
        refused={number: f"line {number}: not the columns of {BASICS}" for number in refused},
    )
    get_run_logger().info("%d movies of IMDb, %d lines refused", partition.rows, len(refused))
    return partition


def read_movies(folder: Path, fetched_at: datetime) -> tuple[pa.Table, dict[str, str]]:
    """Return all movies of the two files in a folder as a table of `SCHEMA`, and bad lines by their number.

    Only rows that are movies, and not adult, are kept from each block of text; the ratings, a tenth of the size, are
    held whole.
    """
    refused: dict[str, str] = {}

    def refuse(row: Any) -> str:
        refused[str(row.number if row.number is not None else len(refused))] = row.text
        return "skip"

    blocks = []
    for block in _blocks(folder / BASICS, BASICS_TYPES, refuse):
        wanted = pc.and_(pc.equal(block["titleType"], "movie"), pc.equal(block["isAdult"], "0"))
        kept = block.filter(wanted)
        if len(kept):
            blocks.append(kept)
    ratings = pa.Table.from_batches(list(_blocks(folder / RATINGS, RATINGS_TYPES, refuse)))
    if not blocks:
        raise ValueError(f"{folder / BASICS} holds no movies: is it IMDb's file?")
    movies = pa.Table.from_batches(blocks).join(ratings, "tconst", join_type="left outer").sort_by("tconst")
    return _to_schema(movies, fetched_at), refused


def _blocks(path: Path, types: dict[str, pa.DataType], refuse: Any) -> Iterator[pa.RecordBatch]:
    """Yield the named columns of a gzipped TSV, block by block. IMDb quotes nothing and writes null as \\N."""
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there: IMDB_BASE_URL must hold {BASICS} and {RATINGS}")
    with (
        pa.input_stream(str(path), compression="gzip") as stream,
        csv.open_csv(
            stream,
            read_options=csv.ReadOptions(block_size=BLOCK, use_threads=False),
            parse_options=csv.ParseOptions(
                delimiter="\t", quote_char=False, newlines_in_values=False, invalid_row_handler=refuse
            ),
            convert_options=csv.ConvertOptions(
                column_types=types, include_columns=list(types), null_values=["\\N"], strings_can_be_null=True
            ),
        ) as reader,
    ):
        yield from reader


def _to_schema(movies: pa.Table, fetched_at: datetime) -> pa.Table:
    """Name IMDb's columns as ours; what it lacks is null."""
    count = len(movies)
    years = movies["startYear"].to_pylist()
    digits = pc.replace_substring_regex(movies["runtimeMinutes"], r"^\D.*$", "")
    runtime = pc.if_else(pc.equal(digits, ""), None, digits).cast(pa.float64())
    columns: dict[str, Any] = {
        "id": pc.utf8_slice_codeunits(movies["tconst"], 2).cast(pa.int64()),
        "imdb_id": movies["tconst"],
        "title": pc.coalesce(movies["primaryTitle"], movies["tconst"]),
        "original_title": movies["originalTitle"],
        "genres": pc.split_pattern(movies["genres"], ","),
        "release_date": [date(y, 12, 31) if y and FIRST_DATE.year <= y <= 2100 else None for y in years],
        "runtime": pc.if_else(pc.greater(runtime, 0), runtime, None),
        "vote_average": movies["averageRating"],
        "vote_count": pc.coalesce(movies["numVotes"], 0),
        "fetched_at": pa.array([fetched_at] * count, pa.timestamp("s", tz="UTC")),
    }
    arrays = [
        _column(columns[field.name], field.type) if field.name in columns else pa.nulls(count, field.type)
        for field in SCHEMA
    ]
    return pa.table(arrays, schema=SCHEMA)


def _column(values: Any, kind: pa.DataType) -> Any:
    return pa.array(values, kind) if isinstance(values, list) else values.cast(kind)


@contextmanager
def _files(base: str) -> Iterator[Path]:
    """Yield a folder that holds the two files: the one named, or one that they were downloaded into."""
    if not base.startswith(("http://", "https://")):
        yield Path(base)
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in (BASICS, RATINGS):
            with (
                httpx.stream("GET", f"{base.rstrip('/')}/{name}", timeout=60, follow_redirects=True) as response,
                (Path(folder) / name).open("wb") as file,
            ):
                response.raise_for_status()
                for chunk in response.iter_raw(1 << 20):
                    file.write(chunk)
        yield Path(folder)
