"""What is retired, and when: so that a year of days takes no more room than the data does.

What a rollback may need stays: the files, bentos and images of the champion, of the three champions before it and of
the challenger. Of other versions the files go after `VERSION_DAYS`, with their bentos and images; their rows in the
registry, with figures and tags, stay for ever, as does the ledger. Searches of Optuna go after `STUDY_DAYS`, ended runs
of our flows in Prefect and what they showed after `RUN_DAYS`, recorded predictions with their feedback after
`PREDICTION_DAYS`. Partitions, upcoming lists and the texts of predictions go with TMDB's six months
(tasks/data/purging.py), feature tables when newer ones are made. What lies in an image registry or at ECS is theirs to
keep.

Days are counted by the days that things were made for, not by the clock: a day that is run late retires what the day
itself would have. What was made today as of an earlier day (`--as-of`, a replay) is of today.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

import sqlalchemy as sa
from prefect import get_client, task
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType

from serving.tables import FEEDBACK, PREDICTIONS
from settings import get_settings
from tasks.foundation.run_log import log
from tasks.foundation.warehouse import connect
from tasks.learning.studies import MADE_FOR, delete_studies
from tasks.registry import versions as registry
from tasks.registry.versions import CHALLENGER, Version
from tasks.release import ledger
from tasks.release.targets import bento, images

CHAMPIONS = 4  # the present one, and those that rollbacks go back to
ENDED = [StateType.COMPLETED, StateType.CANCELLED, StateType.FAILED, StateType.CRASHED]
# A server of Prefect may be shared: what other flows ran is theirs.
FLOWS = "premiere collect-movies collect-imdb train-model tune-worker promote-model ship-model rollback-model".split()
FLOWS += "predict-upcoming housekeeping replay-policy".split()
VERSION_DAYS, STUDY_DAYS, RUN_DAYS, PREDICTION_DAYS = 14, 35, 60, 400


def retired_versions(today: date) -> list[Version]:
    """Return the versions whose files nobody needs any more, oldest first."""
    before = today - timedelta(days=VERSION_DAYS)
    kept = set(ledger.champions(ledger.read())[-CHAMPIONS:])
    champion, challenger = registry.current_champion(), registry.find_alias(CHALLENGER)
    kept |= {version.number for version in (champion, challenger) if version}
    return [v for v in registry.all_versions() if v.number not in kept and _made_for(v) < before]


def _made_for(version: Version) -> date:
    """Return the day that a version was made for; older versions tell that whose knowledge they have."""
    return date.fromisoformat(version.tags[MADE_FOR]) if MADE_FOR in version.tags else version.known_on


def _versions(today: date) -> int:
    """Files of versions; one whose files cannot be deleted keeps no other's."""
    gone, failed = 0, []
    for version in retired_versions(today):
        if "retired" in version.tags:
            continue
        try:
            registry.delete_files(version)
            registry.tag_version(version, {"retired": str(today)})
            gone += 1
        except Exception as error:
            failed.append(f"{version.label}: {error}")
    if failed:
        raise RuntimeError("; ".join(failed))
    return gone


def _trainings(today: date) -> int:
    """What trainings left behind that died before they registered a version; one of the last day may be under way."""
    left = registry.unfinished_runs(datetime.now(UTC) - timedelta(days=1))
    for run in left:
        registry.discard_run(run)
    return len(left)


def _bentos(today: date) -> int:
    return bento.delete({version.label for version in retired_versions(today)})


def _images(today: date) -> int:
    records = ledger.read()
    shipped = [ledger.shipments(records, version.number).get("image") for version in retired_versions(today)]
    return images.delete([shipment.where for shipment in shipped if shipment])


def _studies(today: date) -> int:
    storage = get_settings().optuna_storage.get_secret_value()
    return delete_studies(storage, get_settings().model_name, today - timedelta(days=STUDY_DAYS))


def _predictions(today: date) -> int:
    before = datetime.combine(today - timedelta(days=PREDICTION_DAYS), time.min, UTC)
    old = sa.select(PREDICTIONS.c.id).where(PREDICTIONS.c.at < before)
    engine = connect()
    try:
        with engine.begin() as connection:
            connection.execute(sa.delete(FEEDBACK).where(FEEDBACK.c.prediction.in_(old)))
            return int(connection.execute(sa.delete(PREDICTIONS).where(PREDICTIONS.c.at < before)).rowcount)
    finally:
        engine.dispose()


def _runs(today: date) -> int:
    """Ended runs of our flows, and the artifacts that they showed; Prefect keeps its logs: no call removes them."""
    ours = FlowFilter(name=FlowFilterName(any_=FLOWS))
    before = datetime.combine(today - timedelta(days=RUN_DAYS), time.min, UTC)
    old = FlowRunFilter(
        expected_start_time=FlowRunFilterExpectedStartTime(before_=before),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=ENDED), name=None),
    )

    async def delete() -> int:
        removed = 0
        async with get_client() as client:
            while runs := await client.read_flow_runs(flow_filter=ours, flow_run_filter=old, limit=100):
                ids: list[UUID] = [run.id for run in runs]
                shown = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=ids))
                while artifacts := await client.read_artifacts(artifact_filter=shown):
                    for artifact in artifacts:
                        await client.delete_artifact(artifact.id)
                for run in ids:
                    await client.delete_flow_run(run)
                removed += len(ids)
        return removed

    return asyncio.run(delete())


PLACES: dict[str, Callable[[date], int]] = {
    "bentos": _bentos,
    "images": _images,
    "versions": _versions,
    "trainings": _trainings,
    "studies": _studies,
    "runs": _runs,
    "predictions": _predictions,
}


@task(name="retire", task_run_name="retire what is old on {today}")
def retire(today: date) -> dict[str, int]:
    """Retire everywhere what is old on a day; return how much, by place. Again, it finds nothing.

    A place that fails keeps no other from being tidied; all that failed is raised together afterwards.
    """
    removed, failed = {}, []
    for name, place in PLACES.items():
        try:
            removed[name] = place(today)
        except Exception as error:
            failed.append(f"{name}: {error}")
    if any(removed.values()):
        log().info("retired %s", json.dumps({name: count for name, count in removed.items() if count}))
    if failed:
        raise RuntimeError("could not be retired: " + "; ".join(failed))
    return removed
