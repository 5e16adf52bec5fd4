"""Collect movies by release date into the store, one partition a window of dates.

python -m flows.collect --start 2015-01-01 --end 2023-12-31
"""

from __future__ import annotations

from datetime import date

from prefect import flow, get_run_logger, runtime

from settings import get_settings
from tasks.collecting import collect_window, fresh_partitions, plan_windows, show_windows
from tasks.command_line import run_from_shell
from tasks.source import SourceName, choose_source, open_source


@flow(name="collect-movies")
def collect_movies(
    start: date | None = None, end: date | None = None, min_votes: int = 20, source: SourceName | None = None
) -> dict[str, int]:
    """Collect movies released from `start` to `end`, both inclusive.

    start: first release date; default: 1 January of the year before the run's scheduled date.
    end: last release date; default: 31 December of the year after it.
    min_votes: movies that are out need at least so many votes; 0 takes everything. Those still to come are all taken.
    source: tmdb or sample; default: tmdb where a token is set.
    """
    settings, log = get_settings(), get_run_logger()
    logical_date = runtime.flow_run.scheduled_start_time.date()
    start = start or date(logical_date.year - 1, 1, 1)
    end = end or date(logical_date.year + 1, 12, 31)
    source = source or choose_source(settings)
    if source == "sample":
        log.info("TMDB_API_TOKEN is not set: collecting the sample catalogue, whose movies are synthetic")
    with open_source(source, settings) as tmdb:
        fresh = fresh_partitions(source, logical_date)
        windows = plan_windows(tmdb, start, end, min_votes, logical_date, set(fresh))
        log.info("%s to %s: %d windows of release dates", start, end, len(windows))
        partitions = [collect_window(tmdb, window, logical_date, fresh.get(window)) for window in windows]
    show_windows(source, partitions, set(fresh), logical_date)
    return {
        "movies": sum(p.rows for p in partitions),
        "windows": len(partitions),
        "requests": sum(p.requests for p in partitions if p.window not in fresh),
        "incomplete": sum(not p.complete for p in partitions),
    }


if __name__ == "__main__":
    print(run_from_shell(collect_movies))
