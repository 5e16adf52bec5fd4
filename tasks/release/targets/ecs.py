"""Amazon ECS: the service that runs there, moved to another image by a revision of its own task definition.

`ECS_CLUSTER` and `ECS_SERVICE` name it, AWS's environment gives credentials and region. Everything but the image
(roles, memory, network, logs) is taken over from the revision that runs.
"""

from __future__ import annotations

import time
from typing import Any

import boto3

from settings import get_settings

STEADY_SECONDS, POLL = 900, 5
# What describe answers about a revision and register does not take.
ANSWERED = {"taskDefinitionArn", "revision", "status", "requiresAttributes", "compatibilities"}
ANSWERED |= {"registeredAt", "registeredBy", "deregisteredAt"}


def register(image: str) -> dict[str, str]:
    """Register a revision of the running task definition with an image, unless the running one has it already.

    Returns its ARN. Nothing that runs is changed.
    """
    client = _client()
    current = client.describe_task_definition(taskDefinition=_service(client)["taskDefinition"])["taskDefinition"]
    served = _container(current["containerDefinitions"])
    arn = current["taskDefinitionArn"]
    if served["image"] != image:
        served["image"] = image
        facts = {key: value for key, value in current.items() if key not in ANSWERED}
        arn = client.register_task_definition(**facts)["taskDefinition"]["taskDefinitionArn"]
    return {"where": arn, "digest": image.rpartition("@")[2]}


def update(arn: str) -> None:
    """Move the service to a revision and wait until it is steady; move it back and raise RuntimeError if it is not."""
    client = _client()
    before = _service(client)["taskDefinition"]
    if before != arn:
        client.update_service(**_names(), taskDefinition=arn)
    try:
        _wait(client, arn)
    except RuntimeError:
        client.update_service(**_names(), taskDefinition=before)
        raise


def serving() -> str:
    """Return the ARN of the revision that the service is on."""
    return str(_service(_client())["taskDefinition"])


def _wait(client: Any, arn: str) -> None:
    """Wait until all that the service wants runs on one revision."""
    deadline = time.monotonic() + STEADY_SECONDS
    while True:
        service = _service(client)
        newest = next(d for d in service["deployments"] if d["status"] == "PRIMARY")
        steady = len(service["deployments"]) == 1 and service["runningCount"] == service["desiredCount"]
        if service["taskDefinition"] == arn and steady and newest.get("rolloutState", "COMPLETED") == "COMPLETED":
            return
        if newest.get("rolloutState") == "FAILED" or time.monotonic() > deadline:
            said = "; ".join(event["message"] for event in service.get("events", [])[:3])
            raise RuntimeError(
                f"{_names()['service']} did not get steady on {arn}: {service['runningCount']} of "
                f"{service['desiredCount']} tasks run. {newest.get('rolloutStateReason', '')} {said}".rstrip()
            )
        time.sleep(POLL)


def _container(containers: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the container of the service: the one called premiere, or the only one."""
    found = [c for c in containers if c["name"] == "premiere"] or containers
    if len(found) != 1:
        names = ", ".join(c["name"] for c in containers)
        raise ValueError(f"the task definition has containers {names}: call that of the service premiere")
    return found[0]


def _service(client: Any) -> dict[str, Any]:
    names = _names()
    found = client.describe_services(cluster=names["cluster"], services=[names["service"]])["services"]
    active = [service for service in found if service["status"] == "ACTIVE"]
    if not active:
        raise LookupError(f"cluster {names['cluster']} has no active service {names['service']}: create it first")
    return dict(active[0])


def _names() -> dict[str, str]:
    settings = get_settings()
    if not (settings.ecs_cluster and settings.ecs_service):
        raise ValueError("ship_to has ecs, but ECS_CLUSTER or ECS_SERVICE is not set")
    return {"cluster": settings.ecs_cluster, "service": settings.ecs_service}


def _client() -> Any:
    return boto3.session.Session().client("ecs")
