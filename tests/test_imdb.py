from __future__ import annotations

import gzip
from datetime import date
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pandas as pd
import pytest
from conftest import RECORDED
from prefect import flow

from flows.collect_imdb import collect_imdb
from flows.train import train_model
from models.body import record
from settings import get_settings
from tasks.data.catalogue import list_partitions, read_catalogue
from tasks.data.imdb import BASICS, RATINGS, _Utf8, read_movies
from tasks.data.partitions import movie_table, to_frame, write_partition
from tasks.foundation.clock import now
from tasks.foundation.store import FolderStore, open_store
from tasks.learning.loading import with_tmdb_facts
from tasks.registry.versions import find

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
        (folder / name).write_bytes(
            gzip.compress((head + "".join(f"{row}\n" for row in rows)).encode(errors="surrogateescape"))
        )
    return folder


def movie(n: int, year: str = "2010", runtime: str = "100", title: str = "T", genres: str = "Drama") -> str:
    return f"tt{n:07}\tmovie\t{title}\t{title}\t0\t{year}\t\\N\t{runtime}\t{genres}"


GOOD = [movie(n) for n in range(1, 6)]
RATED = [f"tt{n:07}\t7.{n}\t{n}00" for n in range(1, 6)]


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
    assert refused == {"6": f"line 6 of {BASICS}: 4 columns, not 9: 'tt0000014\\tmovie\\ttoo\\tfew'"}


def test_a_folder_without_the_files_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="IMDB_BASE_URL"):
        read_movies(tmp_path, now())
    with pytest.raises(ValueError, match="no movies"):
        read_movies(write(tmp_path, LINES[2:3], ["tt0000010\t7.5\t1000"]), now())


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (movie(7, year="Drama"), "startYear is 'Drama'"),
        (movie(7, year="20100"), "startYear is '20100'"),
        (movie(7).replace("tt", "nm"), "tconst is 'nm0000007'"),
        (movie(7).replace("tt0000007", "tt" + "9" * 20), "tconst is 'tt99"),
        (movie(7).replace("tt0000007", "\\N"), "tconst is None"),
        (movie(7).replace("\t0\t", "\tno\t"), "isAdult is 'no'"),
        (movie(7) + "\tmore", "10 columns, not 9"),
        (movie(7).rpartition("\t")[0], "8 columns, not 9"),
        (movie(7, title="Caf\udce9"), "primaryTitle is"),
        (movie(7, title="Caf\udce9") + "\tmore", "10 columns, not 9"),
        (movie(7, title="N\0UL"), "primaryTitle is"),
        (movie(3, title="again"), "tconst comes twice"),
        (movie(3, title="again").replace("tt0000003", "tt3"), "tconst comes twice"),
    ],
)
def test_a_line_that_does_not_fit_costs_that_line(line: str, why: str, tmp_path: Path) -> None:
    table, refused = read_movies(write(tmp_path, [*GOOD, line, movie(8)], RATED), now())
    assert table["id"].to_pylist() == [1, 2, 3, 4, 5, 8]
    assert set(table["title"].to_pylist()) == {"T"}
    assert list(refused) == ["7"]
    assert refused["7"].startswith(f"line 7 of {BASICS}: ")
    assert why in refused["7"]
    write_partition(
        FolderStore(tmp_path), table, refused=refused, **FACTS, start=date(2010, 1, 1), end=date(2010, 1, 1), expected=7
    )


FACTS: dict[str, Any] = {"source": "imdb", "logical_date": date(2026, 1, 1), "slice": "movies", "requests": 0}


def test_numbers_of_lines_count_those_that_were_refused_before(tmp_path: Path) -> None:
    few, wrong = "tt1\tmovie", movie(7, year="x")
    _, refused = read_movies(write(tmp_path, [few, wrong, few, "", *GOOD, few, wrong], RATED), now())
    assert list(refused) == ["2", "3", "4", "11", "12"]


@pytest.mark.parametrize(
    ("runtime", "minutes"), [("90 min", None), ("", None), ("0", None), ("-5", None), ("9" * 30, None), ("71", 71.0)]
)
def test_a_runtime_that_is_none_is_missing(runtime: str, minutes: float | None, tmp_path: Path) -> None:
    table, refused = read_movies(write(tmp_path, [*GOOD, movie(6, runtime=runtime)], RATED), now())
    assert (table["runtime"].to_pylist()[-1], refused) == (minutes, {})


@pytest.mark.parametrize(
    ("line", "rated"),
    [
        ("tt0000003\t1.0\t5", 7.3),
        ("tt0000003\t1.0\t5000", 1.0),
        ("tt0000008\tgood\t5", 7.3),
        ("tt0000008\t11.0\t5", 7.3),
        ("tt0000008\t0.0\t5", 7.3),
        ("tt0000008\t5.0\tmany", 7.3),
        ("tt0000008\t5.0", 7.3),
        ("tt0000008\t\\N\t5", 7.3),
        ("tt000\udce9\t5.0\t5", 7.3),
    ],
)
def test_a_rating_that_does_not_fit_costs_that_rating(line: str, rated: float, tmp_path: Path) -> None:
    table, refused = read_movies(write(tmp_path, [*GOOD, movie(8)], [*RATED, line]), now())
    assert table["id"].to_pylist() == [1, 2, 3, 4, 5, 8]
    assert table["vote_average"].to_pylist()[2] == rated
    assert table["vote_average"].to_pylist()[-1] is None
    (reason,) = refused.values()
    assert reason.startswith(f"line {4 if rated == 1.0 else 7} of {RATINGS}: ")


@pytest.mark.recorded
def test_the_case_of_three_faults(tmp_path: Path) -> None:
    for name, case in ((BASICS, "24-imdb-basics.tsv"), (RATINGS, "24-imdb-ratings.tsv")):
        (tmp_path / name).write_bytes(gzip.compress((RECORDED / "cases" / case).read_bytes()))
    table, refused = read_movies(tmp_path, now())
    assert table["id"].to_pylist() == [1, 2, 3, 4, 5, 6]
    assert table["vote_average"].to_pylist() == [7.1, 7.2, 7.3, 7.4, 7.5, None]
    assert table["runtime"].to_pylist()[-1] is None
    assert list(refused) == ["8", "-7"]


@pytest.mark.parametrize("name", [BASICS, RATINGS])
@pytest.mark.parametrize("end", [-200, -4, 20])
def test_a_file_that_is_cut_short_is_named_and_must_be_downloaded_again(name: str, end: int, tmp_path: Path) -> None:
    file = write(tmp_path, [movie(n) for n in range(1, 400)], [f"tt{n:07}\t7.1\t{n}" for n in range(1, 400)]) / name
    file.write_bytes(file.read_bytes()[:end])
    with pytest.raises(OSError, match=f"{name} is damaged.*download it again"):
        read_movies(tmp_path, now())


def test_a_file_that_is_no_gzip_is_named(tmp_path: Path) -> None:
    (write(tmp_path, GOOD, RATED) / BASICS).write_text("<html>Moved</html>")
    with pytest.raises(OSError, match=f"{BASICS} is damaged"):
        read_movies(tmp_path, now())


def test_another_layout_is_an_error_and_not_a_data_set_without_movies(tmp_path: Path) -> None:
    def read(lines: list[str], ratings: list[str]) -> None:
        read_movies(write(tmp_path, lines, ratings), now())

    with pytest.raises(ValueError, match=rf"{BASICS}: 5 lines do not fit, 0 do.*columns tconst, titleType"):
        read([line + "\tmore" for line in GOOD], RATED)
    with pytest.raises(ValueError, match=rf"{RATINGS}: 5 lines do not fit, 0 do.*columns tconst, averageRating"):
        read(GOOD, [f"{line}\tmore" for line in RATED])
    many = [movie(n, year="2010" if n < 280 else "x") for n in range(1, 301)]
    with pytest.raises(ValueError, match=rf"{BASICS}: 21 lines do not fit, 279 do.*startYear"):
        read(many, RATED)
    read([*many, *(movie(n) for n in range(301, 500))], RATED)  # a smaller share is none
    renamed = (BASICS_HEAD.replace("startYear", "year") + "\n".join(GOOD)).encode()
    (tmp_path / BASICS).write_bytes(gzip.compress(renamed))
    with pytest.raises(ValueError, match=rf"{BASICS}: it lacks startYear"):
        read_movies(tmp_path, now())


def test_a_flood_of_bad_lines_stops_the_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.data.imdb.MAX_REFUSED", 10)
    for bad in (movie(7) + "\tmore", movie(7, year="x")):
        with pytest.raises(ValueError, match=rf"{BASICS}: over 10 lines do not fit"):
            read_movies(write(tmp_path, [*GOOD, *([bad] * 30)], RATED), now())


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
    movies = to_frame(table)
    joined = with_tmdb_facts(store, movies).set_index("imdb_id")
    both = joined.loc["tt0000010"]
    assert both["title"] == body["title"]
    assert both["release_date"] == pd.Timestamp(body["release_date"])
    assert both["directors"][0]["name"] == record(body, now())["directors"][0]["name"]
    assert (both["vote_average"], both["vote_count"], both["id"]) == (7.5, 1000, 10)
    assert joined.loc["tt10000015", "title"] == "Last"


@pytest.mark.recorded
def test_a_model_learns_imdbs_ratings(environment: Path, prefect_api: None, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, RECORDED / "data" / "imdb")

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


def test_bytes_that_are_no_utf8_are_marked_wherever_the_stream_is_cut() -> None:
    text = "Amélie 영화 😀".encode()
    for cut in range(len(text)):
        repair = _Utf8()
        assert repair(text[:cut]) + repair(text[cut:]) + repair(b"") == text
        repair = _Utf8()
        assert repair(text[:cut]) + repair(text[cut:] + b"\xe9 end") + repair(b"") == text + b"\0 end"
