"""Read IMDb's data sets into the store, as a second source beside TMDB.

python -m flows.collect_imdb
"""

from __future__ import annotations

from prefect import flow, runtime

from tasks.command_line import run_from_shell
from tasks.imdb import read_imdb
from tasks.warehouse import mirror


@flow(name="collect-imdb")
def collect_imdb() -> dict[str, int]:
    """Read all movies of IMDb's title.basics and title.ratings, of all years, from IMDB_BASE_URL."""
    partition = read_imdb(runtime.flow_run.scheduled_start_time.date())
    mirror([partition])
    return {"movies": partition.rows, "refused": len(partition.refused)}


if __name__ == "__main__":
    print(run_from_shell(collect_imdb))
