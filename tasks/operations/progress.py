"""What the servers say of the work: the step that runs now, each flow's last run, the next one, the champion.

Asked over HTTP with Python's own library alone, so that `make status` needs no environment. Where a server does not
answer, its question raises Away. A flow that a crash cut off stays Running in Prefect 2: see `beginning`.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from contextlib import suppress
from typing import Any

DAILY = "premiere/daily"
SECONDS = 5
# A run counts by when it was due: those that crashed or never began have no start.
NEWEST, NEXT = "EXPECTED_START_TIME_DESC", "EXPECTED_START_TIME_ASC"
UNDER_WAY = ["RUNNING", "CANCELLING"]
BEGUN = [*UNDER_WAY, "PENDING", "PAUSED", "COMPLETED", "FAILED", "CRASHED", "CANCELLED"]


class Away(RuntimeError):
    """A server does not answer, or not as it should."""


def answer(server: str, url: str, body: Any = None, method: str | None = None) -> tuple[int, Any]:
    """Return the status and the JSON that a server answers; raises Away."""
    sent = None if body is None else json.dumps(body).encode()
    # MLflow takes its name without a port, whichever it was published on.
    headers = {"Content-Type": "application/json", "Host": urllib.parse.urlsplit(url).hostname or ""}
    try:
        request = urllib.request.Request(url, sent, headers, method=method)  # noqa: S310 (http, from our settings)
        with urllib.request.urlopen(request, timeout=SECONDS) as said:  # noqa: S310
            return said.status, json.loads(said.read() or b"null")
    except urllib.error.HTTPError as error:
        with error, suppress(ValueError):
            return error.code, json.loads(error.read())
        return error.code, None
    except (OSError, ValueError, http.client.HTTPException):
        raise Away(f"{server} does not answer") from None


def fetch(server: str, url: str, body: Any = None, absent: tuple[int, ...] = (404,), method: str | None = None) -> Any:
    """Return what a server answers, or None where its status says that there is no such thing; raises Away."""
    status, said = answer(server, url, body, method)
    if status in absent:
        return None
    if status >= 400:
        raise Away(f"{server} answers {status}")
    return said


def champion(mlflow: str, model: str) -> dict[str, Any] | None:
    """Return the registered version that is champion, as MLflow tells it, or None where there is none yet."""
    asked = urllib.parse.urlencode({"name": model, "alias": "champion"})
    # 404 is of a model, 400 of an alias that is not there.
    found = fetch("MLflow", f"{mlflow}/api/2.0/mlflow/registered-models/alias?{asked}", absent=(404, 400))
    return dict(found["model_version"]) if found else None


class Prefect:
    """Questions to a Prefect server's API."""

    def __init__(self, api: str) -> None:
        self.api = api

    def ask(self, path: str, body: Any = None, method: str | None = None) -> Any:
        """Return what the API answers, to GET or, with a body, POST unless told otherwise; raises Away."""
        return fetch("Prefect", f"{self.api}/{path}", body, method=method)

    def runs(self, states: list[str], sort: str = NEWEST, limit: int = 1, **filters: Any) -> list[dict[str, Any]]:
        """Return the flow runs in one of these states, filtered by `deployments`, `flows`, `pools` or `parents`."""
        wanted: dict[str, Any] = {"state": {"type": {"any_": states}}}
        if "parents" in filters:
            wanted["parent_flow_run_id"] = {"any_": filters.pop("parents")}
        others: dict[str, Any] = {"work_pools": {"name": {"any_": filters.pop("pools")}}} if "pools" in filters else {}
        others |= {name: {"id": {"any_": ids}} for name, ids in filters.items()}
        return list(self.ask("flow_runs/filter", {"flow_runs": wanted, "sort": sort, "limit": limit} | others))

    def deployment(self, name: str = DAILY) -> str | None:
        """Return a deployment's id, or None where it is not deployed yet."""
        found = self.ask(f"deployments/name/{name}")
        return str(found["id"]) if found else None

    def last_runs(self) -> dict[str, dict[str, Any]]:
        """Return the last run of each flow that ever ran, by the flow's name."""
        flows = self.ask("flows/filter", {"sort": "NAME_ASC"})
        found = {flow["name"]: self.runs(BEGUN, flows=[flow["id"]]) for flow in flows}
        return {name: runs[0] for name, runs in found.items() if runs}

    def next_run(self) -> tuple[str, str] | None:
        """Return when the next run is due, and the name of its flow; or None where none is scheduled."""
        for run in self.runs(["SCHEDULED"], NEXT):
            return str(run["expected_start_time"]), str(self.ask(f"flows/{run['flow_id']}")["name"])
        return None

    def first_champion(self) -> dict[str, Any]:
        """Say what the first champion waits for: a `state`, and what is known of it (`step`, `task`, `why`, `next`).

        running: a step of the daily run; scheduled: nobody has taken the run yet; paused: it waits for a person; ended:
        the last run brought no champion; starting: nothing is deployed yet.
        """
        deployment = self.deployment()
        if not deployment:
            return {"state": "starting"}
        if running := self.runs(UNDER_WAY, deployments=[deployment]):
            return {"state": "running"} | self._step(running[0])
        if paused := self.runs(["PAUSED"], deployments=[deployment]):
            return {"state": "paused", "step": paused[0]["name"]}
        coming = self.runs(["SCHEDULED"], NEXT, 200, deployments=[deployment])
        if self.runs(["PENDING"], deployments=[deployment]) or not all(run["auto_scheduled"] for run in coming):
            return {"state": "scheduled"}
        if not (ended := self.runs(BEGUN, deployments=[deployment])):
            return {"state": "scheduled"}  # the worker, which deployed it, is about to ask for it
        due = {"next": coming[0]["expected_start_time"]} if coming else {}
        return {"state": "ended", "why": told(ended[0])} | due

    def _step(self, run: dict[str, Any]) -> dict[str, Any]:
        """Return the innermost flow run below a run that runs now, and its task."""
        while inner := self.runs(UNDER_WAY, parents=[run["id"]]):
            run = inner[0]
        running = {"state": {"type": {"any_": ["RUNNING"]}}, "subflow_runs": {"exists_": False}}
        asked = {"task_runs": running, "flow_runs": {"id": {"any_": [run["id"]]}}, "limit": 1}
        tasks = self.ask("task_runs/filter", asked | {"sort": NEWEST})
        step = {"step": run["name"], "since": run["start_time"]}
        return step | ({"task": tasks[0]["name"]} if tasks else {})


def told(run: dict[str, Any]) -> str:
    """Return how a run ended, with its message where it did not end well."""
    message = (run["state"] or {}).get("message") or ""
    state = str(run["state_name"])
    return f"{state}: {message.splitlines()[0][:200]}" if message and state != "Completed" else state


def words(waiting: dict[str, Any]) -> str:
    """Say in a sentence what the first champion waits for."""
    step, task, due = waiting.get("step"), waiting.get("task"), waiting.get("next")
    sentences = {
        "running": f"no champion yet: {DAILY} is at {step!r}" + (f", {task!r}" if task else ""),
        "paused": f"no champion yet: {step!r} waits for a person, who resumes it in Prefect's UI",
        "scheduled": f"no champion yet: {DAILY} waits for the worker to take it",
        "ended": f"no champion yet: the last run of {DAILY} ended, {waiting.get('why')}"
        + (f"; the next is due {due}" if due else ""),
        "starting": "no champion yet: the servers start, and nothing is deployed so far",
        "away": f"no champion is known: {waiting.get('why')}",
        "found": f"{step} is champion: its service starts",
        "refused": f"{step} is champion, and cannot be served: {waiting.get('why')}",
    }
    return sentences[waiting["state"]]
