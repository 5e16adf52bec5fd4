"""Plan windows of release dates and read each into the store: one Prefect task run a window, never a page or a movie.

A window that was read lately enough is left alone and shows as Cached; its state is the partition in the store itself,
so a partition that is gone is simply read again.
"""

from __future__ import annotations

import asyncio
import calendar
from collections.abc import Collection
from datetime import date, timedelta
from typing import Any

from prefect import get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.states import Completed

from settings import get_settings
from tasks.catalogue import Partition, list_partitions, write_partition
from tasks.source import Source
from tasks.store import open_store
from tasks.tmdb import MAX_RESULTS, BadRecord, RateLimiter, TmdbClient, filters, gather, now, record

Window = tuple[date, date, int]  # first and last release day, both inclusive, and the vote floor
SLICE = 2_000  # movies; what a killed run has to read again at most
ONE_DAY = timedelta(days=1)


@task(name="plan windows", retries=2, retry_delay_seconds=10)
def plan_windows(
    source: Source, start: date, end: date, min_votes: int, logical_date: date, fresh: Collection[Window] = ()
) -> list[Window]:
    """Cut the release dates from `start` to `end` into windows that one query can hold.

    Whole years where they are small, else months, else days. Movies that are out need `min_votes`; those still to come
    are taken as they are. What is `fresh` is not asked about again.
    """

    def covered(window: Window) -> bool:
        parts = split(window)
        return window in fresh or (bool(parts) and all(covered(part) for part in parts))

    async def plan(client: TmdbClient, window: Window) -> list[Window]:
        parts = split(window)
        if window in fresh or not parts:
            return [window]
        if not covered(window) and await client.count(filters(*window)) <= SLICE:
            return [window]
        return [small for part in parts for small in await plan(client, part)]

    async def plan_all() -> list[Window]:
        async with _client(source) as client:
            windows = calendar_windows(start, end, min_votes, logical_date)
            plans = await gather(lambda window: plan(client, window), windows)
        return [window for windows in plans for window in windows]

    return asyncio.run(plan_all())


@task(
    name="collect window", task_run_name="{source.name} {window[0]} to {window[1]}", retries=2, retry_delay_seconds=30
)
def collect_window(source: Source, window: Window, logical_date: date, fresh: Partition | None = None) -> Partition:
    """Read one window of release dates into a partition; one that is still `fresh` is given back as it is."""
    if fresh:
        return Completed(name="Cached", message=f"read on {fresh.logical_date}", data=fresh)  # type: ignore[return-value]  # Prefect unwraps it
    partition = asyncio.run(_read_window(source, window, logical_date))
    log = get_run_logger()
    start, end, _ = window
    log.info("%s to %s: %d movies, %d requests", start, end, partition.rows, partition.requests)
    for reason in partition.refused[:10]:
        log.warning("refused: %s", reason)
    if not partition.complete:
        log.warning("%s to %s: TMDB counted %d movies, %d were found", start, end, partition.expected, partition.rows)
    return partition


async def _read_window(source: Source, window: Window, logical_date: date) -> Partition:
    async with _client(source) as client:
        ids, expected = await client.discover(filters(*window))
        bodies = await gather(client.movie, ids)
    records: list[dict[str, Any]] = []
    gone: list[int] = []
    refused: list[str] = []
    fetched_at = now()
    for movie_id, body in zip(ids, bodies, strict=True):
        if body is None:
            gone.append(movie_id)
            continue
        try:
            records.append(record(body, fetched_at))
        except BadRecord as error:
            refused.append(str(error))
    return write_partition(
        open_store(get_settings().store_uri),
        records,
        source=source.name,
        logical_date=logical_date,
        start=window[0],
        end=window[1],
        min_votes=window[2],
        expected=expected,
        requests=client.tally.requests,
        gone=gone,
        refused=refused,
    )


def show_windows(source: str, partitions: list[Partition], fresh: Collection[Window], logical_date: date) -> None:
    """Put the table of windows into the Prefect UI."""
    create_table_artifact(
        key=f"collect-{source}",
        description=f"Windows of release dates as of {logical_date}: what was read and what it took.",
        table=[
            {
                "from": str(p.start),
                "to": str(p.end),
                "votes from": p.min_votes,
                "movies": p.rows,
                "counted by TMDB": p.expected,
                "gone": len(p.gone),
                "refused": len(p.refused),
                "requests": 0 if p.window in fresh else p.requests,
                "read on": str(p.logical_date),
                "complete": p.complete,
            }
            for p in partitions
        ],
    )


def fresh_partitions(source: str, logical_date: date) -> dict[Window, Partition]:
    """Return the partitions that need no reading on `logical_date`: movies' facts and votes settle with age."""
    partitions = list_partitions(open_store(get_settings().store_uri), source)
    return {p.window: p for p in partitions if 0 <= (logical_date - p.logical_date).days < cache_days(p, logical_date)}


def cache_days(partition: Partition, logical_date: date) -> int:
    """Return for how many days a partition stays fresh: 1 around the release, up to 90 long after it."""
    distance = min(abs((logical_date - day).days) for day in (partition.start, partition.end))
    if partition.start <= logical_date <= partition.end or distance < 31:
        return 1
    return 7 if distance < 180 else 30 if distance < 730 else 90


def calendar_windows(start: date, end: date, min_votes: int, logical_date: date) -> list[Window]:
    """Cut dates at the end of each year and at `logical_date`, where the vote floor ends.

    The year of `logical_date` is cut into months, so that tomorrow's windows are today's but for one.
    """
    windows = []
    for first, last, floor in (
        (start, min(end, logical_date), min_votes),
        (max(start, logical_date + ONE_DAY), end, 0),
    ):
        day = first
        while day <= last:
            year_end = min(date(day.year, 12, 31), last)
            whole = (day, year_end, floor)
            windows += split(whole) or [whole] if day.year == logical_date.year else [whole]
            day = year_end + ONE_DAY
    return windows


def split(window: Window) -> list[Window]:
    """Cut a window into months, a month into days, a day into nothing."""
    start, end, floor = window
    if start == end:
        return []
    within_month = (start.year, start.month) == (end.year, end.month)
    parts, day = [], start
    while day <= end:
        last = day if within_month else min(date(day.year, day.month, calendar.monthrange(day.year, day.month)[1]), end)
        parts.append((day, last, floor))
        day = last + ONE_DAY
    return parts


def _client(source: Source) -> TmdbClient:
    return TmdbClient(source.base_url, source.token.get_secret_value(), _limiter(source))


_limiters: dict[str, RateLimiter] = {}


def _limiter(source: Source) -> RateLimiter:
    """One limiter for all clients of an address in this process."""
    return _limiters.setdefault(source.base_url, RateLimiter(source.rate))


assert MAX_RESULTS >= SLICE  # a planned window always fits one query
