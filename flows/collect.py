"""Collect movies by release date into the store, one partition a window of dates.

python -m flows.collect --start 2015-01-01 --end 2023-12-31
"""

from __future__ import annotations

from datetime import date

from prefect import flow, get_run_logger

from settings import get_settings
from tasks.data.catalogue import list_partitions
from tasks.data.collecting import (
    ask_again,
    check_refused,
    fit_changes,
    fold_catalogue,
    fresh_partitions,
    ids_of,
    is_settled,
    known_gone,
    known_ids,
    plan_changes,
    plan_windows,
    read_window,
    show_windows,
)
from tasks.data.purging import purge_old
from tasks.data.source import SourceName, open_source, source_to_collect
from tasks.data.warehouse import mirror
from tasks.data.windows import HISTORY_YEARS, first_release, one_day_further
from tasks.foundation.store import open_store
from tasks.operations.command_line import run_from_shell
from tasks.operations.parameters import check_parameters, with_rules
from tasks.operations.run_names import day_of_run, run_name


@flow(name="collect-movies", flow_run_name=run_name("collect", source_to_collect))
@with_rules
def collect_movies(
    start: date | None = None,
    end: date | None = None,
    min_votes: int = 20,
    source: SourceName | None = None,
    max_refused: float = 0.05,
    years: int | None = None,
    history_a_day: int | None = None,
    as_of: date | None = None,
) -> dict[str, int]:
    """Collect movies released from `start` to `end`, both inclusive, as of the run's scheduled date.

    Without dates and years it is the daily run: the history that training needs, new and upcoming movies, those that
    TMDB says were changed since the last run, and the ratings of older ones, less often as they age. So the first run
    reads the whole history, and a later one what has moved. With dates or years it is a backfill of just those.

    Args:
        start: first release date; default: 1 January so many `years` back, as far back as anything was collected in the
            daily run, and no later than the year of `end`.
        end: last release date; default: 31 December of the year after the scheduled date.
        min_votes: movies that are out need at least so many votes, those still to come none; 0 takes everything.
        source: tmdb or sample; default: tmdb where a token is set.
        max_refused: largest share of movies that may not fit the declared schema before the run stops.
        years: how many years before the scheduled date to begin; default: 20.
        history_a_day: in the daily run, so many years further back than on the days before; default: all at once.
        as_of: the day that is collected for: what is read is kept as of it; default: the scheduled date.
    """
    check_parameters(**locals())
    settings, log = get_settings(), get_run_logger()
    logical_date = as_of or day_of_run()
    daily = start is None and end is None and years is None
    source = source or source_to_collect(settings)
    if source == "sample":
        unset = "" if settings.tmdb_api_token else "TMDB_API_TOKEN is not set: "
        log.info("%scollecting the sample catalogue, whose movies are synthetic", unset)
    store = open_store(settings.store_uri)
    before = list_partitions(store, source)
    known = min((p.start for p in before), default=None) if daily else None
    if end and not start:
        start = min(first_release(logical_date, years or HISTORY_YEARS), date(end.year, 1, 1))
    if daily and history_a_day:
        earlier = [p.start for p in before if p.logical_date < logical_date]
        start = one_day_further(logical_date, history_a_day, min(earlier, default=None))
    start = start or first_release(logical_date, years or HISTORY_YEARS, known)
    end = end or date(logical_date.year + 1, 12, 31)
    check_parameters(start=start, end=end)
    max_age = settings.tmdb_max_age_days
    today = min(logical_date, day_of_run())  # a day that is still to come makes nothing old
    purges = [purge_old(purged, today, max_age, return_state=True) for purged in sorted({"tmdb", source})]
    before = list_partitions(store, source)
    there, gone = fresh_partitions(store, before, logical_date), known_gone(before, logical_date)
    fresh = {name for name, partition in there.items() if is_settled(partition)}
    partitions = []
    with open_source(source, settings, logical_date) as opened:
        windows = plan_windows(opened, start, end, min_votes, logical_date, set(there))
        log.info("%s to %s: %d windows of release dates, %d of them fresh", start, end, len(windows), len(fresh))
        for piece in windows:
            partitions.append(read_window(opened, piece, logical_date, there.get(piece.name), gone))
            check_refused(partitions, max_refused)
        if daily:
            ranges = plan_changes(before, logical_date, settings.tmdb_max_age_days)
            wanted = known_ids(source).keys() - ids_of([p for p in partitions if p.slice not in there])
            for days in fit_changes(opened, ranges, set(there)):
                partitions.append(read_window(opened, days, logical_date, there.get(days.name), gone, wanted))
            read = {p.slice for p in partitions}
            partitions += ask_again(opened, [p for p in before if p.slice not in read], logical_date)
    fold_catalogue(source)
    show_windows(source, partitions, fresh, logical_date)
    mirror(source)
    for purged in purges:
        purged.result()  # a purge that failed fails the run, and kept nothing from being collected
    return {
        "movies": sum(p.rows for p in partitions),
        "slices": len(partitions),
        "requests": sum(p.requests for p in partitions if p.slice not in fresh),
        "incomplete": sum(not p.complete for p in partitions),
        "refused": sum(len(p.refused) for p in partitions),
    }


if __name__ == "__main__":
    print(run_from_shell(collect_movies))
