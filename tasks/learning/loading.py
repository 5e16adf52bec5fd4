"""What a model may learn from: the rated movies of a source as known on a day, and whether they may be learned from."""

from __future__ import annotations

import json
from datetime import date

import pandas as pd
from prefect import task
from prefect.artifacts import create_table_artifact

from models.contract import check_size
from models.evaluation import split_by_release, walk_forward
from models.features import MIN_VOTES
from models.folds import TUNING_YEARS
from models.movie import INPUTS
from settings import get_settings
from tasks.data.catalogue import Batch, Catalogue, list_partitions, open_catalogue
from tasks.foundation.retrying import RETRIED
from tasks.foundation.run_log import log
from tasks.foundation.store import Store, open_store


class ContractBroken(Exception):
    """What was collected may not be learned from."""


class TooLittleHistory(ValueError):
    """The years before the hold-out do not suffice to tune on."""


@task(name="accept catalogue", task_run_name="accept {source} as of {as_of}", **RETRIED)
def accept_catalogue(source: str, as_of: date) -> pd.DataFrame:
    """Show what was read on each day; accept and return what may be learned from: the next may not be much less.

    Raises ContractBroken where nothing good is left, or much less than was learned from last.
    """
    store = open_store(get_settings().store_uri)
    catalogue = open_catalogue(store, source, as_of)
    show_contract(source, catalogue.batches)
    broken = [batch for batch in catalogue.batches if batch.violations]
    for batch in broken:
        found = batch.violations[0]
        log().warning("the batch of %s is left out: %s (%s)", batch.read_on, found.rule, found.found)
    movies = len(catalogue.accepted())
    if not movies:
        raise ContractBroken(f"every batch of {source} breaks the contract, the last one: {broken[-1].violations}")
    shrunk = check_size(movies, _last_rows(store, source))
    if shrunk:
        raise ContractBroken(
            f"{source}: {shrunk[0].rule}: {shrunk[0].found}. Collect what is missing; if the catalogue was meant to "
            f"shrink, delete {accepted_key(source)} from the store"
        )
    store.write(accepted_key(source), json.dumps({"rows": movies}).encode())
    return _learnable(store, catalogue, as_of)


@task(name="load movies", task_run_name="load {source} as of {as_of}", **RETRIED)
def load_movies(source: str, as_of: date) -> pd.DataFrame:
    """Return what `read_movies` does."""
    return read_movies(source, as_of)


def read_movies(source: str, as_of: date) -> pd.DataFrame:
    """Return the rated movies of a source that were released before `as_of`, with what was known of them that day.

    A batch (what was read on one logical date) that breaks the contract is left out; older records of its movies stay.
    """
    store = open_store(get_settings().store_uri)
    return _learnable(store, open_catalogue(store, source, as_of), as_of)


def _learnable(store: Store, catalogue: Catalogue, as_of: date) -> pd.DataFrame:
    movies = catalogue.accepted()
    if catalogue.source == "imdb":
        movies = with_tmdb_facts(store, movies, as_of)
    known = movies[movies["release_date"].notna() & (movies["release_date"] < pd.Timestamp(as_of))]
    rated = known["vote_average"].notna() & (known["vote_count"] >= MIN_VOTES)
    return known[rated].reset_index(drop=True)


def with_tmdb_facts(store: Store, movies: pd.DataFrame, as_of: date | None = None) -> pd.DataFrame:
    """Return IMDb's movies with TMDB's facts where both have a movie, by imdb_id; ratings and votes stay IMDb's."""
    if not list_partitions(store, "tmdb"):
        return movies
    tmdb = (
        open_catalogue(store, "tmdb", as_of)
        .newest()
        .dropna(subset="imdb_id")
        .drop_duplicates("imdb_id")
        .set_index("imdb_id")
    )
    joined = movies.copy()
    both = joined["imdb_id"].isin(tmdb.index)
    facts = tmdb.loc[joined.loc[both, "imdb_id"], list(INPUTS)]
    for name in INPUTS:
        column = joined[name].astype(object) if joined[name].dtype != facts[name].dtype else joined[name].copy()
        column[both] = facts[name].to_numpy()
        joined[name] = column
    joined["release_date"] = pd.to_datetime(joined["release_date"])
    return joined.sort_values(["release_date", "id"]).reset_index(drop=True)


def show_contract(source: str, batches: list[Batch]) -> None:
    """Put the batches and the rules that they break into the Prefect UI."""
    create_table_artifact(
        key=f"contract-{source}",
        description="What was read on each day, and whether it may be learned from",
        table=[
            {
                "read on": str(batch.read_on),
                "movies": batch.movies,
                "accepted": not batch.violations,
                "broken rules": "; ".join(f"{v.rule}: {v.found}" for v in batch.violations),
            }
            for batch in batches
        ],
    )


def accepted_key(source: str) -> str:
    """Where the size of the last catalogue that was learned from stands in the store."""
    return f"{source}/accepted.json"


def _last_rows(store: Store, source: str) -> int | None:
    try:
        return int(json.loads(store.read(accepted_key(source)))["rows"])
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        log().warning("%s/%s cannot be read and is passed over: %s", store.uri, accepted_key(source), error)
        return None


def split(movies: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split what is known into movies to learn from and the hold-out, the newest twelve months of them.

    Raises TooLittleHistory, with what to collect, where the years before the hold-out do not suffice to tune on.
    """
    try:
        if movies.empty:
            raise ValueError("no rated movie is known")
        train, holdout = split_by_release(movies, movies["release_date"].max() + pd.Timedelta(days=1))
        if not list(walk_forward(train, TUNING_YEARS, train["release_date"].max() + pd.Timedelta(days=1))):
            raise ValueError(f"no movie of the last {TUNING_YEARS} years before the hold-out can be judged")
    except ValueError as error:
        raise TooLittleHistory(
            f"{error}. Collect the history first: the deployment collect-movies/daily or collect-movies/backfill, or "
            "python -m flows.collect"
        ) from error
    return train, holdout
