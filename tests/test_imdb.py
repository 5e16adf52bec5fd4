from __future__ import annotations

import gzip
from datetime import date
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pandas as pd
import pytest
from conftest import SHARED
from prefect import flow

from flows.collect_imdb import collect_imdb
from flows.train import train_model
from models.body import record
from settings import get_settings
from tasks.catalogue import _frame, list_partitions, movie_table, read_catalogue, write_partition
from tasks.imdb import BASICS, RATINGS, read_movies
from tasks.registry import find
from tasks.store import FolderStore, open_store
from tasks.tmdb import now
from tasks.training import with_tmdb_facts

BASICS_HEAD = "tconst\ttitleType\tprimaryTitle\toriginalTitle\tisAdult\tstartYear\tendYear\truntimeMinutes\tgenres\n"
RATINGS_HEAD = "tconst\taverageRating\tnumVotes\n"
LINES = [
    'tt0000010\tmovie\t"Quoted" Title\tOriginal\t0\t1999\t\\N\t101\tDrama,Crime',
    "tt0000011\tmovie\tNo facts\tNo facts\t0\t\\N\t\\N\t\\N\t\\N",
    "tt0000012\tshort\tA short\tA short\t0\t1999\t\\N\t5\tShort",
    "tt0000013\tmovie\tAdult\tAdult\t1\t1999\t\\N\t90\tAdult",
    "tt0000014\tmovie\ttoo\tfew",
    "tt10000015\tmovie\tLast\tLast\t0\t2023\t\\N\t88\tHorror",
]


def write(folder: Path, lines: list[str], ratings: list[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, head, rows in ((BASICS, BASICS_HEAD, lines), (RATINGS, RATINGS_HEAD, ratings)):
        (folder / name).write_bytes(gzip.compress((head + "".join(f"{row}\n" for row in rows)).encode()))
    return folder


def use(patch: pytest.MonkeyPatch, base: object) -> None:
    patch.setenv("IMDB_BASE_URL", str(base))
    get_settings.cache_clear()


def test_movies_are_read_and_what_imdb_lacks_is_missing(tmp_path: Path) -> None:
    folder = write(tmp_path, LINES, ["tt0000010\t7.5\t1000", "tt10000015\t5.1\t20", "tt0000012\t9.0\t9"])
    table, refused = read_movies(folder, now())
    movies = table.to_pylist()
    assert [m["id"] for m in movies] == [10, 11, 10000015]
    first, bare, last = movies
    assert first["title"] == '"Quoted" Title'
    assert (first["imdb_id"], first["vote_average"], first["vote_count"]) == ("tt0000010", 7.5, 1000)
    assert (first["genres"], first["runtime"]) == (["Drama", "Crime"], 101)
    assert first["release_date"] == date(1999, 12, 31)
    assert (bare["release_date"], bare["runtime"], bare["genres"], bare["vote_average"]) == (None, None, None, None)
    assert bare["vote_count"] == 0
    assert last["cast"] is None
    assert len(refused) == 1


def test_a_folder_without_the_files_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="IMDB_BASE_URL"):
        read_movies(tmp_path, now())
    with pytest.raises(ValueError, match="no movies"):
        read_movies(write(tmp_path, LINES[2:3], ["tt0000010\t7.5\t1000"]), now())


def test_the_flow_reads_over_http_and_a_day_twice_changes_nothing(
    environment: Path, prefect_api: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(environment / "imdb", LINES, ["tt0000010\t7.5\t1000", "tt10000015\t5.1\t20"])

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *arguments: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        use(monkeypatch, f"http://127.0.0.1:{server.server_port}")
        assert collect_imdb() == {"movies": 3, "refused": 1}
        server.shutdown()
    store = FolderStore(environment / "store")
    before = store.keys("")
    assert collect_imdb() == {"movies": 3, "refused": 1}  # the server is gone, the partition is there
    assert store.keys("") == before
    assert len(list_partitions(store, "imdb")) == 1


def test_movies_of_both_sources_join_by_imdb_id(
    environment: Path, bodies: list[dict[str, Any]], tmp_path: Path
) -> None:
    store = open_store(get_settings().store_uri)
    body = bodies[5] | {"imdb_id": "tt0000010"}
    facts: dict[str, Any] = {"source": "tmdb", "logical_date": date(2026, 1, 1), "slice": "a", "requests": 1}
    facts |= {"start": date(2005, 1, 1), "end": date(2005, 12, 31), "expected": 1}
    write_partition(store, movie_table([record(body, now())]), **facts)
    table, _ = read_movies(write(tmp_path, LINES, ["tt0000010\t7.5\t1000"]), now())
    movies = _frame(table)
    joined = with_tmdb_facts(store, movies).set_index("imdb_id")
    both = joined.loc["tt0000010"]
    assert both["title"] == body["title"]
    assert both["release_date"] == pd.Timestamp(body["release_date"])
    assert both["directors"][0]["name"] == record(body, now())["directors"][0]["name"]
    assert (both["vote_average"], both["vote_count"], both["id"]) == (7.5, 1000, 10)
    assert joined.loc["tt10000015", "title"] == "Last"


@pytest.mark.shared
def test_a_model_learns_imdbs_ratings(environment: Path, prefect_api: None, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, SHARED / "data" / "imdb")

    @flow
    def size() -> int:
        return collect_imdb()["movies"]

    assert size() == 35_551
    movies = read_catalogue(open_store(get_settings().store_uri), "imdb")
    assert movies["vote_average"].notna().all()
    assert movies["release_date"].dt.year.min() < 1930
    trained = train_model(trials=1, source="imdb", as_of=date(2024, 1, 1))
    version = find(str(trained["version"]))
    assert version.tags["source"] == "imdb"
    assert float(trained["rmse"]) < 1.2
