"""Read IMDb's data sets into the store, as a second source beside TMDB.

python -m flows.collect_imdb
"""

from __future__ import annotations

from prefect import flow

from settings import get_settings
from tasks.data.collecting import fold_catalogue
from tasks.data.imdb import SOURCE, read_imdb
from tasks.data.purging import purge_old
from tasks.data.warehouse import mirror
from tasks.operations.command_line import run_from_shell
from tasks.operations.run_names import day_of_run, run_name


@flow(name="collect-imdb", flow_run_name=run_name("collect imdb"))
def collect_imdb() -> dict[str, int]:
    """Read all movies of IMDb's title.basics and title.ratings, of all years, from IMDB_BASE_URL."""
    logical_date = day_of_run()
    max_age = get_settings().tmdb_max_age_days  # of IMDb no terms ask for it: older copies are of no use
    purges = [purge_old(source, logical_date, max_age, return_state=True) for source in ("tmdb", SOURCE)]
    partition = read_imdb(logical_date)
    fold_catalogue(SOURCE)
    mirror(SOURCE)
    for purged in purges:
        purged.result()
    return {"movies": partition.rows, "refused": len(partition.refused)}


if __name__ == "__main__":
    print(run_from_shell(collect_imdb))
