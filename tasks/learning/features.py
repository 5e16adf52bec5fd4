"""The feature table of a training, made once: a Parquet file in the store for tuning, fitting, judging and plots.

It is of the movies and of the code that numbers them. Beside the file lie the fitted features, as skops, and last of
all a manifest with the digests of both: a table whose files are gone, torn or changed is made anew. The sentiments of
the texts, the slowest part, outlive it: tomorrow's table is of other movies, and mostly of the same texts.

    tmdb/features/2026-11-28-77b0…-3f2a….json   .parquet   .skops
"""

from __future__ import annotations

import hashlib
import io
import json
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from prefect import task
from prefect.context import TaskRunContext
from skops import io as skops_io

from models.estimator import CALIBRATION_YEARS, TRUSTED_TYPES
from models.feature_table import FeatureTable, TrainingTables, with_texts
from models.features import MovieFeatures
from models.folds import number_years
from models.sentiment import Sentiments, text_digest
from settings import get_settings
from tasks.data.catalogue import fingerprint
from tasks.foundation.retrying import RETRIED
from tasks.foundation.run_log import log
from tasks.foundation.store import Store, open_store
from tasks.learning.identity import digest_of

KEPT = 4  # tables of a source
PARTS = (".parquet", ".skops")
ONE_DAY = pd.Timedelta(days=1)


class BrokenTable(Exception):
    """A feature table is gone, or not what its manifest says."""


def feature_table(movies: pd.DataFrame, train: pd.DataFrame, holdout: pd.DataFrame, source: str) -> TrainingTables:
    """Return what a training reads: from the store, or made there now.

    `movies` are all that may be learned from, oldest first; `train` those of them before the hold-out.
    """
    store, key = open_store(get_settings().store_uri), table_key(movies, train, source)
    state = make_features(key, movies, train, holdout, source, return_state=True)
    if state.is_completed():  # it says where the table lies, which is known: Prefect's copy of that may be gone
        try:
            return read_table(store, key, movies, train, holdout)
        except BrokenTable as error:
            log().warning("%s: it is made anew", error)
            state = make_features.with_options(refresh_cache=True)(
                key, movies, train, holdout, source, return_state=True
            )
    state.result()
    return read_table(store, key, movies, train, holdout)


def _cache_key(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    """Return what the table is of; keys are shared by all tasks and stores."""
    return f"{context.task.name} {get_settings().store_uri} {parameters['key']}"


def table_key(movies: pd.DataFrame, train: pd.DataFrame, source: str) -> str:
    """Return where a table lies in the store: by the day of its newest reading, its movies, and the code."""
    day = movies["logical_date"].max().date()
    code = digest_of(("requirements.txt",))
    return f"{source}/features/{day}-{fingerprint(movies)}-{len(train)}-{code}"


@task(
    name="number features",
    task_run_name="number features of {source}",
    cache_key_fn=_cache_key,
    persist_result=True,
    result_serializer="json",
    **RETRIED,
)
def make_features(key: str, movies: pd.DataFrame, train: pd.DataFrame, holdout: pd.DataFrame, source: str) -> str:
    """Number all that a training needs of its movies to `key` in the store, unless it is there; return the key."""
    store = open_store(get_settings().store_uri)
    with suppress(BrokenTable):
        _read(store, key)
        return key
    sentiments = Sentiments(_kept_sentiments(store, source))
    write_table(store, key, number_all(movies, train, holdout, sentiments))
    _keep_sentiments(store, source, movies, sentiments)
    manifests = [name for name in store.keys(f"{source}/features/") if name.endswith(".json")]
    others = {name.removesuffix(".json") for name in manifests} - {key}
    for old in sorted(others)[: 1 - KEPT]:  # the one just made stays, whichever day it is of
        for suffix in (".json", *PARTS):
            store.delete(old + suffix)
    return key


def number_all(
    movies: pd.DataFrame, train: pd.DataFrame, holdout: pd.DataFrame, sentiments: Sentiments
) -> TrainingTables:
    """Fit the features once, and number each view of each movie that a training needs once."""
    everything = FeatureTable.of(movies, sentiment=sentiments)
    before = everything.before(train["release_date"].max().toordinal() + 1)
    for table in (everything, before):
        number_years(table, CALIBRATION_YEARS, table.movies["release_date"].max() + ONE_DAY)
    return TrainingTables(everything, before, before.rows(holdout))


def write_table(store: Store, key: str, tables: TrainingTables) -> None:
    """Write tables and, last of all, their manifest."""
    data = io.BytesIO()
    pq.write_table(_to_arrow(tables), data, compression="zstd")
    parts = {".parquet": data.getvalue(), ".skops": skops_io.dumps(tables.everything.features)}
    for suffix, content in parts.items():
        store.write(key + suffix, content)
    digests = {suffix: hashlib.sha256(content).hexdigest() for suffix, content in parts.items()}
    store.write(f"{key}.json", json.dumps(digests).encode())


def read_table(
    store: Store, key: str, movies: pd.DataFrame, train: pd.DataFrame, holdout: pd.DataFrame
) -> TrainingTables:
    """Return tables from the store; raises BrokenTable where they are gone, or not as they were written."""
    table, fitted = _read(store, key)
    views = _views(table)
    features: MovieFeatures = skops_io.loads(fitted, trusted=TRUSTED_TYPES)
    questions = [views[f"question {number}", 0] for number in range(len(views)) if (f"question {number}", 0) in views]
    everything = FeatureTable.restored(movies, features, views["record", 0], questions)
    before = everything.before(train["release_date"].max().toordinal() + 1)
    for part, name in ((everything, "all"), (before, "train")):
        for (view, start), values in views.items():
            if view.startswith(f"{name}: "):
                part.years.setdefault(start, {})[view.removeprefix(f"{name}: ")] = values
    asked = {view.removeprefix("holdout: "): values for (view, _), values in views.items() if view[:9] == "holdout: "}
    return TrainingTables(everything, before, with_texts(asked, holdout))


def _to_arrow(tables: TrainingTables) -> pa.Table:
    """Return every view as rows: its name, the day that it is as of (0: each movie's own), and the features."""
    everything = tables.everything
    views: dict[tuple[str, int], NDArray[np.float64]] = {("record", 0): everything.records.table}
    views |= {(f"question {number}", 0): rows.table for number, rows in enumerate(everything.questions)}
    for part, name in ((everything, "all"), (tables.train, "train")):
        for start, ways in part.years.items():
            views |= {(f"{name}: {way}", start): values for way, values in ways.items()}
    views |= {(f"holdout: {way}", 0): rows.table for way, rows in tables.holdout.items()}
    names = np.concatenate([np.full(len(values), view, dtype=object) for (view, _), values in views.items()])
    starts = np.concatenate([np.full(len(values), start) for (_, start), values in views.items()])
    features = np.concatenate(list(views.values()))
    columns = {"view": pa.array(names).dictionary_encode(), "as of": pa.array(starts, pa.int64())}
    columns |= {name: pa.array(features[:, n]) for n, name in enumerate(everything.features.columns_)}
    return pa.table(columns)


def _views(table: pa.Table) -> dict[tuple[str, int], NDArray[np.float64]]:
    """Return the features of each view, in their order."""
    names, starts = table["view"].to_pandas().astype(str).to_numpy(), table["as of"].to_numpy()
    features = np.column_stack([table[name].to_numpy() for name in table.column_names[2:]])
    edges = np.flatnonzero((names[1:] != names[:-1]) | (starts[1:] != starts[:-1])) + 1
    views = {}
    for first, last in zip([0, *edges], [*edges, len(names)], strict=True):
        views[names[first], int(starts[first])] = features[first:last]
    return views


def _read(store: Store, key: str) -> tuple[pa.Table, bytes]:
    try:
        digests = json.loads(store.read(f"{key}.json"))
        parts = {suffix: store.read(key + suffix) for suffix in PARTS}
        wrong = [suffix for suffix, part in parts.items() if hashlib.sha256(part).hexdigest() != digests[suffix]]
        if wrong:
            raise BrokenTable(f"{store.uri}/{key}{wrong[0]} is not what was written")
        return pq.read_table(io.BytesIO(parts[".parquet"])), parts[".skops"]
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise BrokenTable(f"{store.uri}/{key} cannot be read: {error}") from error


def _keep_sentiments(store: Store, source: str, movies: pd.DataFrame, sentiments: Sentiments) -> None:
    """Keep the sentiments of these movies' texts for the next table.

    They stand by digests of the texts, below the day on which the newest of them was read: they age as the texts do.
    """
    folder, day = f"{source}/sentiments/", movies["logical_date"].max().date()
    digests = {text_digest(text) for text in movies["overview"] if isinstance(text, str)}
    kept = {digest: sentiments.known[digest] for digest in digests if digest in sentiments.known}
    store.write(f"{folder}{day}.json", json.dumps(kept).encode())
    for key in store.keys(folder):
        if key != f"{folder}{day}.json":
            store.delete(key)


def _kept_sentiments(store: Store, source: str) -> dict[str, tuple[float, float]]:
    """Return what was kept; what cannot be read is a cache that is lost."""
    known: dict[str, tuple[float, float]] = {}
    for key in store.keys(f"{source}/sentiments/"):
        with suppress(FileNotFoundError, ValueError, AttributeError, TypeError):
            known |= {digest: (float(p), float(s)) for digest, (p, s) in json.loads(store.read(key)).items()}
    return known
