"""Read IMDb's data sets into the store, as a second source beside TMDB.

python -m flows.collect_imdb
"""

from __future__ import annotations

from prefect import flow, runtime

from settings import get_settings
from tasks.collecting import fold_catalogue
from tasks.command_line import run_from_shell
from tasks.imdb import SOURCE, read_imdb
from tasks.purging import purge_old
from tasks.warehouse import mirror


@flow(name="collect-imdb")
def collect_imdb() -> dict[str, int]:
    """Read all movies of IMDb's title.basics and title.ratings, of all years, from IMDB_BASE_URL."""
    logical_date = runtime.flow_run.scheduled_start_time.date()
    partition = read_imdb(logical_date)
    fold_catalogue(SOURCE)
    purge_old(SOURCE, logical_date, get_settings().tmdb_max_age_days)  # no terms ask for it: older copies are of no use
    mirror(SOURCE)
    return {"movies": partition.rows, "refused": len(partition.refused)}


if __name__ == "__main__":
    print(run_from_shell(collect_imdb))
