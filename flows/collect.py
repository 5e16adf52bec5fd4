"""Collect movies by release date into the store, one partition a slice of dates.

python -m flows.collect --start 2015-01-01 --end 2023-12-31
"""

from __future__ import annotations

from datetime import date

from prefect import flow, get_run_logger, runtime

from settings import get_settings
from tasks.catalogue import list_partitions
from tasks.collecting import (
    check_refused,
    fresh_partitions,
    known_gone,
    known_ids,
    plan_changes,
    plan_slices,
    purge_old,
    read_slice,
    show_slices,
)
from tasks.command_line import run_from_shell
from tasks.source import SourceName, open_tmdb, source_to_collect
from tasks.store import open_store
from tasks.warehouse import mirror


@flow(name="collect-movies")
def collect_movies(
    start: date | None = None,
    end: date | None = None,
    min_votes: int = 20,
    source: SourceName | None = None,
    max_refused: float = 0.05,
) -> dict[str, int]:
    """Collect movies released from `start` to `end`, both inclusive, as of the run's scheduled date.

    Without dates it is the daily run: new and upcoming movies, those that TMDB says were changed since the last run,
    and the ratings of older ones, less often as they age. With dates it is a backfill of just those.

    start: first release date; default: 1 January of the year before the scheduled date.
    end: last release date; default: 31 December of the year after it.
    min_votes: movies that are out need at least so many votes; 0 takes everything. Those still to come are all taken.
    source: tmdb or sample; default: tmdb where a token is set.
    max_refused: largest share of movies that may not fit the declared schema before the run stops, 0 to 1.
    """
    settings, log = get_settings(), get_run_logger()
    logical_date, daily = runtime.flow_run.scheduled_start_time.date(), start is None and end is None
    start = start or date(logical_date.year - 1, 1, 1)
    end = end or date(logical_date.year + 1, 12, 31)
    source = source or source_to_collect(settings)
    if source == "sample":
        unset = "" if settings.tmdb_api_token else "TMDB_API_TOKEN is not set: "
        log.info("%scollecting the sample catalogue, whose movies are synthetic", unset)
    store = open_store(settings.store_uri)
    before = list_partitions(store, source)
    fresh, gone = fresh_partitions(store, before, logical_date), known_gone(before)
    partitions = []
    with open_tmdb(source, settings) as tmdb:
        slices = plan_slices(tmdb, start, end, min_votes, logical_date, set(fresh))
        log.info("%s to %s: %d slices of release dates, %d of them fresh", start, end, len(slices), len(fresh))
        for piece in slices:
            partitions.append(read_slice(tmdb, piece, logical_date, fresh.get(piece.name), gone))
            check_refused(partitions, max_refused)
        changes = plan_changes(before, logical_date, settings.tmdb_max_age_days) if daily else []
        wanted = known_ids(store, before) if changes else set()
        for days in changes:
            wanted -= known_ids(store, [p for p in partitions if p.slice not in fresh])
            partitions.append(read_slice(tmdb, days, logical_date, fresh.get(days.name), gone, wanted))
    mirror([p for p in partitions if p.slice not in fresh])
    purge_old(source, logical_date, settings.tmdb_max_age_days)
    show_slices(source, partitions, set(fresh), logical_date)
    return {
        "movies": sum(p.rows for p in partitions),
        "slices": len(partitions),
        "requests": sum(p.requests for p in partitions if p.slice not in fresh),
        "incomplete": sum(not p.complete for p in partitions),
        "refused": sum(len(p.refused) for p in partitions),
    }


if __name__ == "__main__":
    print(run_from_shell(collect_movies))
