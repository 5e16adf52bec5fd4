"""Remove all content of TMDB from the store and the warehouse: `make purge`.

Models that learned from it stay in the registry; they hold names and statistics of people and companies. Delete those
in MLflow and BentoML if your agreement with TMDB asks for it.

python -m tasks.purging
"""

from __future__ import annotations

from settings import get_settings
from tasks import warehouse
from tasks.catalogue import purge
from tasks.store import open_store


def purge_tmdb() -> tuple[int, int]:
    """Remove TMDB's movies everywhere; return how many files and how many rows that were."""
    files = purge(open_store(get_settings().store_uri), "tmdb")
    engine = warehouse.connect()
    try:
        return files, warehouse.remove(engine, "tmdb")
    finally:
        engine.dispose()


if __name__ == "__main__":
    files, rows = purge_tmdb()
    print(f"removed {files} files from {get_settings().store_uri} and {rows} rows from the warehouse")
