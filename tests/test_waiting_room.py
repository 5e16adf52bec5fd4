"""The stack before its first champion: what is waited for, asked of a real Prefect server, and who is told of it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import free_port, serving_app
from playwright.sync_api import Browser, expect

from settings import PROJECT
from tasks.operations import progress
from tasks.operations.beginning import POOL, begin, deploy_changes, tell_lost_runs
from tasks.operations.progress import Away, Prefect, champion, words
from tasks.operations.waiting_room import Room


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prefect server's API, of this module's own."""
    home, port = tmp_path_factory.mktemp("prefect"), free_port()
    url = f"http://127.0.0.1:{port}/api"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    environment |= {"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    # Its own services would call runs late and send them on their way.
    environment |= {
        "PREFECT_API_SERVICES_SCHEDULER_ENABLED": "false",
        "PREFECT_API_SERVICES_LATE_RUNS_ENABLED": "false",
    }
    prefect = str(Path(sys.executable).with_name("prefect"))
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [prefect, "server", "start", "--port", str(port)],
            env=environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + 120
        while True:
            try:
                if httpx.get(f"{url}/health", timeout=5).status_code == 200:
                    break
            except httpx.TransportError:
                assert process.poll() is None, (home / "log").read_text()[-2000:]
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield url
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


class Daily:
    """The deployment premiere/daily on a server, whose runs are what a test says."""

    def __init__(self, api: str) -> None:
        self.api = api
        self.flow = self.post("flows/", {"name": "premiere"})["id"]
        if httpx.get(f"{api}/work_pools/{POOL}").status_code == 404:
            self.post("work_pools/", {"name": POOL, "type": "process"})
        self.id = self.post("deployments/", {"name": "daily", "flow_id": self.flow, "work_pool_name": POOL})["id"]

    def post(self, path: str, body: Any) -> Any:
        answer = httpx.post(f"{self.api}/{path}", json=body, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def run(self, state: str, name: str = "premiere today") -> str:
        run = self.post(f"deployments/{self.id}/create_flow_run", {"name": name, "state": {"type": "SCHEDULED"}})["id"]
        self.turn(run, state)
        return str(run)

    def turn(self, run: str, state: str, message: str = "") -> None:
        if state == "PAUSED":
            self.turn(run, "RUNNING")
        told = {"state": {"type": state, "message": message}, "force": True}
        assert self.post(f"flow_runs/{run}/set_state", told)["status"] == "ACCEPT"

    def step(self, parent: str, name: str) -> str:
        """A flow that runs inside a run."""
        flow = self.post("flows/", {"name": name.split()[0]})["id"]
        facts = {"name": name, "flow_id": flow, "parent_task_run_id": self.task(parent, "call")}
        run = self.post("flow_runs/", facts | {"state": {"type": "SCHEDULED"}})["id"]
        self.turn(run, "RUNNING")
        return str(run)

    def task(self, run: str, name: str) -> str:
        facts = {"flow_run_id": run, "task_key": name, "dynamic_key": "0", "name": name}
        return str(self.post("task_runs/", facts | {"state": {"type": "RUNNING"}})["id"])


@pytest.fixture
def daily(server: str) -> Iterator[Daily]:
    """An empty record of the daily run."""
    daily = Daily(server)
    yield daily
    httpx.delete(f"{server}/deployments/{daily.id}").raise_for_status()
    for run in daily.post("flow_runs/filter", {"limit": 200}):
        httpx.delete(f"{server}/flow_runs/{run['id']}").raise_for_status()


def test_before_anything_is_deployed_the_servers_are_starting(server: str) -> None:
    assert Prefect(server).first_champion() == {"state": "starting"}
    with pytest.raises(LookupError, match="premiere/daily is not deployed"):
        begin(Prefect(server))


def test_the_innermost_step_and_its_task_are_what_is_waited_for(daily: Daily) -> None:
    prefect = Prefect(daily.api)
    outer = daily.run("RUNNING")
    assert prefect.first_champion()["step"] == "premiere today"
    inner = daily.step(outer, "train sample as of 2026-11-28")
    daily.task(inner, "tune")
    waiting = prefect.first_champion()
    assert (waiting["state"], waiting["step"], waiting["task"]) == ("running", "train sample as of 2026-11-28", "tune")
    assert words(waiting) == "no champion yet: premiere/daily is at 'train sample as of 2026-11-28', 'tune'"
    daily.turn(inner, "COMPLETED")
    assert prefect.first_champion()["step"] == "premiere today"


def test_a_run_that_waits_for_a_worker_or_a_person_or_ended_is_told_as_such(daily: Daily) -> None:
    prefect = Prefect(daily.api)
    run = daily.run("PENDING")
    assert prefect.first_champion() == {"state": "scheduled"}
    daily.turn(run, "PAUSED")
    assert prefect.first_champion() == {"state": "paused", "step": "premiere today"}
    daily.turn(run, "FAILED", "no movie came\nTraceback")
    assert prefect.first_champion() == {"state": "ended", "why": "Failed: no movie came"}
    coming = daily.run("SCHEDULED")
    assert prefect.first_champion() == {"state": "scheduled"}  # somebody asked for another one
    daily.turn(coming, "CANCELLED")
    assert prefect.first_champion()["state"] == "ended"


def test_the_first_run_is_started_once_and_again_where_it_died(daily: Daily) -> None:
    prefect = Prefect(daily.api)
    assert begin(prefect)
    assert begin(prefect) is None
    (first,) = prefect.runs(["SCHEDULED"], deployments=[daily.id])
    for state in ("PENDING", "RUNNING", "PAUSED"):
        daily.turn(first["id"], state)
        assert begin(prefect) is None
    daily.turn(first["id"], "CRASHED")
    assert begin(prefect)
    (second,) = prefect.runs(["SCHEDULED"], deployments=[daily.id])
    daily.turn(second["id"], "COMPLETED")
    assert begin(prefect) is None


def test_a_day_that_nobody_was_there_for_has_its_run_once(daily: Daily) -> None:
    prefect = Prefect(daily.api)
    every_minute = {"schedule": {"cron": "* * * * *", "timezone": "UTC"}, "active": True}
    due = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2026-01-02T05:00:00Z"}}
    yesterday = daily.post(f"deployments/{daily.id}/create_flow_run", {"state": due})["id"]
    daily.turn(yesterday, "COMPLETED")
    assert begin(prefect) is None  # it has no schedule
    schedule = daily.post(f"deployments/{daily.id}/schedules", [every_minute])[0]["id"]
    name = begin(prefect, {"trials": 2})
    assert name
    assert begin(prefect) is None
    (missed,) = [run for run in prefect.runs(["SCHEDULED"], limit=9) if run["name"] == name]
    assert missed["parameters"] == {}  # those of the first run are for that alone
    daily.turn(missed["id"], "FAILED")
    httpx.patch(f"{daily.api}/deployments/{daily.id}/schedules/{schedule}", json={"active": False}).raise_for_status()
    assert begin(prefect) is None  # a person took the schedule away


def test_what_is_deployed_is_deployed_again_only_where_it_has_changed(
    daily: Daily, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefect, commands = Prefect(daily.api), []
    monkeypatch.setattr(subprocess, "run", lambda command, **_: commands.append(command[1:]))
    assert deploy_changes(prefect)
    assert [command[-2:] for command in commands] == [["process", "--overwrite"], commands[1][-2:], ["deploy", "--all"]]
    assert not deploy_changes(prefect)
    monkeypatch.setenv("PREMIERE_TAG", "another image")
    assert deploy_changes(prefect)
    assert not deploy_changes(prefect)
    assert len(commands) == 6


def test_runs_whose_host_is_gone_are_crashed_with_what_ran_inside_them(daily: Daily) -> None:
    prefect = Prefect(daily.api)

    def started_on(host: str) -> str:
        run = daily.run("RUNNING", f"on {host}")
        httpx.patch(f"{daily.api}/flow_runs/{run}", json={"infrastructure_pid": f"{host}:7"}).raise_for_status()
        return run

    here, gone, elsewhere = (started_on(h) for h in (socket.gethostname(), "0123456789ab", "of-somebody-else.invalid"))
    unknown = daily.run("RUNNING", "on nobody knows which")
    inner = daily.step(gone, "train sample")
    told = tell_lost_runs(prefect)
    assert set(told) == {f"on {socket.gethostname()}", "on 0123456789ab", "train sample"}
    states = {run["id"]: run["state_type"] for run in prefect.runs(progress.BEGUN, limit=20)}
    assert [states[run] for run in (here, gone, inner, elsewhere, unknown)] == ["CRASHED"] * 3 + ["RUNNING"] * 2
    assert tell_lost_runs(prefect) == []


def test_last_runs_and_the_next_one_are_told_by_their_flows(daily: Daily) -> None:
    prefect = Prefect(daily.api)
    assert prefect.next_run() is None
    daily.run("COMPLETED", "yesterday")
    daily.turn(daily.run("RUNNING", "today"), "FAILED", "a disk is full")
    last = prefect.last_runs()["premiere"]
    assert progress.told(last) == "Failed: a disk is full"
    due = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2099-01-01T05:00:00Z"}}
    daily.post("flow_runs/", {"flow_id": daily.flow, "state": due})
    assert prefect.next_run() == ("2099-01-01T05:00:00+00:00", "premiere")


def test_a_server_that_does_not_answer_is_named() -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(Away, match=r"^Prefect does not answer$"):
        Prefect(nobody).first_champion()
    with pytest.raises(Away, match=r"^MLflow does not answer$"):
        champion(nobody, "movie-rating")


@pytest.fixture
def room() -> Iterator[tuple[Room, str]]:
    room = Room()
    with serving_app(room.app) as url:
        yield room, url.removesuffix("/3")


def test_the_room_lives_is_not_ready_and_says_why_to_whoever_asks(room: tuple[Room, str]) -> None:
    inside, url = room
    inside.say({"state": "running", "step": "train sample", "task": "tune"})
    assert httpx.get(f"{url}/health").json() == {"status": "alive"}
    for path in ("/ready", "/readyz"):
        answer = httpx.get(f"{url}{path}")
        assert answer.status_code == 503
        assert answer.json()["waiting"] == inside.waiting
        assert answer.json()["reason"] == words(inside.waiting)
    for answer in (httpx.post(f"{url}/predict", json={"movie": {"title": "x"}}), httpx.get(f"{url}/model/info")):
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "10"
        (error,) = answer.json()["errors"]
        assert (error["field"], error["rule"]) == ("model", words(inside.waiting))
        assert error["remedy"]
    page = httpx.get(url, follow_redirects=True)
    assert page.url.path == "/ui/"
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-cache"


def test_the_page_says_what_it_waits_for_in_both_languages_and_notices_the_model(
    browser: Browser, room: tuple[Room, str]
) -> None:
    inside, url = room
    context = browser.new_context(locale="en-US")
    page = context.new_page()
    page.goto(f"{url}/ui/")
    expect(page.locator("#waiting")).to_have_text("There is no model yet: the servers are starting.")
    inside.say({"state": "running", "step": "train sample", "task": "tune"})
    expect(page.locator("#waiting")).to_contain_text("Now: train sample · tune", timeout=10_000)
    page.click("#lang")
    expect(page.locator("#waiting")).to_contain_text("지금 단계: train sample · tune")
    info = {"name": "movie-rating", "version": "v1", "family": "xgboost", "sha256": "0" * 64, "source": "sample"}
    info |= {"synthetic": True, "trained_at": "2026-11-28T09:00:00", "learned_until": "2026-11-28", "metrics": {}}
    page.route("**/model/info", lambda route: route.fulfill(json=info))
    expect(page.locator("#waiting")).to_be_hidden(timeout=10_000)
    expect(page.locator("#model")).to_contain_text("movie-rating v1")
    context.close()


def test_every_state_has_its_words_here_and_on_the_page() -> None:
    states = set(re.findall(r'"state": "(\w+)"', "".join(
        (PROJECT / "tasks" / "operations" / name).read_text() for name in ("progress.py", "waiting_room.py")
    )))  # fmt: skip
    assert {"running", "found"} <= states
    page = (PROJECT / "web" / "words.js").read_text()
    for state in states:
        assert words({"state": state, "step": "v1", "why": "x"})
        assert page.count(f"wait{state.capitalize()}: ") == 2, state


def test_without_servers_it_says_what_it_needs() -> None:
    environment = os.environ | {"PREFECT_API_URL": "", "MLFLOW_TRACKING_URI": "http://127.0.0.1:1"}
    command = [sys.executable, "-m", "tasks.operations.waiting_room"]
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "must name servers" in done.stderr
