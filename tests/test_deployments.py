"""A real Prefect server, a worker and the deployments of prefect.yaml, on loopback."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import optuna
import psutil
import pytest
from conftest import free_port
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from settings import PROJECT, Settings, get_settings

DOCKER_POOL = "deploy/docker-pool.json"
PREFECT = str(Path(sys.executable).with_name("prefect"))


def stop(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory, postgres: str) -> Iterator[dict[str, str]]:
    """The environment of a running server with a worker on the pool of prefect.yaml; studies lie on PostgreSQL."""
    home = tmp_path_factory.mktemp("prefect")
    port = free_port()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")} | {
        **{name.upper(): "" for name in Settings.model_fields},
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_LOGGING_SERVER_LEVEL": "ERROR",
        "PREFECT_EXPERIMENTAL_EVENTS": "true",
        "PREMIERE_TAG": "none",
        "STORE_URI": str(home / "store"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{home}/mlflow.db",
        "WAREHOUSE_URL": f"sqlite:///{home}/warehouse.db",
        "OPTUNA_STORAGE": postgres,
        "BENTOML_HOME": str(home / "bentos"),
    }
    log = (home / "log").open("wb")
    server = subprocess.Popen(
        [PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(port)],
        env=environment, stdout=log, stderr=log, start_new_session=True,
    )  # fmt: skip
    worker = None
    try:
        deadline = time.monotonic() + 300
        while True:
            try:
                if httpx.get(f"http://127.0.0.1:{port}/api/health").status_code == 200:
                    break
            except httpx.TransportError:
                assert time.monotonic() < deadline, (home / "log").read_text()
            time.sleep(0.5)
        run(environment, "work-pool", "create", "premiere", "--type", "process")
        run(environment, "work-pool", "create", "docker", "--type", "docker", "--base-job-template", DOCKER_POOL)
        run(environment, "--no-prompt", "deploy", "--all")
        worker = subprocess.Popen(
            [PREFECT, "worker", "start", "--pool", "premiere"],
            env=environment, cwd=home, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        yield environment
    finally:
        if worker:
            stop(worker)
        stop(server)
        log.close()


def run(environment: dict[str, str], *arguments: str, timeout: int = 240) -> str:
    done = subprocess.run(
        [PREFECT, *arguments], env=environment, cwd=PROJECT, capture_output=True, text=True, timeout=timeout
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_everything_of_prefect_yaml_is_deployed(prefect: dict[str, str]) -> None:
    url = f"{prefect['PREFECT_API_URL']}/deployments/filter"
    deployed = {d["name"] + " " + d["entrypoint"]: d for d in httpx.post(url, json={}).json()}
    collect = deployed["daily flows/collect.py:collect_movies"]
    assert collect["schedules"][0]["schedule"] == {"cron": "0 5 * * *", "timezone": "UTC", "day_or": True}
    assert collect["tags"] == ["premiere", "collect"]
    assert collect["description"]
    parameters = {"start", "end", "min_votes", "source", "max_refused", "years", "history_a_day", "as_of"}
    assert set(collect["parameter_openapi_schema"]["properties"]) == parameters
    active = {d["name"] + " " + d["entrypoint"] for d in deployed.values() for s in d["schedules"] if s["active"]}
    assert active == {"daily flows/pipeline.py:run_pipeline"}  # two clocks for one day's work would run it twice
    assert not any(re.search(r"\d{4}-\d\d-\d\d", json.dumps(d["parameters"])) for d in deployed.values())
    assert not any("default" in json.dumps(p) and "202" in json.dumps(p) for p in [collect["parameter_openapi_schema"]])
    assert {"daily flows/train.py:train_model", "manual flows/promote.py:promote_model"} <= set(deployed)
    assert {"manual flows/rollback.py:rollback_model", "manual flows/ship.py:ship_model"} <= set(deployed)
    backfill = deployed["backfill flows/collect.py:collect_movies"]
    assert backfill["schedules"] == []
    imdb = deployed["weekly flows/collect_imdb.py:collect_imdb"]
    assert imdb["schedules"][0]["active"] is False


def test_every_deployment_carries_the_commit_and_words_and_bounds_of_its_parameters(prefect: dict[str, str]) -> None:
    deployed = httpx.post(f"{prefect['PREFECT_API_URL']}/deployments/filter", json={}).json()
    commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=PROJECT, capture_output=True, text=True)
    assert {d["version"] for d in deployed} == {commit.stdout.strip()}
    assert all(d["enforce_parameter_schema"] for d in deployed)
    for deployment in deployed:
        for name, told in deployment["parameter_openapi_schema"]["properties"].items():
            assert told["description"], (deployment["name"], name)
    (train, *_) = [d for d in deployed if d["entrypoint"] == "flows/train.py:train_model"]
    assert train["parameter_openapi_schema"]["properties"]["trials"]["minimum"] == 1


def asked_for(api: str) -> list[str]:
    """The flow runs that somebody asked for; a schedule's own come as the server gets to them."""
    runs = httpx.post(f"{api}/flow_runs/filter", json={"sort": "ID_DESC"}).json()
    return [run["id"] for run in runs if not run["auto_scheduled"]]


@pytest.mark.parametrize("wrong", ["start=banana", "trials=0", "minutes=soon", "banana=1", 'ship_to=["moon"]'])
def test_a_run_with_a_wrong_or_unknown_parameter_is_refused_at_once(prefect: dict[str, str], wrong: str) -> None:
    api = prefect["PREFECT_API_URL"]
    before = asked_for(api)
    command = [PREFECT, "deployment", "run", "premiere/daily", "-p", wrong]
    done = subprocess.run(command, env=prefect, cwd=PROJECT, capture_output=True, text=True, timeout=120)
    assert done.returncode, done.stdout
    assert wrong.split("=")[0] in done.stdout + done.stderr
    assert asked_for(api) == before
    assert "Traceback" not in done.stdout + done.stderr


def test_a_triggered_run_completes_and_leaves_its_movies(prefect: dict[str, str]) -> None:
    parameters = ["-p", 'start="2024-01-01"', "-p", 'end="2024-12-31"']
    run(prefect, "deployment", "run", "collect-movies/daily", *parameters, "--watch", "--watch-timeout", "200")
    runs = httpx.post(f"{prefect['PREFECT_API_URL']}/flow_runs/filter", json={"sort": "START_TIME_DESC"}).json()
    finished = [r for r in runs if r["state_type"] == "COMPLETED"]
    assert finished, [(r["name"], r["state"]["type"], r["state"]["message"]) for r in runs][:5]
    assert finished[0]["name"].startswith("collect sample from 2024-01-01 until 2024-12-31 as of 20")
    manifests = list((Path(prefect["STORE_URI"]) / "sample" / "movies").rglob("2024-01-01_2024-12-31_votes20.json"))
    assert len(manifests) == 1
    assert json.loads(manifests[0].read_text())["rows"] > 100
    artifacts = httpx.post(f"{prefect['PREFECT_API_URL']}/artifacts/latest/filter", json={}).json()
    found = {a["key"]: a for a in artifacts}
    assert {"collect-sample", "gap-report-sample"} <= set(found)
    assert "gap-report-sample" in found["collect-sample"]["description"]


SPAN = ["-p", 'start="2012-01-01"', "-p", 'end="2026-06-30"']


def flow_run(environment: dict[str, str], run_id: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{environment['PREFECT_API_URL']}/flow_runs/{run_id}").json()
    return found


def begin(environment: dict[str, str], deployment: str, *arguments: str) -> str:
    """Start a run of a deployment and return its id."""
    said = run(environment, "deployment", "run", deployment, *arguments)
    return re.search(r"UUID: (\S+)", said)[1]  # type: ignore[index]


def wait_for(environment: dict[str, str], run_id: str, *states: str, seconds: int = 240) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while (found := flow_run(environment, run_id))["state"]["type"] not in states:
        assert found["state"]["type"] not in ("FAILED", "CRASHED"), found["state"]["message"]
        assert time.monotonic() < deadline, found["state"]
        time.sleep(0.5)
    return found


@pytest.mark.timeout(900)
def test_three_workers_tune_one_study_then_a_person_approves_the_promotion(
    prefect: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(prefect, "deployment", "run", "collect-movies/backfill", *SPAN, "--watch", "--watch-timeout", "200")
    asked = ["-p", "trials=6", "-p", 'as_of="2026-06-30"']
    workers = [begin(prefect, "tune-worker/manual", *asked) for _ in range(3)]
    for worker in workers:
        wait_for(prefect, worker, "COMPLETED", seconds=400)
    storage = prefect["OPTUNA_STORAGE"].replace("postgresql://", "postgresql+psycopg://")
    (name,) = [n for n in optuna.get_all_study_names(storage) if n.startswith("movie-rating-")]
    states = Counter(trial.state.name for trial in optuna.load_study(study_name=name, storage=storage).get_trials())
    assert states["COMPLETE"] + states["PRUNED"] == 6
    assert states["RUNNING"] == 0

    wait_for(prefect, begin(prefect, "train-model/daily", *asked), "COMPLETED")
    assert optuna.load_study(study_name=name, storage=storage).trials[-1].number == max(
        sum(states.values()) - 1, 5
    )  # train-model found the six trials done
    promotion = begin(prefect, "promote-model/manual", "-p", "require_approval=true")
    paused = wait_for(prefect, promotion, "PAUSED")
    assert paused["state"]["name"] == "Suspended"
    mlflow = MlflowClient(prefect["MLFLOW_TRACKING_URI"])
    with pytest.raises(MlflowException):  # nothing moves before somebody says yes
        mlflow.get_model_version_by_alias("movie-rating", "champion")
    answer = httpx.post(
        f"{prefect['PREFECT_API_URL']}/flow_runs/{promotion}/resume",
        json={"run_input": {"approve": True, "reason": "looks right"}},
    )
    assert answer.json()["status"] == "ACCEPT"
    wait_for(prefect, promotion, "COMPLETED")
    assert mlflow.get_model_version_by_alias("movie-rating", "champion").version == 1
    ledger = sorted((Path(prefect["STORE_URI"]) / "ledger" / "movie-rating").iterdir())
    assert [json.loads(path.read_text())["event"] for path in ledger] == ["moving", "promoted"]
    artifacts = httpx.post(f"{prefect['PREFECT_API_URL']}/artifacts/latest/filter", json={}).json()
    assert {"promotion", "ledger", "model-against-baselines"} <= {artifact["key"] for artifact in artifacts}


SHARE = """
import asyncio, time
from tasks.data.shared_rate import SharedRate
async def main():
    shared = SharedRate(at_once=10)
    await shared.permit()
    print(time.time(), flush=True)
    for _ in range(29):
        await shared.permit()
    print(time.time(), flush=True)
asyncio.run(main())
"""


def test_two_runs_that_ask_at_once_share_one_rate(prefect: dict[str, str]) -> None:
    command = "from tasks.data.shared_rate import make_shared_rate; make_shared_rate(100); make_shared_rate(10)"
    subprocess.run([sys.executable, "-c", command], env=prefect, cwd=PROJECT, check=True)
    both = [
        subprocess.Popen([sys.executable, "-c", SHARE], env=prefect, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    times = [float(line) for process in both for line in process.communicate(timeout=60)[0].split()]
    assert len(times) == 4
    # 60 permits at 10 a second, the first 20 (of the limit's slots) and each one's last at once.
    assert max(times) - min(times) > (60 - 20 - 20) / 10 * 0.8


def test_a_run_lost_in_pending_frees_its_pool_and_a_webhook_hears_of_it(prefect: dict[str, str]) -> None:
    heard: list[Any] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    hook = HTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=hook.serve_forever, daemon=True).start()
    secret = f"http://127.0.0.1:{hook.server_port}/secret-path"
    command = [sys.executable, "-m", "tasks.operations.automations", "--pending-seconds", "10"]
    for _ in range(2):  # the second time they are brought up to date, not doubled
        done = subprocess.run(
            command, env=prefect | {"ALERT_WEBHOOK_URL": secret}, cwd=PROJECT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-2000:]
    api = prefect["PREFECT_API_URL"]
    automations = httpx.post(f"{api}/automations/filter", json={}).text
    assert automations.count("premiere: free runs lost in Pending") == 1
    assert "secret-path" not in automations

    deployment = httpx.get(f"{api}/deployments/name/collect-movies/daily").json()["id"]
    scheduled = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2099-01-01T00:00:00Z"}}
    lost = httpx.post(f"{api}/deployments/{deployment}/create_flow_run", json={"state": scheduled}).json()["id"]
    pending = httpx.post(f"{api}/flow_runs/{lost}/set_state", json={"state": {"type": "PENDING"}, "force": True})
    assert pending.json()["status"] == "ACCEPT"
    deadline = time.monotonic() + 60
    while (state := flow_run(prefect, lost)["state"])["type"] != "CRASHED":
        assert time.monotonic() < deadline, state
        time.sleep(0.5)
    assert "did not start within 10 s" in state["message"]
    while not heard:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert "collect-movies" in heard[0]["text"]
    assert "Crashed" in heard[0]["text"]
    assert f"/flow-runs/flow-run/{lost}" in heard[0]["text"]
    hook.shutdown()


def schedule(environment: dict[str, str], deployment: str, when: datetime, **parameters: Any) -> str:
    """Let a run be due at a moment; return its id."""
    api, due = environment["PREFECT_API_URL"], {"scheduled_time": when.isoformat()}
    asked = {"parameters": parameters, "state": {"type": "SCHEDULED", "state_details": due}}
    found = httpx.get(f"{api}/deployments/name/{deployment}").json()
    return str(httpx.post(f"{api}/deployments/{found['id']}/create_flow_run", json=asked).json()["id"])


@pytest.mark.timeout(1200)
def test_a_daily_run_that_died_is_gone_on_with_and_missed_days_cost_one_run(prefect: dict[str, str]) -> None:
    """The worker dies with its run, so that nobody tells Prefect; three days later all of them are due at once."""
    now, small = datetime.now(UTC), {"start": "2016-01-01", "end": "2026-12-31", "trials": 3}
    # Another test let runs start within seconds, or not at all: a busy machine takes longer.
    usual = [sys.executable, "-m", "tasks.operations.automations"]
    subprocess.run(usual, env=prefect, cwd=PROJECT, check=True, capture_output=True)
    died = schedule(prefect, "premiere/daily", now - timedelta(days=12), **small)
    wait_for(prefect, died, "RUNNING")
    claims = Path(prefect["STORE_URI"]) / "locks" / f"daily-{get_settings().model_name}"
    while not any(died in claim.read_text() for claim in claims.glob("*.json")):
        time.sleep(0.1)
    killed: list[int] = []
    while not killed:
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("PREFECT__FLOW_RUN_ID") == died and process.pid not in killed:
                    killed.append(process.pid)
    family = [one for pid in killed for one in [*psutil.Process(pid).children(recursive=True), psutil.Process(pid)]]
    worker = next(p for one in family for p in one.parents() if "worker" in p.cmdline())
    for one in [worker, *family]:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    assert flow_run(prefect, died)["state"]["type"] == "RUNNING"
    days = [schedule(prefect, "premiere/daily", now - timedelta(days=n), **small) for n in (11, 10, 9)]
    again = subprocess.Popen(
        [PREFECT, "worker", "start", "--pool", "premiere"],
        env=prefect, cwd=prefect["PREFECT_HOME"], start_new_session=True,
    )  # fmt: skip
    try:
        ended = [wait_for(prefect, run, "COMPLETED", seconds=900)["state"] for run in days]
    finally:
        stop(again)
    assert [state["name"] for state in ended] == ["Overtaken", "Overtaken", "Completed"]
    dead = flow_run(prefect, died)["state"]
    assert dead["type"] == "CRASHED"
    assert "its process is gone" in dead["message"]
    artifacts = httpx.post(f"{prefect['PREFECT_API_URL']}/artifacts/latest/filter", json={}).json()
    (steps,) = [json.loads(artifact["data"]) for artifact in artifacts if artifact["key"] == "daily"]
    assert {step["step"]: step["outcome"] for step in steps} == dict.fromkeys(
        ("collect", "train", "promote", "predict", "ask", "tidy up"), "done"
    )
    day = str((now - timedelta(days=9)).date())  # each step is of the run's own day
    store = Path(prefect["STORE_URI"]) / "sample"
    assert list((store / "movies" / day).glob("*.json"))
    assert (store / "upcoming" / f"{day}.parquet").exists()
