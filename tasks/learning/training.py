"""Load what a model may learn from, fit it twice, and judge it: before the hold-out, then on everything."""

from __future__ import annotations

import contextlib
import hashlib
import json
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from prefect import task
from prefect.artifacts import create_table_artifact

from models.contract import check_size
from models.estimator import RatingModel
from models.evaluation import (
    LINEAR,
    baselines,
    bootstrap_interval,
    judge_part,
    judge_segments,
    metrics,
    skill,
    split_by_release,
    walk_forward,
)
from models.facts import iterate, known_sentiments, text_digest
from models.features import MIN_VOTES
from models.movie import INPUTS
from models.questions import RECORD, views
from settings import PROJECT, get_settings
from tasks.data.catalogue import Batch, fingerprint, list_partitions, open_catalogue
from tasks.foundation.retrying import RETRIED
from tasks.foundation.run_log import log
from tasks.foundation.store import Store, open_store
from tasks.learning.tuning import TUNING_YEARS, Tuned

LEVELS = (0.8, 0.9)
TRAILING = "trailing five-year mean"
LAST_CHAMPION = "last champion"


class ContractBroken(Exception):
    """What was collected may not be learned from."""


@task(name="load movies", task_run_name="load {source} as of {as_of}", **RETRIED)
def load_movies(source: str, as_of: date) -> pd.DataFrame:
    """Return what `read_movies` does, and accept it: what is learned from next may not be much less.

    Raises ContractBroken where nothing good is left, or much less than was learned from last.
    """
    store = open_store(get_settings().store_uri)
    catalogue = open_catalogue(store, source, as_of)
    show_contract(source, catalogue.batches)
    broken = [batch for batch in catalogue.batches if batch.violations]
    for batch in broken:
        found = batch.violations[0]
        log().warning("the batch of %s is left out: %s (%s)", batch.read_on, found.rule, found.found)
    movies = catalogue.accepted()
    if movies.empty:
        raise ContractBroken(f"every batch of {source} breaks the contract, the last one: {broken[-1].violations}")
    shrunk = check_size(len(movies), _last_rows(store, source))
    if shrunk:
        raise ContractBroken(
            f"{source}: {shrunk[0].rule}: {shrunk[0].found}. Collect what is missing; if the catalogue was meant to "
            f"shrink, delete {accepted_key(source)} from the store"
        )
    store.write(accepted_key(source), json.dumps({"rows": len(movies)}).encode())
    _recall_sentiments(store, source)
    return _learnable(store, movies, source, as_of)


def read_movies(source: str, as_of: date) -> pd.DataFrame:
    """Return the rated movies of a source that were released before `as_of`, with what was known of them that day.

    A batch (what was read on one logical date) that breaks the contract is left out; older records of its movies stay.
    """
    store = open_store(get_settings().store_uri)
    return _learnable(store, open_catalogue(store, source, as_of).accepted(), source, as_of)


def _learnable(store: Store, movies: pd.DataFrame, source: str, as_of: date) -> pd.DataFrame:
    if source == "imdb":
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


def keep_sentiments(movies: pd.DataFrame, source: str) -> None:
    """Keep the sentiments of these movies' texts for the next run: TextBlob is the slowest part of the features.

    They stand by digests of the texts, below the day on which the newest of them was read: they age as the texts do.
    """
    store, folder = open_store(get_settings().store_uri), f"{source}/sentiments/"
    day = movies["logical_date"].max().date()
    digests = {text_digest(text) for text in movies["overview"] if isinstance(text, str)}
    kept = {digest: known_sentiments[digest] for digest in digests if digest in known_sentiments}
    store.write(f"{folder}{day}.json", json.dumps(kept).encode())
    for key in store.keys(folder):
        if key != f"{folder}{day}.json":
            store.delete(key)


def _recall_sentiments(store: Store, source: str) -> None:
    """Read what was kept; what cannot be read is a cache that is lost."""
    for key in store.keys(f"{source}/sentiments/"):
        with contextlib.suppress(FileNotFoundError, ValueError, AttributeError, TypeError):
            known_sentiments.update(
                {digest: (float(p), float(s)) for digest, (p, s) in json.loads(store.read(key)).items()}
            )


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

    Raises ValueError, with what to collect, where the years before the hold-out do not suffice to tune on.
    """
    try:
        if movies.empty:
            raise ValueError("no rated movie is known")
        train, holdout = split_by_release(movies, movies["release_date"].max() + pd.Timedelta(days=1))
        if not list(walk_forward(train, TUNING_YEARS, train["release_date"].max() + pd.Timedelta(days=1))):
            raise ValueError(f"no movie of the last {TUNING_YEARS} years before the hold-out can be judged")
    except ValueError as error:
        raise ValueError(
            f"{error}. Collect the history first: the deployment collect-movies/daily or collect-movies/backfill, or "
            "python -m flows.collect"
        ) from error
    return train, holdout


def study_facts(movies: pd.DataFrame, source: str, seed: int) -> dict[str, str]:
    """Return what a study is of: the same facts are the same question, however many trials are asked for.

    `as_of` is the day after the newest movie, so that the facts follow from the data and not from the day of asking.
    """
    return {
        "model": get_settings().model_name,
        "source": source,
        "as_of": str(as_of_data(movies)),
        "movies": str(len(movies)),
        "seed": str(seed),
        "data": fingerprint(movies),
        "code": code_hash(),
    }


def study_name(facts: dict[str, str]) -> str:
    """Name a study for people, movie-rating-tmdb-2026-11-25-…; the digest at its end is of all its facts."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
    return f"{facts['model']}-{facts['source']}-{facts['as_of']}-{digest}"


def as_of_data(movies: pd.DataFrame) -> date:
    """Return the day after the newest movie's release."""
    day: date = (movies["release_date"].max() + pd.Timedelta(days=1)).date()
    return day


def code_hash() -> str:
    """Return a digest of all that makes a model: the code, the search, the fit and the locked libraries."""
    digest = hashlib.sha256()
    parts = ("tasks/learning/tuning.py", "tasks/learning/training.py", "requirements.txt")
    for path in [*sorted((PROJECT / "models").glob("*.py")), *(PROJECT / name for name in parts)]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def identify(movies: pd.DataFrame, source: str, trials: int, seed: int) -> dict[str, str]:
    """Return what a training is of, as tags: the same tags are the same question, and have the same answer.

    Of the trials those count that were answered: a study that its minutes cut short is no answer to the whole one.

    The recipes that a search begins with, the best of an earlier day's study, are no part of the question: they say
    where to look first, not what to look for. Whoever asks again is given the answer there is, from the registry or
    from the study, which wrote down what it began with when it was made: a study that came, went or grew meanwhile
    changes neither. Only where both are lost may a search from another beginning find another recipe; what each began
    from stands with its version, as `begun_from`.
    """
    return {"source": source, "seed": str(seed), "data": fingerprint(movies), "code": code_hash()} | tuned(trials)


def tuned(trials: int) -> dict[str, str]:
    """Return how many trials were answered, as a tag."""
    return {"tuned_trials": str(trials)}


@task(name="fit", task_run_name="fit {what}", tags=["training"])
def fit(movies: pd.DataFrame, recipe: Tuned, seed: int, what: str) -> RatingModel:
    """Fit a recipe on movies; `what` says what for."""
    return RatingModel(recipe.family, recipe.params, recipe.linear_share, seed=seed).fit(movies)


@task(name="judge", task_run_name="judge {model.family}")
def judge(
    model: RatingModel, train: pd.DataFrame, holdout: pd.DataFrame, champion: NDArray[np.float64] | None
) -> dict[str, float]:
    """Return the metrics of a model on its hold-out, with those of the baselines and of the champion beside them."""
    actual = holdout["vote_average"].to_numpy(dtype=float)
    rival = baselines(train, holdout, model.linear(holdout))
    figures = {"holdout_movies": float(len(holdout))}
    predicted = model.predict(holdout)
    if champion is not None:
        rival[LAST_CHAMPION] = champion
    figures |= {f"holdout_{name}": value for name, value in metrics(actual, predicted).items()}
    figures["holdout_skill"] = skill(actual, predicted, rival[TRAILING])
    for level in LEVELS:
        _, low, high = model.predict_interval(holdout, level)
        figures[f"holdout_coverage_{level:.0%}".rstrip("%")] = float(np.mean((actual >= low) & (actual <= high)))
        figures[f"holdout_width_{level:.0%}".rstrip("%")] = float(np.mean(high - low))
    for name, (low_end, high_end) in bootstrap_interval(actual, predicted).items():
        figures |= {f"holdout_{name}_low": low_end, f"holdout_{name}_high": high_end}
    for name, predictions in rival.items():
        figures |= {f"{slug(name)}_{kind}": value for kind, value in metrics(actual, predictions).items()}
        figures[f"{slug(name)}_skill"] = skill(actual, predictions, rival[TRAILING])
    return figures


def by_slice(model: RatingModel, holdout: pd.DataFrame) -> list[dict[str, Any]]:
    """Return how a model does on the parts of its hold-out, and on all of it by how it is asked about."""
    actual = holdout["vote_average"].to_numpy(dtype=float)
    features = model.features_
    debuts = features.transform(holdout)[:, features.columns_.index("director_count")] == 0
    rated = {way: model.predict_interval(movies) for way, movies in views(list(iterate(holdout))).items()}
    held = {way: (actual >= low) & (actual <= high) for way, (_, low, high) in rated.items()}
    parts = judge_segments(holdout, rated[RECORD][0], held[RECORD], debuts)
    return [*parts, *(judge_part(f"asked by {way}", actual, rated[way][0], held[way]) for way in rated)]


def comparison(figures: dict[str, float], model: str) -> list[dict[str, Any]]:
    """Return the table of a model against the baselines, best last."""
    rivals = ("training mean", TRAILING, "genre mean", LINEAR, LAST_CHAMPION)
    rows = {"holdout": model} | {slug(name): name for name in rivals if f"{slug(name)}_rmse" in figures}
    table = [
        {"predicted by": label}
        | {name: round(figures[f"{prefix}_{name}"], 3) for name in ("rmse", "mae", "r2", "spearman", "skill")}
        for prefix, label in rows.items()
    ]
    return sorted(table, key=lambda row: -row["rmse"])


def show_comparison(figures: dict[str, float], model: str, source: str) -> None:
    """Put the table of the model against the baselines into the Prefect UI."""
    create_table_artifact(
        key="model-against-baselines",
        table=comparison(figures, model),
        description=f"{figures['holdout_movies']:.0f} hold-out movies of source {source}"
        + (", which are synthetic" if source == "sample" else ""),
    )


def slug(name: str) -> str:
    """Write a baseline's name as MLflow metrics are written."""
    return name.replace(" ", "_").replace("-", "_")
