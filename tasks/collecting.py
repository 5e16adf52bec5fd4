"""Plan what to read, read each slice into the store, and report: one Prefect task run a slice, never a page or a movie.

A slice that was read lately enough is left alone and shows as Cached. Its state is the partition in the store itself,
so a partition that is gone is simply read again.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, timedelta
from typing import Any

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.settings import PREFECT_UI_URL
from prefect.states import Completed

from settings import get_settings
from tasks.catalogue import (
    BrokenPartition,
    Partition,
    list_partitions,
    movie_table,
    purge,
    read_partition,
    write_partition,
)
from tasks.gaps import find_gaps
from tasks.slices import SLICE, Changes, Slice, cache_days, change_slices, release_slices, split
from tasks.source import Tmdb
from tasks.store import Store, open_store
from tasks.tmdb import MAX_RESULTS, TokenRefused, gather

MIN_REFUSED = 20  # fewer refused movies never stop a run, whatever their share


class TooManyRefused(Exception):
    """So many movies do not fit the declared schema that the schema, or the source, must have changed."""


def worth_another_try(task: Any, task_run: Any, state: Any) -> bool:
    """Say whether a failed task may heal by itself: a refused token or a damaged file does not."""
    hopeless = TokenRefused | BrokenPartition | FileNotFoundError | ValueError
    return not isinstance(state.result(raise_on_failure=False), hopeless)


@task(name="plan slices", tags=["tmdb"], retries=2, retry_delay_seconds=10, retry_condition_fn=worth_another_try)
def plan_slices(
    tmdb: Tmdb, start: date, end: date, min_votes: int, logical_date: date, fresh: Collection[str] = ()
) -> list[Slice]:
    """Cut the release dates from `start` to `end` into slices that are small, and that one query can hold.

    What is `fresh`, by name, is not asked about again.
    """

    def covered(piece: Slice) -> bool:
        parts = split(piece)
        return piece.name in fresh or (bool(parts) and all(covered(part) for part in parts))

    async def plan(piece: Slice) -> list[Slice]:
        if piece.name in fresh:
            return [piece]
        parts = split(piece)
        if not covered(piece):
            movies = await tmdb.client.count(piece)
            if movies <= (SLICE if parts else MAX_RESULTS):
                return [piece]
            parts = parts or split(piece, await tmdb.client.genres()) or [piece]
        if parts == [piece]:
            return parts  # reading it will say that it is too full
        return [small for part in parts for small in await plan(part)]

    async def plan_all() -> list[Slice]:
        pieces = release_slices(start, end, min_votes, logical_date)
        plans = await gather(plan, pieces)
        return [piece for pieces in plans for piece in pieces]

    return tmdb.run(plan_all)


def plan_changes(partitions: list[Partition], logical_date: date, max_age: int) -> list[Changes]:
    """Return the days of changes that no run has read yet, the day that was last read again, up to `logical_date`.

    So days on which nothing ran are caught up by the next run. Nothing, where no movie was collected before.
    """
    earlier = [p for p in partitions if p.logical_date < logical_date]
    if not earlier:
        return []
    read_until = [p.end for p in earlier if p.slice.startswith("changes_")]
    since = max(read_until) if read_until else min(p.logical_date for p in earlier)
    return change_slices(max(since, logical_date - timedelta(days=max_age)), logical_date)


@task(
    name="read slice",
    task_run_name="{tmdb.name} {piece.name}",
    tags=["tmdb"],
    retries=2,
    retry_delay_seconds=30,
    retry_condition_fn=worth_another_try,
)
def read_slice(
    tmdb: Tmdb,
    piece: Slice | Changes,
    logical_date: date,
    fresh: Partition | None = None,
    skip: Collection[int] = (),
    only: Collection[int] | None = None,
) -> Partition:
    """Read one slice into a partition; one that is still `fresh` is given back as it is.

    `skip` names movies that are known to be gone, `only`, if given, the movies wanted.
    """
    if fresh:
        return Completed(name="Cached", message=f"read on {fresh.logical_date}", data=fresh)  # type: ignore[return-value]  # Prefect unwraps it
    partition = _read(tmdb, piece, logical_date, skip, only)
    log = get_run_logger()
    log.info("%s: %d movies, %d requests", partition.slice, partition.rows, partition.requests)
    for reason in list(partition.refused.values())[:5]:
        log.warning("quarantined %s", reason)
    if not partition.complete:
        log.warning("%s: TMDB counted %d movies, %d were found", partition.slice, partition.expected, partition.rows)
    return partition


def _read(
    tmdb: Tmdb, piece: Slice | Changes, logical_date: date, skip: Collection[int], only: Collection[int] | None
) -> Partition:
    reading = tmdb.run(tmdb.client.read, piece, skip, only)
    return write_partition(
        open_store(get_settings().store_uri),
        movie_table(reading.records),
        {str(movie_id): body for movie_id, body in reading.refused_bodies.items()},
        source=tmdb.name,
        logical_date=logical_date,
        slice=piece.name,
        start=piece.start,
        end=piece.end,
        expected=reading.expected,
        requests=reading.tally.requests,
        gone=sorted(reading.gone),
        refused={str(movie_id): reason for movie_id, reason in reading.refused.items()},
        retries=dict(reading.tally.retries),
    )


def check_refused(partitions: list[Partition], most: float) -> None:
    """Raise TooManyRefused where more than a share `most` of the movies went to the quarantine."""
    refused, rows = sum(len(p.refused) for p in partitions), sum(p.rows for p in partitions)
    if refused >= MIN_REFUSED and refused > most * (refused + rows):
        reason = next(reason for p in partitions for reason in p.refused.values())
        raise TooManyRefused(
            f"{refused} of {refused + rows} movies do not fit the declared schema, more than {most:.0%}: for example "
            f"{reason}. They lie in the quarantine; mend tasks.tmdb.Body if TMDB changed, or raise max_refused"
        )


def fresh_partitions(store: Store, partitions: list[Partition], logical_date: date) -> dict[str, Partition]:
    """Return the partitions that need no reading on `logical_date`, by the name of their slice.

    One that did not add up, or whose movies are gone from the store, is never fresh.
    """
    there = set(store.keys(f"{partitions[0].source}/movies/")) if partitions else set()
    return {
        p.slice: p
        for p in partitions
        if 0 <= (logical_date - p.logical_date).days < cache_days(p.start, p.end, logical_date)
        and p.complete
        and p.data_key in there
    }


def known_gone(partitions: list[Partition]) -> set[int]:
    """Return the ids that answered 404 when they were last asked for."""
    return {movie_id for p in partitions for movie_id in p.gone}


def known_ids(store: Store, partitions: list[Partition]) -> set[int]:
    """Return the ids of all movies in these partitions."""
    return {movie_id for p in partitions for movie_id in read_partition(store, p)["id"].to_pylist()}


@task(name="purge old records")
def purge_old(source: str, logical_date: date, max_age: int) -> int:
    """Remove what was read more than `max_age` days before `logical_date`, as TMDB's terms ask."""
    removed = purge(open_store(get_settings().store_uri), source, logical_date - timedelta(days=max_age))
    if removed:
        get_run_logger().info("removed %d files that are older than %d days", removed, max_age)
    return removed


def show_slices(source: str, partitions: list[Partition], fresh: Collection[str], logical_date: date) -> None:
    """Put the table of this run's slices and the gap report of the whole source into the Prefect UI."""
    everything = list_partitions(open_store(get_settings().store_uri), source)
    report = f"gap-report-{source}"
    create_markdown_artifact(
        key=report,
        markdown=find_gaps(source, everything, logical_date).markdown(),
        description=f"What is there, what is missing and what was refused as of {logical_date}",
    )
    address = f"{PREFECT_UI_URL.value()}/artifacts/key/{report}" if PREFECT_UI_URL.value() else f"artifact {report}"
    create_table_artifact(
        key=f"collect-{source}",
        description=f"Slices read as of {logical_date}, and what they took. Gap report: {address}",
        table=[
            {
                "slice": p.slice,
                "movies": p.rows,
                "counted by TMDB": p.expected,
                "gone": len(p.gone),
                "quarantined": len(p.refused),
                "requests": 0 if p.slice in fresh else p.requests,
                "retries": sum(p.retries.values()),
                "read on": str(p.logical_date),
                "complete": p.complete,
            }
            for p in partitions
        ],
    )
