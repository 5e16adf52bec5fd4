"""Remove what TMDB's terms do not let us keep: by age after every collection, and all of it with `make purge`.

`PLACES` names everywhere that content of a source can lie; both purges walk it. What was predicted stays (ratings,
intervals, feedback are ours), what it was predicted from goes. Models that learned from it stay in the registry, in
bentos and in images: they hold names and statistics of people and companies, and titles, years and ratings of movies to
compare with. Delete those in MLflow and BentoML if your agreement with TMDB asks for it.

python -m tasks.data.purging
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta

import sqlalchemy as sa
from prefect import get_client, task
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort

from serving.tables import MOVIES, PREDICTIONS, UPCOMING
from settings import get_settings
from tasks.data import catalogue
from tasks.foundation.prefect_server import wait_for_prefect
from tasks.foundation.retrying import RETRIED
from tasks.foundation.run_log import log
from tasks.foundation.store import open_store
from tasks.foundation.warehouse import connect

NO_MOVIE = "{}"  # in the place of what a prediction was made from
Purge = Callable[[str, date | None], int]


def _store(source: str, before: date | None) -> int:
    return catalogue.purge(open_store(get_settings().store_uri), source, before)


def _movies(source: str, before: date | None) -> int:
    return _change(sa.delete(MOVIES).where(MOVIES.c.source == source), MOVIES.c.fetched_at, before)


def _upcoming(source: str, before: date | None) -> int:
    return _change(sa.delete(UPCOMING).where(UPCOMING.c.source == source), UPCOMING.c.as_of, before)


def _predictions(source: str, before: date | None) -> int:
    """People ask about TMDB's movies, too: what they sent is not told apart."""
    if source != "tmdb":
        return 0
    forget = sa.update(PREDICTIONS).where(PREDICTIONS.c.movie != NO_MOVIE).values(movie=NO_MOVIE)
    return _change(forget, PREDICTIONS.c.at, before)


def _artifacts(source: str, before: date | None) -> int:
    """The lists of upcoming movies that a person sees in the Prefect UI."""

    async def delete() -> int:
        wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[f"upcoming-{source}"]))
        removed, kept = 0, 0
        async with get_client() as client:
            while True:  # the server gives 200 at a time, the oldest last
                found = await client.read_artifacts(artifact_filter=wanted, sort=ArtifactSort.CREATED_DESC, offset=kept)
                old = [a for a in found if before is None or a.created.date() < before]
                for artifact in old:
                    await client.delete_artifact(artifact.id)
                removed, kept = removed + len(old), kept + len(found) - len(old)
                if not found:
                    return removed

    return asyncio.run(delete())


PLACES: dict[str, Purge] = {
    "store": _store,
    "table movies": _movies,
    "table upcoming": _upcoming,
    "table predictions": _predictions,
    "Prefect's artifacts": _artifacts,
}


def purge(source: str, before: date | None = None) -> dict[str, int]:
    """Remove a source's content everywhere, all of it or what was read before a day; return how much, by place.

    A place that fails keeps no other from being purged; its error is raised afterwards.
    """
    removed, failed = {}, []
    for name, place in PLACES.items():
        try:
            removed[name] = place(source, before)
        except Exception as error:
            log().error("%s of %s could not be purged: %s", name, source, error)
            failed.append(error)
    if failed:
        raise failed[0]
    return removed


@task(name="purge old records", task_run_name="purge old records of {source}", **RETRIED)
def purge_old(source: str, logical_date: date, max_age: int) -> dict[str, int]:
    """Remove everywhere what was read more than `max_age` days before `logical_date`, as TMDB's terms ask.

    A collection does it first of all: it does not depend on what comes after.
    """
    removed = purge(source, logical_date - timedelta(days=max_age))
    if any(removed.values()):
        log().info("removed what is older than %d days: %s", max_age, removed)
    return removed


def _change(statement: sa.Delete | sa.Update, when: sa.Column[date], before: date | None) -> int:
    """Carry out a statement on the rows of before a day, or on all."""
    if before is not None:
        dated = isinstance(when.type, sa.Date)
        statement = statement.where(when < (before if dated else datetime.combine(before, time.min, UTC)))
    engine = connect()
    try:
        with engine.begin() as connection:
            return int(connection.execute(statement).rowcount)
    finally:
        engine.dispose()


if __name__ == "__main__":
    wait_for_prefect()
    for name, count in purge("tmdb").items():
        print(f"{name:<22}{count} removed")
