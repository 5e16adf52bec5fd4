"""Plan what to read, read each window into the store, and report: a Prefect task run a window, not a page or a movie.

A window that was read lately enough is left alone and shows as Cached; what it lacks (movies that were refused, or a
count that does not add up) is asked for again, and nothing else. Its state is the partition in the store itself, so a
partition that is gone is simply read again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.settings import PREFECT_UI_URL
from prefect.states import Completed

from settings import get_settings
from tasks.data.catalogue import fold, folded_partitions, list_partitions, open_catalogue
from tasks.data.gaps import find_gaps
from tasks.data.partitions import Partition, is_intact, movie_table, read_partition, write_partition
from tasks.data.source import Source
from tasks.data.tmdb import CHANGES_PAGE, MAX_PAGE, MAX_RESULTS, Reading, TmdbClient, gather
from tasks.data.windows import (
    WINDOW_MOVIES,
    Changes,
    Window,
    cache_days,
    change_windows,
    days_of,
    release_windows,
    split,
)
from tasks.foundation.retrying import RETRIED
from tasks.foundation.run_log import log
from tasks.foundation.store import Store, open_store

MIN_REFUSED = 20  # fewer refused movies never stop a run, whatever their share
GONE_DAYS = 7
ASKED_AGAIN_DAYS = 30  # what was refused for so long stays in the quarantine until its window is read anew


class TooManyRefused(Exception):
    """So many movies do not fit the declared schema that the schema, or the source, must have changed."""


@task(name="plan windows", task_run_name="plan windows {start} to {end}", tags=["tmdb"], **RETRIED)
def plan_windows(
    source: Source, start: date, end: date, min_votes: int, logical_date: date, fresh: Collection[str] = ()
) -> list[Window]:
    """Cut the release dates from `start` to `end` into windows that are small, and that one query can hold.

    What is `fresh`, by name, is not asked about again.
    """

    client = source.client()

    def covered(piece: Window) -> bool:
        parts = split(piece)
        return piece.name in fresh or (bool(parts) and all(covered(part) for part in parts))

    async def plan(piece: Window) -> list[Window]:
        if piece.name in fresh:
            return [piece]
        parts = split(piece)
        if not covered(piece):
            movies = await client.count(piece)
            if movies <= (WINDOW_MOVIES if parts else MAX_RESULTS):
                return [piece]
            parts = parts or split(piece, await client.genres()) or [piece]
        if parts == [piece]:
            return parts  # reading it will say that it is too full
        return [small for part in parts for small in await plan(part)]

    async def plan_all() -> list[list[Window]]:
        async with client:
            return await gather(plan, release_windows(start, end, min_votes, logical_date))

    return [piece for pieces in asyncio.run(plan_all()) for piece in pieces]


def plan_changes(partitions: list[Partition], logical_date: date, max_age: int) -> list[Changes]:
    """Return the days of changes that no run has read yet, the day that was last read again, up to `logical_date`.

    So days on which nothing ran are caught up by the next run. Nothing, where no movie was collected before.
    """
    earlier = [p for p in partitions if p.logical_date < logical_date]
    if not earlier:
        return []
    read_until = [p.end for p in earlier if p.slice.startswith("changes_")]
    since = max(read_until) if read_until else min(p.logical_date for p in earlier)
    return change_windows(max(since, logical_date - timedelta(days=max_age)), logical_date)


@task(name="fit changes", task_run_name="fit changes of {source.name}", tags=["tmdb"], **RETRIED)
def fit_changes(source: Source, ranges: list[Changes], fresh: Collection[str] = ()) -> list[Changes]:
    """Cut ranges of changes that hold more than one query can into their days; what is `fresh` is not asked about."""

    async def fit() -> list[Changes]:
        fitting: list[Changes] = []
        async with source.client() as tmdb:
            for days in ranges:
                whole = days.name in fresh or await tmdb.count(days) <= CHANGES_PAGE * MAX_PAGE
                fitting += [days] if whole else days_of(days)
        return fitting

    return asyncio.run(fit())


@task(
    name="read slice",
    task_run_name="{source.name} {piece.name}",
    tags=["tmdb"],
    **RETRIED | {"retry_delay_seconds": 30},
)
def read_window(
    source: Source,
    piece: Window | Changes,
    logical_date: date,
    there: Partition | None = None,
    skip: Collection[int] = (),
    only: Collection[int] | None = None,
) -> Partition:
    """Read one window into a partition; of one that is `there` and still fresh, only what it lacks.

    `skip` names movies that are known to be gone, `only`, if given, the movies wanted.
    """
    if there and is_settled(there):
        return Completed(name="Cached", message=f"read on {there.logical_date}", data=there)  # type: ignore[return-value]  # Prefect unwraps it

    async def read() -> Partition:
        async with source.client() as tmdb:
            if there and is_intact(open_store(get_settings().store_uri), there):
                return await _ask_for_the_rest(tmdb, piece, there, skip, only)
            return _write(source.name, piece, logical_date, await tmdb.read(piece, skip, only))

    partition = asyncio.run(read())
    _tell(partition)
    return partition


async def _ask_for_the_rest(
    tmdb: TmdbClient, piece: Window | Changes, there: Partition, skip: Collection[int], only: Collection[int] | None
) -> Partition:
    """Ask for what was refused, whether the list still names it or not, and list again what did not add up."""
    partition = there
    if there.refused:
        reading = await tmdb.read_movies(list(map(int, there.refused)))
        partition = _add(partition, reading, there.expected)
    if not there.complete:
        have = {*read_partition(open_store(get_settings().store_uri), partition)["id"].to_pylist(), *there.gone}
        have |= set(map(int, partition.refused))
        reading = await tmdb.read(piece, skip, only, have)
        again = _add(partition, reading, reading.expected)
        partition = replace(again, requests=again.requests + (partition.requests if there.refused else 0))
    return partition


@task(name="ask again", task_run_name="ask {source.name} again", tags=["tmdb"], **RETRIED | {"retry_delay_seconds": 30})
def ask_again(source: Source, partitions: list[Partition], logical_date: date) -> list[Partition]:
    """Ask once more for the movies that were refused on earlier days and not read since: much heals by itself."""
    read_on, store = known_ids(source.name), open_store(get_settings().store_uri)

    async def ask() -> list[Partition]:
        changed = []
        async with source.client() as tmdb:
            for partition in partitions:
                refused = [i for i in map(int, partition.refused) if read_on.get(i, date.min) <= partition.logical_date]
                recent = (logical_date - partition.logical_date).days <= ASKED_AGAIN_DAYS
                if refused and recent and is_intact(store, partition):
                    changed.append(_add(partition, await tmdb.read_movies(refused), partition.expected))
                    _tell(changed[-1])
        return changed

    return asyncio.run(ask())


def is_settled(partition: Partition) -> bool:
    """Say whether nothing of a partition needs to be asked for again."""
    return partition.complete and not partition.refused


def _write(source: str, piece: Window | Changes, logical_date: date, reading: Reading) -> Partition:
    return write_partition(
        open_store(get_settings().store_uri),
        movie_table(reading.records),
        {str(movie_id): body for movie_id, body in reading.refused_bodies.items()},
        source=source,
        logical_date=logical_date,
        slice=piece.name,
        start=piece.start,
        end=piece.end,
        expected=reading.expected,
        **_told(reading),
    )


def _add(there: Partition, reading: Reading, expected: int) -> Partition:
    """Write a partition anew, on its own logical date, with what a later reading added; as it is, if that was nothing.

    The date stays, so that its older records do not outlive the age limit.
    """
    store, told = open_store(get_settings().store_uri), _told(reading)
    before = read_partition(store, there)
    ids = set(before["id"].to_pylist())
    new = [record for record in reading.records if record["id"] not in ids]
    healed = {record["id"] for record in new} | reading.gone
    facts = told | {
        "gone": sorted({*there.gone, *reading.gone}),
        "skipped": sorted({*there.skipped, *reading.skipped} - healed),
        "refused": {i: why for i, why in (there.refused | told["refused"]).items() if int(i) not in healed},
        "lost": there.lost | told["lost"],
    }
    if not new and all(set(facts[name]) == set(getattr(there, name)) for name in ("gone", "refused")):
        return replace(there, requests=told["requests"])
    keep = {name: getattr(there, name) for name in ("source", "logical_date", "slice", "start", "end")}
    bodies = {str(movie_id): body for movie_id, body in reading.refused_bodies.items()}
    movies = movie_table([*before.to_pylist(), *new])
    return write_partition(store, movies, bodies, expected=expected, **keep, **facts)


def _told(reading: Reading) -> dict[str, Any]:
    """Return what a partition says of its reading."""
    return {
        "requests": reading.tally.requests,
        "gone": sorted(reading.gone),
        "skipped": sorted(reading.skipped),
        "refused": {str(movie_id): reason for movie_id, reason in reading.refused.items()},
        "lost": {str(movie_id): facts for movie_id, facts in reading.lost.items()},
        "retries": dict(reading.tally.retries),
    }


def _tell(partition: Partition) -> None:
    """Say in the log what a reading gave, and what it did not."""
    log().info("%s: %d movies, %d requests", partition.slice, partition.rows, partition.requests)
    for reason in list(partition.refused.values())[:5]:
        log().warning("quarantined %s", reason)
    for movie_id, facts in list(partition.lost.items())[:5]:
        log().warning("movie %s is kept without %s", movie_id, "; ".join(facts))
    if not partition.complete:
        log().warning("%s: TMDB counted %d movies, %d were found", partition.slice, partition.expected, partition.rows)


def check_refused(partitions: list[Partition], most: float) -> None:
    """Raise TooManyRefused where more than a share `most` of the movies went to the quarantine.

    Facts that were lost do not count: a movie without one is a movie; the contract looks at what is missing too often.
    """
    wrong = [reason for p in partitions for reason in p.refused.values()]
    movies = sum(p.rows + len(p.refused) for p in partitions)
    if len(wrong) >= MIN_REFUSED and len(wrong) > most * movies:
        raise TooManyRefused(
            f"{len(wrong)} of {movies} movies do not fit the declared schema, more than {most:.0%}: for example "
            f"{wrong[0]}. They lie in the quarantine; mend models.body.Body if TMDB changed, or raise max_refused"
        )


def fresh_partitions(store: Store, partitions: list[Partition], logical_date: date) -> dict[str, Partition]:
    """Return the partitions that were read lately enough for `logical_date`, by the name of their window.

    One whose movies are gone from the store, or not those that were written, is never fresh.
    """
    if not partitions:
        return {}
    source = partitions[0].source
    there, folded = set(store.keys(f"{source}/movies/")), {p.data_key for p in folded_partitions(store, source)}
    return {
        p.slice: p
        for p in partitions
        if 0 <= (logical_date - p.logical_date).days < cache_days(p.start, p.end, logical_date)
        and p.data_key in there
        and (p.data_key in folded or is_intact(store, p))
    }


def known_gone(partitions: list[Partition], logical_date: date) -> set[int]:
    """Return the ids that answered 404 within a week; the others are asked again, for some come back."""
    lately = [p for p in partitions if (logical_date - p.logical_date).days < GONE_DAYS]
    return {movie_id for p in lately for movie_id in set(p.gone).difference(p.skipped)}


def ids_of(partitions: list[Partition]) -> set[int]:
    """Return the ids of all movies in these partitions."""
    store = open_store(get_settings().store_uri)
    return {movie_id for p in partitions for movie_id in read_partition(store, p)["id"].to_pylist()}


def known_ids(source: str) -> dict[int, date]:
    """Return the ids of all movies of the store, and the logical date on which each was last read."""
    try:
        records = open_catalogue(open_store(get_settings().store_uri), source).newest_records()
    except FileNotFoundError:
        return {}
    return dict(zip(records["id"].to_pylist(), records["logical_date"].to_pylist(), strict=True))


@task(name="fold", task_run_name="fold {source}", **RETRIED)
def fold_catalogue(source: str) -> None:
    """Bring the snapshot of the catalogue up to date, so that later runs need not read all that was ever collected."""
    fold(open_store(get_settings().store_uri), source)


def show_windows(source: str, partitions: list[Partition], fresh: Collection[str], logical_date: date) -> None:
    """Put the table of this run's windows and the gap report of the whole source into the Prefect UI."""
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
        description=f"Windows read as of {logical_date}, and what they took. Gap report: {address}",
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
