"""The built service in environments of its own: token, limits, record, TMDB, and a registry that is followed."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import FULL, World, another, another_version, case, predict, serving_app

from sample import tmdb_server
from serving.tmdb import Tmdb
from settings import PROJECT
from tasks.registry import versions as registry


def test_a_token_guards_all_but_health_and_the_limit_holds(world: World) -> None:
    with another(world, SERVICE_API_TOKEN="a-secret", SERVICE_PER_MINUTE="12") as url:
        assert httpx.get(f"{url}/health").status_code == 200
        assert httpx.get(f"{url}/ready").status_code == 200
        for header in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic a-secret"}):
            response = httpx.post(f"{url}/predict", json={"movie": FULL}, headers=header)
            assert response.status_code == 401
            assert "a-secret" not in response.text
        header = {"Authorization": "Bearer a-secret"}
        statuses = [httpx.get(f"{url}/model/info", headers=header).status_code for _ in range(20)]
        assert statuses[0] == 200
        assert statuses[-1] == 429
        refused = httpx.get(f"{url}/model/info", headers=header | {"X-Forwarded-For": "198.51.100.1"})
        assert refused.status_code == 429  # no proxy is named: nobody is believed, on loopback neither
        assert 1 <= int(refused.headers["retry-after"]) <= 5


def test_each_caller_behind_a_named_proxy_has_a_limit_of_its_own(world: World) -> None:
    with another(world, SERVICE_PER_MINUTE="2", SERVICE_PROXIES="127.0.0.0/8,10.0.0.0/8") as url:
        for address in ("198.51.100.1", "198.51.100.2:4711", "1.2.3.4, 198.51.100.3, 10.0.0.9"):
            forwarded = {"X-Forwarded-For": address}
            statuses = [httpx.get(f"{url}/model/info", headers=forwarded).status_code for _ in range(3)]
            assert statuses == [200, 200, 429]
        other = {"X-Forwarded-For": "203.0.113.5, 198.51.100.1"}  # what the client wrote before
        assert httpx.get(f"{url}/model/info", headers=other).status_code == 429


def test_predictions_and_feedback_are_recorded_and_a_dead_database_costs_nothing(world: World, tmp_path: Path) -> None:
    database = tmp_path / "warehouse.db"
    with another(world, RECORD_PREDICTIONS="true", WAREHOUSE_URL=f"sqlite:///{database}") as url:
        answer = predict(url, FULL).json()
        httpx.post(f"{url}/predict/batch", json={"movies": [FULL, {"title": "y"}]})
        given = httpx.post(f"{url}/feedback", json={"id": answer["id"], "rating": 7.1})
        assert given.json() == {"recorded": True}
        again = [httpx.post(f"{url}/feedback", json={"id": answer["id"], "rating": 7.1}) for _ in range(2)]
        assert [one.json() for one in again] == [{"recorded": True}] * 2
        assert httpx.post(f"{url}/feedback", json={"id": "0" * 32, "rating": 7.1}).status_code == 404
        deadline = time.monotonic() + 20
        while True:
            try:
                rows = sqlite3.connect(database).execute("select id, route, rating, sha256 from predictions").fetchall()
                votes = sqlite3.connect(database).execute("select prediction, rating from feedback").fetchall()
            except sqlite3.OperationalError:
                rows = []
            if len(rows) == 3 and votes:
                break
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert (answer["id"], "predict", answer["rating"], answer["model"]["sha256"]) in rows
        assert votes == [(answer["id"], 7.1)]
        httpx.post(f"{url}/predict", json={"movie": FULL, "record": False}).raise_for_status()
        last = predict(url, FULL).json()["id"]
    rows = sqlite3.connect(database).execute("select id from predictions").fetchall()
    assert len(rows) == 4  # the what-if is none of them
    assert (last,) in rows  # a service that is stopped writes what it still has
    dead = "postgresql://nobody@127.0.0.1:1/none"
    with another(world, RECORD_PREDICTIONS="true", WAREHOUSE_URL=dead) as url:
        answers = [predict(url, FULL) for _ in range(20)]
        assert all(answer.status_code == 200 for answer in answers)
        waits = answers[-1].json()["id"]  # in vain
        for refused in (
            *(
                httpx.post(f"{url}/feedback", json={"id": name, "rating": 5.0}, timeout=30)
                for name in ("0" * 32, waits)
            ),
            httpx.get(f"{url}/upcoming", timeout=30),
        ):
            assert refused.status_code == 503
            assert refused.json()["errors"][0]["field"] == "warehouse"
            assert "nobody" not in refused.text


@pytest.mark.recorded
def test_the_recorded_feedback_is_of_no_prediction(world: World, tmp_path: Path) -> None:
    recorded = case("16-feedback-unknown-id")
    with another(world, RECORD_PREDICTIONS="true", WAREHOUSE_URL=f"sqlite:///{tmp_path}/w.db") as url:
        answer = httpx.post(f"{url}{recorded['POST']}", json=recorded["body"])
        assert answer.status_code == 404
        assert answer.json()["errors"][0]["field"] == "id"


class Callers:
    """An application, and the ports that it was asked from: one for each connection."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.ports: list[int] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            self.ports.append(scope["client"][1])
        await self.app(scope, receive, send)


def test_tmdb_is_asked_over_one_connection_until_it_is_closed(bodies: list[dict[str, Any]]) -> None:
    async def ask(url: str) -> None:
        tmdb = Tmdb(url, "token")
        for body in bodies[:3]:
            movie, facts, voted = await tmdb.look_up(body["id"])
            assert (movie.title, facts["title"], voted.vote_count) == (body["title"], body["title"], body["vote_count"])
        await tmdb.close()
        with pytest.raises(RuntimeError, match="closed"):
            await tmdb.look_up(bodies[0]["id"])

    callers = Callers(tmdb_server.app(tmdb_server.Catalogue(bodies)))
    with serving_app(callers) as url:
        asyncio.run(ask(url))
    assert len(callers.ports) == 3
    assert len(set(callers.ports)) == 1


def test_a_movie_by_its_id_is_fetched_and_its_voters_are_heard(world: World, bodies: list[dict[str, Any]]) -> None:
    body = next(body for body in bodies if body["vote_count"] > 100)
    callers = Callers(tmdb_server.app(tmdb_server.Catalogue(bodies)))
    with serving_app(callers) as tmdb, another(world, TMDB_API_TOKEN="token", TMDB_BASE_URL=tmdb) as url:
        answer = httpx.post(f"{url}/predict/tmdb", json={"id": body["id"], "reasons": True}, timeout=30).json()
        assert answer["movie"]["title"] == body["title"]
        assert answer["tmdb"] == {
            "released": True,
            "vote_average": body["vote_average"],
            "vote_count": body["vote_count"],
        }
        assert answer["prediction"]["reasons"]
        missing = httpx.post(f"{url}/predict/tmdb", json={"id": 99_999_999})
        assert missing.status_code == 404
        assert "TMDB has no movie 99999999" in missing.json()["error"]
        assert len(callers.ports) == 2
        assert len(set(callers.ports)) == 1  # the connection is kept
    with another(world, TMDB_API_TOKEN="token", TMDB_BASE_URL="http://127.0.0.1:1/3") as url:
        unreachable = httpx.post(f"{url}/predict/tmdb", json={"id": 1})
        assert unreachable.status_code == 424
        assert "no usable answer" in unreachable.json()["error"]


def test_a_service_without_a_tmdb_token_says_that_it_is_its_own_lack(service: str) -> None:
    answer = httpx.post(f"{service}/predict/tmdb", json={"id": 550})
    assert answer.status_code == 424
    assert "TMDB_API_TOKEN" in answer.json()["error"]
    assert "/predict" in answer.json()["errors"][0]["remedy"]


def test_a_new_champion_is_taken_over_without_a_failed_or_mixed_answer(copied_world: World) -> None:
    """The alias moves while clients ask; the next champion that does not answer as registered is refused."""
    first, second, third = registry.find(registry.CHAMPION), another_version(), another_version()
    registry.tag_version(third, {"sha256": "0" * 64})  # what lies there is not what was registered
    answers: Counter[tuple[int, str]] = Counter()
    stop = threading.Event()
    home = {"FOLLOW_REGISTRY": "true", "PROJECT_HOME": str(PROJECT), "PYTHONPATH": ""}
    with another(copied_world, **home) as url:

        def ask() -> None:
            with httpx.Client(base_url=url, timeout=30) as client:
                while not stop.is_set():
                    answer = client.post("/predict", json={"movie": FULL})
                    version = answer.json()["model"]["version"] if answer.status_code == 200 else answer.text
                    answers[answer.status_code, version] += 1

        clients = [threading.Thread(target=ask) for _ in range(4)]
        for client in clients:
            client.start()
        try:
            registry.set_alias(registry.CHAMPION, second)
            info = wait_until(url, lambda info: info["version"] == second.label)
            told = {"state": "watching", "took over": second.label, "from": first.label}
            assert told.items() < info["following"].items()
            assert info["following"].keys() - told.keys() == {"since"}
            registry.set_alias(registry.CHAMPION, third)
            info = wait_until(url, lambda info: "why" in info["following"])
            assert info["version"] == second.label
            assert "registered was 000" in info["following"]["why"]
        finally:
            stop.set()
            for client in clients:
                client.join()
    assert set(answers) == {(200, first.label), (200, second.label)}, answers


def wait_until(url: str, condition: Any) -> dict[str, Any]:
    deadline = time.monotonic() + 90
    while not condition(info := httpx.get(f"{url}/model/info", timeout=30).json()):
        assert time.monotonic() < deadline, info
        time.sleep(0.3)
    return dict(info)
