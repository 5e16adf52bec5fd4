"""What a training on each of many past days says of the movies that came after it, kept in the store day by day.

Each day has the two fits of a version: one that ends before its hold-out, which the gate judges, and one of all that
was known, which ships. A file holds what both say of every movie that a gate or a reader may ask them about until the
end of the replay, so that any policy can be tried on it without a fit. A run that was killed goes on at the first day
that is missing; a torn file is made anew. Which version becomes champion is not known here (`tasks.release.policies`).

A movie's facts and votes are today's on every day: the catalogue keeps no older ones. Which movies are known is the
day's own.

    tmdb/replay/3f2a…/2019-01-01.parquet
"""

from __future__ import annotations

import hashlib
import io
import json
import time
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from prefect import task

from models.estimator import FAMILIES, RatingModel
from models.evaluation import CONFIDENCES, MIN_VOTES
from models.facts import iterate
from models.feature_table import FeatureTable
from models.movie import LEVEL
from models.promotion import Predictions
from models.questions import RECORD, WAYS, mask_fields
from settings import get_settings
from tasks.data.catalogue import fingerprint
from tasks.foundation.run_log import log
from tasks.foundation.store import Store, open_store
from tasks.learning.identity import digest_of, study_facts, study_name
from tasks.learning.loading import read_movies, split
from tasks.learning.tuning import DEFAULT_SHARE, Tuned, tune

SHIPPED = "shipped"  # the view of the fit that ships; those of the other are ways of asking
MADE_BY = ("tasks/learning/replaying.py", "tasks/learning/loading.py", "requirements.txt")
FACTS = b"premiere"  # where a file keeps what its version is
FAMILY = "lightgbm"  # of the recipe that nothing was tuned for
ENDS = {level: (f"low {level:.0%}", f"high {level:.0%}") for level in CONFIDENCES}
COLUMNS = ("rating", *(end for ends in ENDS.values() for end in ends), "linear")


class BrokenVersion(Exception):
    """What was kept of a day is gone, or not what belongs there."""


@dataclass(frozen=True)
class PastVersion:
    """What a version that was trained on a day says of later movies."""

    known_on: date  # the day whose knowledge it has: movies that were out before
    as_of: pd.Timestamp  # the day after the newest of them
    judged_until: pd.Timestamp  # until when the fit that is judged learned
    seconds: float  # of CPU, for both fits and all that they say
    table: pd.DataFrame  # `COLUMNS` by view and id of the movie

    def judged(self, movies: pd.DataFrame) -> dict[str, Predictions]:
        """Return what the fit before the hold-out says of movies, by way of asking."""
        said = {way: self._view(way, movies) for way in (RECORD, *WAYS)}
        return {way: Predictions(rows["rating"], _intervals(rows), rows["linear"]) for way, rows in said.items()}

    def shipped(self, movies: pd.DataFrame) -> pd.DataFrame:
        """Return what the fit that ships says of movies that come out after its day, by id: `rating`, `low`, `high`."""
        rows = self._view(SHIPPED, movies)
        low, high = _intervals(rows)[LEVEL]
        return pd.DataFrame({"rating": rows["rating"], "low": low, "high": high})

    def _view(self, view: str, movies: pd.DataFrame) -> pd.DataFrame:
        said = self.table[self.table.index.get_level_values("view") == view].droplevel("view")
        return said.loc[movies["id"].to_list()]  # a KeyError where it was not asked about one


def _intervals(rows: pd.DataFrame) -> dict[float, tuple[pd.Series, pd.Series]]:
    return {level: (rows[low], rows[high]) for level, (low, high) in ENDS.items()}


def load_history(source: str, today: date, end: date) -> pd.DataFrame:
    """Return the rated movies of a source that were released until a day, as they are known today."""
    movies = read_movies(source, today)
    return movies[movies["release_date"] <= pd.Timestamp(end)].reset_index(drop=True)


def training_days(start: date, end: date, every: int) -> list[date]:
    """Return a day every so many days from the start, as long as something may come out after it."""
    if start >= end:
        raise ValueError(f"start is {start}, and end {end}: no movie comes out between them; choose a later end")
    return [start + timedelta(days=days) for days in range(0, (end - start).days, every)]


def choose_recipe(movies: pd.DataFrame, start: date, trials: int | None, seed: int, source: str) -> Tuned:
    """Return the best recipe for what was known on the first day, or a default one where no trials are asked for."""
    if trials is None:
        return Tuned(FAMILY, dict(FAMILIES[FAMILY].default), DEFAULT_SHARE, float("nan"), [])
    known = _known_on(movies, start)
    facts, storage = study_facts(known, source, seed), get_settings().optuna_storage.get_secret_value()
    return tune(split(known)[0], trials, seed, study_name(facts), storage, float("inf"), facts=facts)


def learn_days(movies: pd.DataFrame, days: list[date], recipe: Tuned, seed: int, source: str) -> list[PastVersion]:
    """Return the version of each day, oldest first: from the store, or made there now.

    `movies` are all until the end of the replay, oldest first. When all versions are there, what was kept of other
    movies, recipes or code goes. Raises ValueError where too few movies are known on a day.
    """
    store, folder = open_store(get_settings().store_uri), _folder(movies, recipe, seed, source)
    features: FeatureTable | None = None
    versions = []
    for day in days:
        key = f"{folder}/{day}.parquet"
        try:
            version = read_version(store, key, movies, day)
        except FileNotFoundError:
            version = None
        except BrokenVersion as error:
            log().warning("%s: it is made anew", error)
            version = None
        if version is None:
            features = features or FeatureTable.of(movies)
            version = learn(day, features, recipe, seed)
            store.write(key, _to_parquet(version))
        versions.append(version)
    for key in store.keys(f"{source}/replay/"):
        if not key.startswith(f"{folder}/"):
            store.delete(key)
    return versions


@task(name="learn a past day", task_run_name="learn as of {day}", tags=["training"])
def learn(day: date, everything: FeatureTable, recipe: Tuned, seed: int) -> PastVersion:
    """Fit a recipe on what was known on a day, before its hold-out and whole, and ask both fits about what follows."""
    begun = time.process_time()
    movies = everything.movies
    train, to_judge, to_come = _asked_about(movies, day)
    before = everything.before(train["release_date"].max().toordinal() + 1)
    judged, shipped = (
        RatingModel(recipe.family, recipe.params, recipe.linear_share, seed=seed).fit(known)
        for known in (before, everything.before(day.toordinal()))
    )
    views = before.rows(to_judge)
    said = {way: _table(judged, rows, to_judge) for way, rows in views.items()}
    said[SHIPPED] = _table(shipped, shipped.rows([mask_fields(movie) for movie in iterate(to_come)]), to_come)
    newest = shipped.learned_until_
    log().info("%s: learned until %s, %d movies follow", day, newest, len(to_come))
    return PastVersion(
        day,
        pd.Timestamp(newest) + pd.Timedelta(days=1),
        pd.Timestamp(judged.learned_until_),
        time.process_time() - begun,
        pd.concat(said, names=["view", "id"]),
    )


def read_version(store: Store, key: str, movies: pd.DataFrame, day: date) -> PastVersion:
    """Return what was kept of a day; raises FileNotFoundError, and BrokenVersion for what is torn or of another day."""
    data = store.read(key)
    try:
        read = pq.read_table(io.BytesIO(data), page_checksum_verification=True)
        facts: dict[str, Any] = json.loads(read.schema.metadata[FACTS])
        table = read.to_pandas().astype({"view": str}).set_index(["view", "id"])[list(COLUMNS)]
        version = PastVersion(
            date.fromisoformat(facts["known_on"]),
            pd.Timestamp(facts["as_of"]),
            pd.Timestamp(facts["judged_until"]),
            float(facts["seconds"]),
            table,
        )
    except (OSError, ValueError, TypeError, KeyError) as error:  # pyarrow's own errors are of these
        raise BrokenVersion(f"{store.uri}/{key} cannot be read: {error}") from error
    _, to_judge, to_come = _asked_about(movies, day)
    wanted = dict.fromkeys((RECORD, *WAYS), to_judge["id"]) | {SHIPPED: to_come["id"]}
    if version.known_on != day or list(table.index) != [(view, movie) for view, ids in wanted.items() for movie in ids]:
        raise BrokenVersion(f"{store.uri}/{key} does not hold what the fits of {day} say")
    return version


def _known_on(movies: pd.DataFrame, day: date) -> pd.DataFrame:
    return movies[movies["release_date"] < pd.Timestamp(day)].reset_index(drop=True)


def _asked_about(movies: pd.DataFrame, day: date) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return the movies before the hold-out of a day; those that a gate may ask about, of it and later; those to come.

    Of the last two only those whose votes have matured.
    """
    train, holdout = split(_known_on(movies, day))
    mature, released = movies["vote_count"] >= MIN_VOTES, movies["release_date"]
    return (
        train,
        movies[mature & (released >= holdout["release_date"].min())],
        movies[mature & (released > pd.Timestamp(day))],
    )


def _table(model: RatingModel, rows: Any, movies: pd.DataFrame) -> pd.DataFrame:
    """Return what a fit says of numbered movies, by their ids."""
    if movies.empty:
        return pd.DataFrame(columns=list(COLUMNS), index=pd.Index([], dtype=np.int64, name="id"), dtype=float)
    ratings, ends = model.predict_intervals(rows, CONFIDENCES)
    said = {"rating": ratings}
    for level, names in ENDS.items():
        said |= dict(zip(names, ends[level], strict=True))
    said["linear"] = model.linear_.predict(*rows)
    return pd.DataFrame(said, index=pd.Index(movies["id"], name="id"))


def _folder(movies: pd.DataFrame, recipe: Tuned, seed: int, source: str) -> str:
    """Return where the versions of a replay lie: by the movies, all of them, the recipe and the code."""
    made_of = [fingerprint(movies), digest_of(MADE_BY), recipe.family, recipe.params, recipe.linear_share, seed]
    return f"{source}/replay/{hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:16]}"


def _to_parquet(version: PastVersion) -> bytes:
    facts = {"known_on": str(version.known_on), "seconds": version.seconds}
    facts |= {name: str(getattr(version, name).date()) for name in ("as_of", "judged_until")}
    table = pa.Table.from_pandas(version.table.reset_index(), preserve_index=False)
    table = table.replace_schema_metadata({FACTS: json.dumps(facts)})
    data = io.BytesIO()
    pq.write_table(table, data, compression="zstd", use_dictionary=["view"], write_page_checksum=True)
    return data.getvalue()
