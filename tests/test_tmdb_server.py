from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import RECORDED, serving, write_jsonl

from settings import PROJECT


@pytest.fixture(scope="module")
def tmdb(bodies: list[dict[str, Any]]) -> Iterator[httpx.Client]:
    with serving(bodies, token="t") as url, httpx.Client(base_url=url, headers={"Authorization": "Bearer t"}) as client:
        yield client


def discover(tmdb: httpx.Client, **params: Any) -> dict[str, Any]:
    names = {"gte": "primary_release_date.gte", "lte": "primary_release_date.lte", "votes": "vote_count.gte"}
    response = tmdb.get("/discover/movie", params={names.get(k, k): v for k, v in params.items()})
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def test_pages_hold_twenty_and_together_everything(tmdb: httpx.Client, bodies: list[dict[str, Any]]) -> None:
    wanted = {b["id"] for b in bodies if "2010-01-01" <= b["release_date"] <= "2010-12-31"}
    query = {"gte": "2010-01-01", "lte": "2010-12-31", "sort_by": "primary_release_date.asc"}
    first = discover(tmdb, **query)
    assert first["total_results"] == len(wanted)
    assert first["total_pages"] == -(-len(wanted) // 20)
    found = [r for page in range(1, first["total_pages"] + 1) for r in discover(tmdb, **query, page=page)["results"]]
    assert {r["id"] for r in found} == wanted
    assert len(found) == len(wanted)
    dates = [r["release_date"] for r in found]
    assert dates == sorted(dates)
    assert {"genre_ids", "title", "vote_count"} <= set(found[0])
    assert "genres" not in found[0]
    assert "credits" not in found[0]


@pytest.mark.parametrize("page", ["0", "501", "x", "-1"])
def test_pages_over_500_do_not_exist(tmdb: httpx.Client, page: str) -> None:
    response = tmdb.get("/discover/movie", params={"page": page})
    assert response.status_code == 400
    assert response.json()["status_code"] == 22


def test_filters_narrow(tmdb: httpx.Client, bodies: list[dict[str, Any]]) -> None:
    def count(**params: Any) -> int:
        return int(discover(tmdb, **params)["total_results"])

    def having(*genres: int) -> int:
        return sum(set(genres) <= {g["id"] for g in b["genres"]} for b in bodies)

    assert count(votes=500) == sum(b["vote_count"] >= 500 for b in bodies)
    assert count(with_original_language="ko") == sum(b["original_language"] == "ko" for b in bodies)
    assert count(with_genres="18,35") == having(18, 35)
    assert count(with_genres="18|35") == having(18) + having(35) - having(18, 35)
    assert count(without_genres="18") == len(bodies) - having(18)


@pytest.mark.parametrize("sort", ["vote_count", "popularity", "title", "revenue", "vote_average"])
def test_sort_orders_run_both_ways(tmdb: httpx.Client, sort: str) -> None:
    up = discover(tmdb, sort_by=f"{sort}.asc")["results"]
    down = discover(tmdb, sort_by=f"{sort}.desc")["results"]
    if sort != "revenue":
        assert [r[sort] for r in up] == sorted(r[sort] for r in up)
        assert [r[sort] for r in down] == sorted((r[sort] for r in down), reverse=True)
    assert up[0]["id"] != down[0]["id"]


@pytest.mark.parametrize("bad", [{"sort_by": "rating"}, {"with_gernes": "18"}, {"vote_count.gte": "many"}])
def test_what_it_does_not_know_is_an_error(tmdb: httpx.Client, bad: dict[str, str]) -> None:
    assert tmdb.get("/discover/movie", params=bad).status_code == 400


def test_a_movie_comes_with_what_is_appended(tmdb: httpx.Client, bodies: list[dict[str, Any]]) -> None:
    plain = tmdb.get(f"/movie/{bodies[0]['id']}").json()
    assert "credits" not in plain
    whole = tmdb.get(
        f"/movie/{bodies[0]['id']}", params={"append_to_response": "credits,keywords,release_dates"}
    ).json()
    assert whole["credits"] == bodies[0]["credits"]
    assert whole["keywords"] == {"keywords": []}
    many = ",".join(f"x{n}" for n in range(21))
    assert tmdb.get(f"/movie/{bodies[0]['id']}", params={"append_to_response": many}).json()["status_code"] == 27


def test_errors_carry_tmdbs_codes(tmdb: httpx.Client) -> None:
    missing = tmdb.get("/movie/99")
    assert (missing.status_code, missing.json()["status_code"]) == (404, 34)
    for refused in (
        tmdb.get("/movie/1", headers={"Authorization": "Bearer wrong"}),
        httpx.get(f"{tmdb.base_url}movie/1"),
    ):
        assert (refused.status_code, refused.json()["status_code"]) == (401, 7)


def test_changes_span_at_most_14_days(tmdb: httpx.Client) -> None:
    body = tmdb.get("/movie/changes", params={"start_date": "2020-01-01", "end_date": "2020-01-14"}).json()
    assert body["total_results"] == len(body["results"]) > 0
    assert set(body["results"][0]) == {"id", "adult"}
    wide = tmdb.get("/movie/changes", params={"start_date": "2020-01-01", "end_date": "2020-02-01"})
    assert (wide.status_code, wide.json()["status_code"]) == (422, 20)


def test_genres_have_names(tmdb: httpx.Client) -> None:
    assert {"id": 18, "name": "Drama"} in tmdb.get("/genre/movie/list").json()["genres"]


def test_over_the_rate_it_answers_429(bodies: list[dict[str, Any]]) -> None:
    with serving(bodies[:5], rate=10) as url, httpx.Client(headers={"Authorization": "Bearer x"}) as client:
        codes = [client.get(f"{url}/movie/{bodies[0]['id']}").status_code for _ in range(15)]
    assert codes[:10] == [200] * 10
    assert set(codes[10:]) == {429}


def test_faults_are_of_every_kind(bodies: list[dict[str, Any]]) -> None:
    seen = set()
    with serving(bodies[:5], faults=1.0) as url, httpx.Client(headers={"Authorization": "Bearer x"}) as client:
        for _ in range(60):
            try:
                response = client.get(f"{url}/movie/{bodies[0]['id']}")
                seen.add("html" if "html" in response.text else str(response.status_code))
            except httpx.RemoteProtocolError:
                seen.add("cut")
    assert seen == {"500", "503", "429", "html", "cut"}


def test_it_serves_files_from_the_shell(bodies: list[dict[str, Any]], tmp_path: Path) -> None:
    plain = write_jsonl(tmp_path / "a.jsonl", bodies[:3])
    packed = tmp_path / "b.jsonl.gz"
    packed.write_bytes(gzip.compress(write_jsonl(tmp_path / "b.jsonl", bodies[2:5]).read_bytes()))
    command = [sys.executable, "-m", "sample.tmdb_server", "--port", "0", str(plain), str(packed)]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        url = server.stdout.readline().strip()
        try:
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/3", url)
            found = httpx.get(f"{url}/discover/movie", headers={"Authorization": "Bearer x"}).json()
            assert found["total_results"] == 5
        finally:
            server.terminate()


@pytest.mark.recorded
def test_answers_have_the_keys_that_tmdb_recorded(tmdb: httpx.Client) -> None:
    recorded = json.loads((RECORDED / "tmdb-api" / "recorded" / "discover-movie-page-2022-11.json").read_text())
    ours = discover(tmdb)
    assert set(ours) == set(recorded)
    assert set(recorded["results"][0]) - {"backdrop_path"} <= set(ours["results"][0])
    for name, http, response in (
        ("error-401-invalid-key", 401, tmdb.get("/movie/1", headers={"Authorization": "Bearer no"})),
        ("error-400-page-over-500", 400, tmdb.get("/discover/movie", params={"page": 501})),
        ("error-404-not-found", 404, tmdb.get("/movie/1")),
    ):
        theirs = json.loads((RECORDED / "tmdb-api" / "recorded" / f"{name}.json").read_text())
        assert response.status_code == http
        assert {k: response.json()[k] for k in ("status_code", "status_message")} == {
            k: theirs[k] for k in ("status_code", "status_message")
        }
