"""What the stack's worker does before it takes work: make the bucket, tell which runs died, start the first daily run.

Each is done once, however often the worker starts. Prefect 2 does not notice that a run's process died with its
container: it would stay Running for ever, and nothing would begin in its place.

    python -m tasks.operations.beginning --bucket premiere --trials 20
"""

from __future__ import annotations

import argparse
import os
import re
import socket
from typing import Any

import boto3
from botocore.exceptions import ClientError

from tasks.operations.progress import BEGUN, DAILY, Prefect

POOL = "premiere"
CONTAINER = r"[0-9a-f]{12}"  # what a container calls itself
OURS = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")
PENDING_OR_RUNNING = ["PENDING", "RUNNING", "CANCELLING"]


def main() -> None:
    """Do what is to be done before the worker starts."""
    parser = argparse.ArgumentParser(description="Prepare the stack before its worker starts")
    parser.add_argument("--bucket", required=True, help="made where it is not there")
    parser.add_argument("--trials", type=int, help="recipes that the first run tries; default: as the deployment says")
    options = parser.parse_args()
    make_bucket(options.bucket)
    prefect = Prefect(os.environ["PREFECT_API_URL"])
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
    """Start the daily run unless one was completed, is under way or is asked for; return its name, or None.

    So a first run that died is begun again. Two that ask at once start one run.
    """
    deployment = prefect.deployment()
    if not deployment:
        raise LookupError(f"{DAILY} is not deployed: prefect deploy --all, and start again")
    runs = prefect.runs(["SCHEDULED", *BEGUN], limit=200, deployments=[deployment])
    runs = [run for run in runs if run["state_type"] != "SCHEDULED" or not run["auto_scheduled"]]
    ended = [run for run in runs if run["state_type"] in ("FAILED", "CRASHED", "CANCELLED")]
    if len(ended) < len(runs):
        return None
    asked: dict[str, Any] = {"state": {"type": "SCHEDULED"}, "parameters": parameters or {}}
    asked["idempotency_key"] = f"{DAILY} first, after {len(ended)}"
    return str(prefect.ask(f"deployments/{deployment}/create_flow_run", asked)["name"])


if __name__ == "__main__":
    main()
