"""What the built service refuses, over HTTP: with field, rule and remedy, and without a trace in its metrics."""

from __future__ import annotations

import http.client
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import httpx
import pytest
from conftest import FULL, World, another, case, predict


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"budgett": 1}, "budgett"),
        ({"vote_count": 1}, "vote_count"),
        ({"budget": -1}, "budget"),
        ({"budget": "many"}, "budget"),
        ({"runtime": 1e9}, "runtime"),
        ({"release_date": "tomorrow"}, "release_date"),
        ({"release_date": "2024-02-30"}, "release_date"),
        ({"genres": "Drama"}, "genres"),
        ({"cast": [1]}, "cast"),
        ({"title": ""}, "title"),
    ],
)
def test_a_bad_field_is_named_and_is_no_server_error(service: str, change: dict[str, Any], field: str) -> None:
    response = predict(service, FULL | change)
    assert 400 <= response.status_code < 500
    errors = response.json()["errors"]
    assert field in " ".join(error["field"] for error in errors)
    assert all(error["rule"] and error["remedy"] for error in errors)
    assert response.json()["error"]


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"null", b"0", b'"text"', b'{"movie": null}', b"{}", b"\xff\xfe", b"\x00", b"\xc3\x28"),
        *(b'{"movie": {"title": "x", "budget": NaN}}', b'{"movie": {"title": "x", "runtime": 1e999}}'),
        *(b'{"movie": {"title": "\\ud800"}}', b'{"movie": {"title": "x"}} trailing', b'{"movie": [{"title": "x"}]}'),
        *(b"[" * 100_000, b'{"movie":' * 50_000, b'{"movie": {"title": "' + b"x" * 100_000 + b'"}}'),
        *(
            b'{"movie": {"title": "x", "cast": [' + b'"y",' * 600 + b'"y"]}}',
            b'{"level": 2, "movie": {"title": "x"}}',
            b'{"confidence": 0.4, "movie": {"title": "x"}}',
            b'{"confidence": 0.5, "level": 0.8, "movie": {"title": "x"}}',
        ),
        *(b'{"similar": 1.5, "movie": {"title": "x"}}', b'{"reasons": "yes", "movie": {"title": "x"}}'),
    ],
)
@pytest.mark.parametrize("route", ["predict", "predict/batch", "predict/text", "predict/tmdb", "feedback"])
def test_a_hostile_body_is_no_server_error(service: str, route: str, body: bytes) -> None:
    response = httpx.post(f"{service}/{route}", content=body, headers={"Content-Type": "application/json"})
    assert 400 <= response.status_code < 500, response.text[:300]
    assert response.json()["errors"][0].keys() == {"field", "rule", "remedy"}


def test_ten_megabytes_another_type_and_unknown_pages_are_refused(service: str) -> None:
    large = b'{"movie": {"title": "' + b"x" * 10_000_000 + b'"}}'
    kind = {"Content-Type": "application/json"}

    def chunks() -> Iterator[bytes]:
        yield from (large[n : n + 65_536] for n in range(0, len(large), 65_536))

    assert httpx.post(f"{service}/predict", content=large, headers=kind).status_code == 413
    assert httpx.post(f"{service}/predict", content=chunks(), headers=kind).status_code == 413  # no length announced
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "application/vnd.bentoml+pickle", ""):
        response = httpx.post(f"{service}/predict", content=b"{}", headers={"Content-Type": content_type})
        assert response.status_code == 415
        assert "application/json" in response.json()["errors"][0]["remedy"]
    assert httpx.get(f"{service}/no/such/page").status_code == 404
    assert httpx.get(f"{service}/predict").status_code == 405


def test_unknown_keys_beside_the_movie_are_refused(service: str) -> None:
    response = httpx.post(f"{service}/predict", json={"movie": FULL, "modle": 1})
    assert response.status_code == 400
    assert "modle" in response.text


def throw(url: str, paths: Iterable[str], method: str = "GET") -> Counter[int]:
    """Ask for each path on one connection; count the statuses."""
    connection, statuses = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30), Counter[int]()
    for path in paths:
        connection.request(method, path)
        answer = connection.getresponse()
        answer.read()
        statuses[answer.status] += 1
    connection.close()
    return statuses


def series(url: str, **headers: str) -> set[str]:
    """Return the names with labels of all that a service measures."""
    lines = httpx.get(f"{url}/metrics", timeout=5, headers=headers).raise_for_status().text.splitlines()
    return {line.rpartition(" ")[0] for line in lines if not line.startswith("#")}


def test_ten_thousand_paths_and_odd_methods_leave_the_metrics_their_size(service: str) -> None:
    for path in ("/ui/x", "/x", "/static_content/x"):
        throw(service, [path])
    for method in ("GET", "PUT", "OPTIONS", "TRACE"):
        throw(service, ["/x", "/predict", "/ui/x"], method)
    before = series(service)
    assert any('endpoint="/elsewhere"' in name for name in before)
    places = ("/ui/x{}", "/x{}", "/predict/{}", "/static_content/{}", "//{}?q={}")
    assert throw(service, (place.format(n, n) for n in range(2000) for place in places)) == {404: 10_000}
    for method in ("PUT", "OPTIONS", "TRACE", "PROPFIND", "BREW"):
        throw(service, [f"/x{n}" for n in range(20)] if method != "BREW" else ["/x"], method)
    assert series(service) == before


@pytest.mark.recorded
def test_the_recorded_thousand_paths_leave_the_metrics_their_size(service: str, world: World) -> None:
    assert case("09-metrics-cardinality")["right"].startswith("/metrics keeps its size")
    with another(world, SERVICE_API_TOKEN="a-secret") as guarded:
        for url, paths, status in ((service, "/ui/x{}", 404), (guarded, "/anything{}", 401), (guarded, "/ui/x{}", 404)):
            throw(url, [paths.format("")])
            before = series(url, Authorization="Bearer a-secret")
            assert throw(url, (paths.format(n) for n in range(1000))) == {status: 1000}
            assert series(url, Authorization="Bearer a-secret") == before


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_every_route_says_which_methods_it_takes(service: str, method: str) -> None:
    described = httpx.get(f"{service}/openapi.json").json()["paths"]
    taken = {path: {"POST"} if "post" in methods else {"GET", "HEAD"} for path, methods in described.items()}
    for path, takes in (taken | {"/ui/": {"GET", "HEAD"}, "/metrics": {"GET", "HEAD"}}).items():
        if method not in takes:
            answer = httpx.request(method, f"{service}{path}")
            assert answer.status_code == 405
            assert set(answer.headers["allow"].split(", ")) == takes


@pytest.mark.recorded
def test_the_recorded_method_is_answered_with_those_that_are_taken(service: str) -> None:
    recorded = case("17-405-allow")
    answer = httpx.options(f"{service}{recorded['OPTIONS']}")
    assert f"{answer.status_code} with Allow: {answer.headers['allow']}" == recorded["right"]
