"""IMDb's data sets, streamed: title.basics.tsv.gz and title.ratings.tsv.gz, in bounded memory whatever their length.

A line that does not fit costs that line, and is named by its number. What IMDb lacks is missing. It gives a year and no
day: a movie counts as released on the last day of its year, so that nothing is learned from before it was surely out.
IMDb's terms: personal and non-commercial use.
"""

from __future__ import annotations

import codecs
import gzip
import re
import tempfile
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from prefect import get_run_logger, task
from pyarrow import csv

from models.movie import FIRST_DATE, LAST_DATE, MAX_RUNTIME
from settings import get_settings
from tasks.data.catalogue import list_partitions
from tasks.data.partitions import SCHEMA, Partition, is_intact, write_partition
from tasks.foundation.clock import now
from tasks.foundation.retrying import RETRIED
from tasks.foundation.store import open_store

BASICS, RATINGS = "title.basics.tsv.gz", "title.ratings.tsv.gz"
BLOCK = 16 << 20  # bytes of text held at once
SOURCE = "imdb"
MOST_REFUSED = 0.05  # of the lines of a file; more, and the file has another layout
MIN_REFUSED = 20  # fewer refused lines never stop a reading, unless they are all
MAX_REFUSED = 100_000  # refused lines that are held before it stops at once
ANYTHING = ""
BASICS_RULES = {  # what a column must be like, where it is not null
    "tconst": r"^tt[0-9]{1,14}$",
    "titleType": ANYTHING,
    "primaryTitle": ANYTHING,
    "originalTitle": ANYTHING,
    "isAdult": r"^[01]$",
    "startYear": r"^[0-9]{4}$",
    "runtimeMinutes": ANYTHING,
    "genres": ANYTHING,
}
RATINGS_RULES = {
    "tconst": r"^tt[0-9]{1,14}$",
    "averageRating": r"^([1-9](\.[0-9]+)?|10(\.0+)?)$",
    "numVotes": r"^[0-9]{1,7}$",
}
NEVER_NULL = ("tconst", "isAdult", "averageRating", "numVotes")


@task(
    name="read IMDb",
    task_run_name="read IMDb on {logical_date}",
    tags=["imdb"],
    **RETRIED | {"retry_delay_seconds": 60},
)
def read_imdb(logical_date: date) -> Partition:
    """Read all movies of IMDb's data sets into one partition, unless this day's is there."""
    settings = get_settings()
    store = open_store(settings.store_uri)
    there = [p for p in list_partitions(store, SOURCE) if p.logical_date == logical_date and is_intact(store, p)]
    if there:
        return there[-1]
    with _files(settings.imdb_base_url) as folder:
        movies, refused = read_movies(folder, now())
    years = pc.min_max(movies["release_date"]).as_py()
    partition = write_partition(
        store,
        movies,
        source=SOURCE,
        logical_date=logical_date,
        slice="movies",
        start=years["min"] or logical_date,
        end=years["max"] or logical_date,
        expected=len(movies) + len(refused),
        requests=0,
        refused=refused,
    )
    get_run_logger().info("%d movies of IMDb, %d lines refused", partition.rows, len(refused))
    return partition


def read_movies(folder: Path, fetched_at: datetime) -> tuple[pa.Table, dict[str, str]]:
    """Return all movies of the two files in a folder as a table of `SCHEMA`, and why which lines were refused.

    Lines are named by their number, those of the ratings by its negative. Only rows that are movies, and not adult, are
    kept from each block of text; the ratings, a tenth of the size, are held whole. Raises ValueError where a file has
    another layout, OSError where it is damaged.
    """
    basics = _Lines(folder / BASICS, BASICS_RULES)
    movies = basics.read(lambda block: pc.equal(block["titleType"], "movie"))
    ratings = _Lines(folder / RATINGS, RATINGS_RULES)
    rated = ratings.read()
    for file, rows in ((basics, movies), (ratings, rated)):
        file.check_refused(len(rows))
    movies = movies.filter(pc.equal(movies["isAdult"], "0"))
    if not len(movies):
        raise ValueError(f"{folder / BASICS} holds no movies: is it IMDb's file?")
    rated = _typed(rated, averageRating=pa.float64(), numVotes=pa.int64())
    movies = basics.once(movies, [("row", "ascending")])
    rated = ratings.once(rated, [("numVotes", "descending"), ("row", "ascending")])
    joined = movies.join(rated.drop_columns(["tconst", "row"]), "id", join_type="left outer").sort_by("id")
    refused = {str(line): why for line, why in sorted(basics.refused.items())}
    return _to_schema(joined, fetched_at), refused | {str(-n): why for n, why in sorted(ratings.refused.items())}


class _Lines:
    """The lines of one of the files, and those that do not fit, by number; the first line names the columns."""

    def __init__(self, path: Path, rules: dict[str, str]) -> None:
        self.path, self.rules = path, rules
        self.refused: dict[int, str] = {}
        self._skipped: list[int] = []  # in rows of the reader: how many came before each line that it left out
        self._unfit: list[tuple[int, str]] = []

    def read(self, wanted: Callable[[pa.RecordBatch], Any] | None = None) -> pa.Table:
        """Return the lines that are `wanted` and fit, as texts, with `id`, the number in tconst, and `row`."""
        kept, rows = [self._schema().empty_table()], 0
        for block in self._blocks():
            numbered = block.append_column("row", pa.array(np.arange(rows, rows + len(block))))
            rows += len(block)
            fitting = self._fitting(numbered.filter(wanted(numbered)) if wanted else numbered)
            kept.append(pa.Table.from_batches([fitting]))
        for row, why in self._unfit:
            self._refuse(self._line(row), why)
        table = pa.concat_tables(kept)
        return table.append_column("id", pc.utf8_slice_codeunits(table["tconst"], 2).cast(pa.int64()))

    def once(self, rows: pa.Table, order: list[tuple[str, str]]) -> pa.Table:
        """Return the first row of each id by an order; the others are refused."""
        ids = rows["id"].to_numpy()
        places = pc.sort_indices(rows, [("id", "ascending"), *order]).to_numpy()
        again = np.append(False, ids[places][1:] == ids[places][:-1])
        for row in rows["row"].to_numpy()[places[again]]:
            self._refuse(self._line(int(row)), "its tconst comes twice")
        return rows.take(np.sort(places[~again]))

    def check_refused(self, kept: int) -> None:
        """Raise ValueError where so many lines were refused that the file must have another layout."""
        refused = len(self.refused)
        if refused and (not kept or (refused >= MIN_REFUSED and refused > MOST_REFUSED * (refused + kept))):
            raise self._other_layout(f"{refused} lines do not fit, {kept} do: {next(iter(self.refused.values()))}")

    def _other_layout(self, what: str) -> ValueError:
        return ValueError(f"{self.path}: {what}. It must have the columns {', '.join(self.rules)}: did IMDb change it?")

    def _refuse(self, line: int, why: str) -> None:
        self.refused[line] = f"line {line} of {self.path.name}: {why}"

    def _line(self, row: int) -> int:
        """Return the number of the line that became a row of the reader."""
        return row + 2 + bisect_right(self._skipped, row)

    def _schema(self) -> pa.Schema:
        return pa.schema([(name, pa.string()) for name in self.rules] + [("row", pa.int64())])

    def _fitting(self, block: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows of a block that fit."""
        fits = pa.array(np.ones(len(block), bool))
        for name, rule in self.rules.items():
            column = block[name]
            good = pc.invert(pc.match_substring(column, "\0"))  # which stands for what is no UTF-8, too
            if rule:
                good = pc.and_(good, pc.match_substring_regex(column, rule))
            good = pc.fill_null(good, name not in NEVER_NULL)
            bad = block.filter(pc.and_not(fits, good))
            values = zip(bad["row"].to_pylist(), bad[name].to_pylist(), strict=True)
            self._unfit += [(row, f"{name} is {value!r}") for row, value in values]
            fits = pc.and_(fits, good)
        if len(self._unfit) > MAX_REFUSED:
            raise self._other_layout(f"over {MAX_REFUSED} lines do not fit, such as one whose {self._unfit[0][1]}")
        return block.filter(fits)

    def _blocks(self) -> Iterator[pa.RecordBatch]:
        """Yield the named columns of a gzipped TSV, block by block. IMDb quotes nothing and writes null as \\N."""
        path = self.path
        if not path.exists():
            raise FileNotFoundError(f"{path} is not there: IMDB_BASE_URL must hold {BASICS} and {RATINGS}")
        text = pa.string()

        def skip(row: Any) -> str:
            self._skipped.append(row.number - 2 - len(self._skipped))
            self._refuse(row.number, f"{row.actual_columns} columns, not {row.expected_columns}: {row.text[:200]!r}")
            return "skip" if len(self.refused) < MAX_REFUSED else "error"

        try:
            with gzip.open(path, "rt", encoding="utf-8", errors="replace") as lines:
                columns = lines.readline(10_000).rstrip("\n").split("\t")
            if missing := [name for name in self.rules if name not in columns]:
                raise self._other_layout(f"it lacks {', '.join(missing)}")
            with (
                pa.input_stream(str(path), compression="gzip") as stream,
                csv.open_csv(
                    pa.TransformInputStream(stream, _Utf8()),
                    read_options=csv.ReadOptions(block_size=BLOCK, use_threads=False),
                    parse_options=csv.ParseOptions(
                        delimiter="\t",
                        quote_char=False,
                        newlines_in_values=False,
                        ignore_empty_lines=False,
                        invalid_row_handler=skip,
                    ),
                    convert_options=csv.ConvertOptions(
                        column_types=dict.fromkeys(self.rules, text),
                        include_columns=list(self.rules),
                        null_values=["\\N"],
                        strings_can_be_null=True,
                        check_utf8=False,
                    ),
                ) as reader,
            ):
                yield from reader
        except (OSError, EOFError, zlib.error, pa.ArrowInvalid) as error:
            if len(self.refused) >= MAX_REFUSED:
                raise self._other_layout(f"over {MAX_REFUSED} lines do not fit: {error}") from error
            raise OSError(f"{path} is damaged or cut short ({error}): download it again") from error


class _Utf8:
    """Make bytes UTF-8 as they come: what is none becomes NUL, which no text of IMDb's holds."""

    def __init__(self) -> None:
        self._rest = b""  # the beginning of a character that goes on in the next bytes

    def __call__(self, data: Any) -> bytes:
        known = self._rest + bytes(data)
        try:
            _, used = codecs.utf_8_decode(known, "strict", not data)
        except UnicodeDecodeError:
            text, used = codecs.utf_8_decode(known, "surrogateescape", not data)
            self._rest = known[used:]
            return re.sub("[\ud800-\udfff]", "\0", text).encode()
        self._rest = known[used:]
        return known[:used]


def _typed(table: pa.Table, **types: pa.DataType) -> pa.Table:
    for name, kind in types.items():
        table = table.set_column(table.schema.get_field_index(name), name, table[name].cast(kind))
    return table


def _to_schema(movies: pa.Table, fetched_at: datetime) -> pa.Table:
    """Name IMDb's columns as ours; what it lacks is null."""
    count = len(movies)
    years = movies["startYear"].cast(pa.int32()).to_pylist()
    minutes = pc.match_substring_regex(movies["runtimeMinutes"], "^[0-9]{1,6}$")
    runtime = pc.if_else(minutes, movies["runtimeMinutes"], None).cast(pa.float64())
    columns: dict[str, Any] = {
        "id": movies["id"],
        "imdb_id": movies["tconst"],
        "title": pc.coalesce(_not_blank(movies["primaryTitle"]), movies["tconst"]),
        "original_title": movies["originalTitle"],
        "genres": pc.split_pattern(_not_blank(movies["genres"]), ","),
        "release_date": [date(y, 12, 31) if y and FIRST_DATE.year <= y <= LAST_DATE.year else None for y in years],
        "runtime": pc.if_else(pc.and_(pc.greater(runtime, 0), pc.less_equal(runtime, MAX_RUNTIME)), runtime, None),
        "vote_average": movies["averageRating"],
        "vote_count": pc.coalesce(movies["numVotes"], 0),
        "fetched_at": pa.array([fetched_at] * count, pa.timestamp("s", tz="UTC")),
    }
    arrays = [
        _column(columns[field.name], field.type) if field.name in columns else pa.nulls(count, field.type)
        for field in SCHEMA
    ]
    return pa.table(arrays, schema=SCHEMA)


def _not_blank(texts: Any) -> Any:
    return pc.if_else(pc.equal(pc.utf8_trim_whitespace(texts), ""), None, texts)


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
