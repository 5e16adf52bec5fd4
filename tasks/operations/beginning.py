"""What the stack's worker does before it takes work: make the bucket, deploy, tell which runs died, start a daily run.

Each is done once, however often the worker starts. Deploying takes away the runs that are scheduled and late, and what
a person changed in the UI, so that it is done only where what is deployed has changed; a host that was off when the day
was due has its run when it comes up. Prefect 2 does not notice that a run's process died with its container: it would
stay Running for ever, and nothing would begin in its place.

    python -m tasks.operations.beginning --bucket premiere --trials 20
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import socket
from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.exceptions import ClientError
from croniter import croniter  # type: ignore[import-untyped]

from settings import PROJECT
from tasks.operations.deploying import POOL, deploy
from tasks.operations.progress import BEGUN, DAILY, Prefect

DEPLOYED = "premiere_deployed"  # Prefect's variable that says what is
PARTS = ("prefect.yaml", "deploy/*-pool.json", "flows/*.py", "requirements.txt")  # of what is deployed, and its version
CONTAINER = r"[0-9a-f]{12}"  # what a container calls itself
OURS = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")
PENDING_OR_RUNNING = ["PENDING", "RUNNING", "CANCELLING"]
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


def main() -> None:
    """Do what is to be done before the worker starts."""
    parser = argparse.ArgumentParser(description="Prepare the stack before its worker starts")
    parser.add_argument("--bucket", required=True, help="made where it is not there")
    parser.add_argument("--trials", type=int, help="recipes that the first run tries; default: as the deployment says")
    options = parser.parse_args()
    make_bucket(options.bucket)
    prefect = Prefect(os.environ["PREFECT_API_URL"])
    print("deployed" if deploy_changes(prefect) else "what is deployed is of this code", flush=True)
    for name in tell_lost_runs(prefect):
        print(f"{name}: its worker ended, and so did it", flush=True)
    parameters = {"trials": options.trials} if options.trials else {}
    print(f"{DAILY}: {begin(prefect, parameters) or 'has begun before'}", flush=True)


def make_bucket(name: str) -> None:
    """Make a bucket on the S3 server of AWS's environment, unless it is there."""
    try:
        boto3.client("s3").create_bucket(Bucket=name)
    except ClientError as error:
        if error.response["Error"]["Code"] not in OURS:
            raise


def deploy_changes(prefect: Prefect) -> bool:
    """Make the pools and deploy all, unless this is what was deployed last; say whether it was done."""
    digest = hashlib.sha256(os.environ.get("PREMIERE_TAG", "").encode())
    for pattern in PARTS:
        for path in sorted(PROJECT.glob(pattern)):
            digest.update(path.read_bytes())
    known = prefect.ask(f"variables/name/{DEPLOYED}")
    if known and known["value"] == digest.hexdigest() and prefect.deployment():
        return False
    deploy()
    if known:
        prefect.ask(f"variables/name/{DEPLOYED}", {"value": digest.hexdigest()}, "PATCH")
    else:
        prefect.ask("variables/", {"name": DEPLOYED, "value": digest.hexdigest()})
    return True


def tell_lost_runs(prefect: Prefect) -> list[str]:
    """Set the runs to Crashed whose process is gone with its container; return their names.

    A run's process carries the name of its host: this one's, before it was started again, or a container's that is no
    more. A worker elsewhere, whose name may not be known here, is left alone.
    """
    told = []
    for run in prefect.runs(PENDING_OR_RUNNING, limit=200, pools=[POOL]):
        host = (run["infrastructure_pid"] or "").rpartition(":")[0]
        if host == socket.gethostname() or (re.fullmatch(CONTAINER, host) and not _is_there(host)):
            told += _crash(prefect, run)
    return told


def _crash(prefect: Prefect, run: dict[str, Any]) -> list[str]:
    """Set a run, and first those that ran inside it, to Crashed."""
    told = [name for inner in prefect.runs(PENDING_OR_RUNNING, limit=200, parents=[run["id"]])
            for name in _crash(prefect, inner)]  # fmt: skip
    crashed = {"type": "CRASHED", "message": "its worker ended, and so did it"}
    prefect.ask(f"flow_runs/{run['id']}/set_state", {"state": crashed, "force": True})
    return [*told, run["name"]]


def _is_there(host: str) -> bool:
    try:
        return bool(socket.gethostbyname(host))
    except OSError:
        return False


def begin(prefect: Prefect, parameters: dict[str, Any] | None = None) -> str | None:
    """Start the daily run unless one is under way, is asked for or was completed for the newest day that was due.

    Returns its name, or None. So a first run that died is begun again, and so is a day that nobody was there for.
    `parameters` are those of the first run. Two that ask at once start one run.
    """
    deployment = prefect.deployment()
    if not deployment:
        raise LookupError(f"{DAILY} is not deployed: prefect deploy --all, and start again")
    runs = prefect.runs(["SCHEDULED", *BEGUN], limit=200, deployments=[deployment])
    runs = [run for run in runs if run["state_type"] != "SCHEDULED" or not run["auto_scheduled"]]
    asked: dict[str, Any] = {"state": {"type": "SCHEDULED"}}
    if not all(run["state_type"] in ENDED for run in runs):
        return None
    if any(run["state_type"] == "COMPLETED" for run in runs):
        due = _last_due(prefect)
        if due is None or datetime.fromisoformat(runs[0]["expected_start_time"]) >= due:
            return None
        asked["idempotency_key"] = f"{DAILY} of {due:%Y-%m-%d %H:%M}"
    else:
        asked |= {"idempotency_key": f"{DAILY} first, after {len(runs)}", "parameters": parameters or {}}
    return str(prefect.ask(f"deployments/{deployment}/create_flow_run", asked)["name"])


def _last_due(prefect: Prefect) -> datetime | None:
    """Return when the schedules of the daily run last asked for it; None where a person took them away."""
    deployment = prefect.ask(f"deployments/name/{DAILY}")
    schedules = [] if deployment["paused"] else [s["schedule"] for s in deployment["schedules"] if s["active"]]
    crons = [schedule["cron"] for schedule in schedules if schedule.get("cron")]  # in UTC, as prefect.yaml has them
    return max((croniter(cron, datetime.now(UTC)).get_prev(datetime) for cron in crons), default=None)


if __name__ == "__main__":
    main()
