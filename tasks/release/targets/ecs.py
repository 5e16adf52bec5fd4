"""Amazon ECS: the service that runs there, moved to another image by a revision of its own task definition.

`ECS_CLUSTER` and `ECS_SERVICE` name it, AWS's environment gives credentials and region. Everything but the image
(roles, memory, network, logs) is taken over from the revision that runs.
"""

from __future__ import annotations

from typing import Any

import boto3
from botocore.exceptions import WaiterError

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
    """Move the service to a revision and wait until it is steady; raise RuntimeError, with it moved back, if it is not.

    ECS itself goes back from a revision whose tasks fail: the service's circuit breaker is switched on for that. From
    one that hangs the service is moved back here.
    """
    client = _client()
    before = _service(client)
    if before["taskDefinition"] != arn:
        client.update_service(**_names(), taskDefinition=arn, **_breaker(before))
    which = {"cluster": _names()["cluster"], "services": [_names()["service"]]}
    patience = {"Delay": POLL, "MaxAttempts": max(1, int(STEADY_SECONDS / POLL))}
    try:
        client.get_waiter("services_stable").wait(**which, WaiterConfig=patience)
    except WaiterError as error:
        why = _why(before, _service(client), arn)
        client.update_service(**_names(), taskDefinition=before["taskDefinition"])
        raise RuntimeError(why) from error
    after = _service(client)
    if {after["taskDefinition"], *(d["taskDefinition"] for d in after["deployments"])} != {arn}:
        raise RuntimeError(_why(before, after, arn))


def serving() -> str:
    """Return the ARN of the revision that the service is on."""
    return str(_service(_client())["taskDefinition"])


def _breaker(service: dict[str, Any]) -> dict[str, Any]:
    """Return what is to be updated so that ECS goes back by itself: nothing where it does, or knows no breaker."""
    known = service.get("deploymentConfiguration", {})
    breaker = known.get("deploymentCircuitBreaker", {})
    if known.get("strategy", "ROLLING") != "ROLLING" or (breaker.get("enable") and breaker.get("rollback")):
        return {}
    return {
        "deploymentConfiguration": known | {"deploymentCircuitBreaker": breaker | {"enable": True, "rollback": True}}
    }


def _why(before: dict[str, Any], after: dict[str, Any], arn: str) -> str:
    """Say of a service that is not steady on a revision what ECS told since the move began: of failures, if it did."""
    known = {event["id"] for event in before.get("events", [])}
    told = [event["message"] for event in after.get("events", []) if event["id"] not in known]
    told = [words for words in told if "fail" in words or "unable" in words] or told
    reasons = [d["rolloutStateReason"] for d in after["deployments"] if d.get("rolloutState") == "FAILED"]
    tasks = f"{after['runningCount']} of {after['desiredCount']} tasks run"
    why = ". ".join([tasks, *reasons, *told[:3]])
    return f"{after['serviceName']} did not get steady on {arn}: {why}. It goes back to {before['taskDefinition']}"


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
