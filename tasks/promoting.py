"""Compare versions on the same movies, check a built service against its model, and move the champion's alias."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact

from models.evaluation import baselines, split_by_release
from models.movie import Movie
from models.promotion import Verdict, decide
from settings import get_settings
from tasks import registry
from tasks.registry import CHAMPION, Version
from tasks.tmdb import now
from tasks.training import load_movies

TOLERANCE = 1e-5  # rating points between the service and the registered model
HISTORY = "champions"  # tag of the registered model: the numbers of all champions, oldest first

GOLDEN_MOVIES: list[dict[str, Any]] = [
    {"title": "Only a title"},
    {
        "title": "A well-known crew",
        "overview": "A wonderful story about a quiet lighthouse and the two sisters who keep it alive.",
        "genres": ["Drama", "Romance"],
        "release_date": "2027-03-05",
        "original_language": "en",
        "runtime": 118,
        "budget": 24_000_000,
        "production_companies": ["A24"],
        "production_countries": ["United States of America"],
        "directors": ["Greta Gerwig"],
        "writers": ["Greta Gerwig"],
        "cast": ["Saoirse Ronan", "Timothée Chalamet", "Florence Pugh"],
    },
    {"title": "무명 2", "original_language": "ko", "genres": ["Horror"], "release_date": "2027-10-29", "runtime": 87},
]


@task(name="compare", task_run_name="compare {challenger.label} with the champion")
def compare(challenger: Version) -> Verdict:
    """Judge the challenger's hold-out fit against the champion's and the baselines, on movies new to both."""
    try:
        champion: Version | None = registry.find(CHAMPION)
    except LookupError:
        champion = None
    verdict = _compare(challenger, champion)
    rows = "\n".join(f"| {name} | {value:.4f} |" for name, value in verdict.figures.items())
    outcome = "is promoted" if verdict.promote else "is not promoted"
    create_markdown_artifact(
        key="promotion",
        markdown=f"**{challenger.label} {outcome}.** {verdict.reason}\n\n| figure | value |\n|---|---|\n{rows}\n",
        description=f"The verdict on {challenger.label}",
    )
    registry.tag_version(challenger, {"verdict": verdict.reason, "figures": json.dumps(verdict.figures)})
    return verdict


def _compare(challenger: Version, champion: Version | None) -> Verdict:
    if champion and champion.number == challenger.number:
        return Verdict(False, f"{challenger.label} is champion already")
    if "rolled_back" in challenger.tags:
        return Verdict(False, f"{challenger.label} was rolled back on {challenger.tags['rolled_back']}")
    if champion and champion.tags["synthetic"] != challenger.tags["synthetic"]:
        if challenger.tags["synthetic"] == "true":
            return Verdict(False, f"{challenger.label} learned from synthetic movies, the champion from real ones")
        champion = None  # a model of real movies owes nothing to one of the sample
    if champion and champion.tags["source"] != challenger.tags["source"]:
        reason = "{} learned ratings of {}, the champion those of {}: give it a MODEL_NAME of its own"
        return Verdict(False, reason.format(challenger.label, challenger.tags["source"], champion.tags["source"]))
    as_of = pd.Timestamp(challenger.tags["as_of"])
    train, holdout = split_by_release(load_movies.fn(challenger.tags["source"], as_of.date()), as_of)
    until = [v.tags["judged_until"] for v in (challenger, champion) if v]
    unseen = holdout[holdout["release_date"] > pd.Timestamp(max(until))]
    if unseen.empty:
        return Verdict(False, f"no hold-out movie is new to both: {challenger.label} is as of {as_of.date()}")
    predictions = {v.number: registry.load_judged(v).predict(unseen) for v in (challenger, champion) if v}
    return decide(
        unseen["vote_average"],
        predictions[challenger.number],
        baselines(train, unseen),
        predictions[champion.number] if champion else None,
    )


@task(name="check answers")
def same_answers(version: Version, answers: list[dict[str, Any]]) -> None:
    """Raise RuntimeError unless the service's answers to `GOLDEN_MOVIES` are those of the registered model."""
    model = registry.load_shipped(version)
    expected = np.stack(model.predict_interval([Movie(**movie).facts() for movie in GOLDEN_MOVIES]), axis=1)
    given = np.array([[answer[name] for name in ("rating", "low", "high")] for answer in answers])
    worst = float(np.abs(expected - given).max())
    if not worst <= TOLERANCE:
        raise RuntimeError(f"the service of {version.label} is off by {worst} from the registered model: not promoted")
    get_run_logger().info("the built service answers as the registered model does, to %.0e", max(worst, 1e-16))


@task(name="move champion", retries=2, retry_delay_seconds=5)
def move_champion(version: Version, reason: str) -> None:
    """Point the alias champion to a version and remember the one before."""
    client, name = registry.client(), get_settings().model_name
    champions = [number for number in _champions() if number != version.number]
    registry.tag_version(version, {"promoted_at": now().isoformat(), "promotion": reason})
    registry.set_alias(CHAMPION, version)
    client.set_registered_model_tag(name, HISTORY, json.dumps([*champions, version.number]))


@task(name="roll back", retries=2, retry_delay_seconds=5)
def retire(version: Version, successor: Version) -> None:
    """Point the alias champion from a version to an earlier one; the version is never promoted again."""
    client, name = registry.client(), get_settings().model_name
    registry.tag_version(version, {"rolled_back": now().isoformat()})
    registry.set_alias(CHAMPION, successor)
    champions = [number for number in _champions() if number not in (version.number, successor.number)]
    client.set_registered_model_tag(name, HISTORY, json.dumps([*champions, successor.number]))


def previous_champion() -> Version:
    """Return the champion before the present one; raises LookupError where there was none."""
    champions = _champions()
    if len(champions) < 2:
        raise LookupError("there is no earlier champion to go back to: only one version was ever promoted")
    return registry.find(str(champions[-2]))


def _champions() -> list[int]:
    tags = registry.client().get_registered_model(get_settings().model_name).tags
    return [int(number) for number in json.loads(tags.get(HISTORY, "[]"))]
