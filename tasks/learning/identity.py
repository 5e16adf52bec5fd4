"""What a training is of: the same data, code and question have the same answer, and are not asked twice."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import uuid
from collections.abc import Sequence
from datetime import date

import pandas as pd
from prefect import runtime

from models.estimator import RatingModel
from settings import PROJECT, get_settings
from tasks.data.catalogue import fingerprint
from tasks.foundation.clock import now

# What makes a model, beside models/: the search, the fit and the locked libraries.
MADE_BY = ("tasks/learning/tuning.py", "tasks/learning/studies.py", "tasks/learning/fitting.py", "requirements.txt")

REFITTED = "refitted"  # in the place of the number of trials: nothing was searched for


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
    return digest_of(MADE_BY)


def digest_of(others: Sequence[str] = ()) -> str:
    """Return a digest of the package models and of other files of the project."""
    digest = hashlib.sha256()
    for path in [*sorted((PROJECT / "models").glob("*.py")), *(PROJECT / name for name in others)]:
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


def tuned(trials: int | str) -> dict[str, str]:
    """Return how many trials were answered, or that known recipes were refitted, as a tag."""
    return {"tuned_trials": str(trials)}


def describe(judged: RatingModel, movies: pd.DataFrame, source: str, known_on: date) -> dict[str, str]:
    """Return what a person asks of a version, as tags: when, from what, by which code, in which training.

    `known_on` is the day whose knowledge it learned from; `as_of` is the day after the newest movie of it.
    """
    return {
        "training": str(runtime.flow_run.id or uuid.uuid4()),
        "known_on": str(known_on),
        "as_of": str(as_of_data(movies)),
        "judged_until": judged.learned_until_,
        "family": judged.family,
        "synthetic": str(source == "sample").lower(),
        "movies": str(len(movies)),
        "commit": commit(),
        "lock": lock_hash(),
        "trained_at": now().isoformat(),
    }


def lock_hash() -> str:
    """Return a digest of the locked libraries."""
    return hashlib.sha256((PROJECT / "requirements.txt").read_bytes()).hexdigest()[:12]


def commit() -> str:
    """Return the commit of the project's checkout, or SOURCE_COMMIT where there is no checkout or no git."""
    if not (PROJECT / ".git").exists() or not shutil.which("git"):
        return get_settings().source_commit
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=PROJECT, capture_output=True, text=True, check=False)
    return found.stdout.strip() or get_settings().source_commit
