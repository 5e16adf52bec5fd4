"""The ECS target against moto, which keeps clusters, services and revisions but starts no tasks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from settings import get_settings
from tasks.release.targets import ecs, images

REPOSITORY = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/premiere"
OLD, NEW = f"{REPOSITORY}@sha256:{'a' * 64}", f"{REPOSITORY}@sha256:{'b' * 64}"


@pytest.fixture
def cluster(environment: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster whose service runs `OLD` beside a container of another kind."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "eu-central-1",
        "ECS_CLUSTER": "movies", "ECS_SERVICE": "premiere",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    get_settings.cache_clear()
    monkeypatch.setattr(ecs, "POLL", 0.01)
    monkeypatch.setattr(ecs, "STEADY_SECONDS", 2)
    with mock_aws():
        client = boto3.session.Session().client("ecs")
        client.create_cluster(clusterName="movies")
        client.register_task_definition(
            family="premiere",
            cpu="1024",
            memory="2048",
            networkMode="awsvpc",
            requiresCompatibilities=["FARGATE"],
            executionRoleArn="arn:aws:iam::123456789012:role/pull-and-log",
            containerDefinitions=[
                {"name": "premiere", "image": OLD, "essential": True, "portMappings": [{"containerPort": 3000}]},
                {"name": "logs", "image": "logs:1", "essential": False},
            ],
        )
        client.create_service(cluster="movies", serviceName="premiere", taskDefinition="premiere", desiredCount=2)
        yield client


def running(client: Any) -> str:
    return str(client.describe_services(cluster="movies", services=["premiere"])["services"][0]["taskDefinition"])


def test_a_revision_differs_in_the_image_only_and_changes_nothing_that_runs(cluster: Any) -> None:
    before = running(cluster)
    shipped = ecs.register(NEW)
    assert shipped["digest"] == f"sha256:{'b' * 64}"
    assert running(cluster) == before
    arns = before, shipped["where"]
    old, new = (cluster.describe_task_definition(taskDefinition=arn)["taskDefinition"] for arn in arns)
    assert [c["image"] for c in new["containerDefinitions"]] == [NEW, "logs:1"]
    for name in ("family", "cpu", "memory", "networkMode", "executionRoleArn", "requiresCompatibilities"):
        assert new[name] == old[name]
    assert new["revision"] == old["revision"] + 1
    assert ecs.register(OLD)["where"] == before  # what runs has it already


class Ecs:
    """What moto does not play: after some looks the tasks run, or fail, and ECS goes back where its breaker says so."""

    def __init__(self, client: Any, patch: pytest.MonkeyPatch, **outcome: str) -> None:
        self.client, self.outcome, self.looks = client, outcome, 0
        self.events = [{"id": "1", "message": "failed, long ago"}]
        self.describe, self.steady = client.describe_services, running(client)
        patch.setattr(client, "describe_services", self.describe_services)  # the waiter asks it, too
        patch.setattr(ecs, "_client", lambda: client)

    def breaks(self) -> bool:
        found = self.describe(cluster="movies", services=["premiere"])["services"][0]
        breaker = found["deploymentConfiguration"].get("deploymentCircuitBreaker", {})
        return bool(breaker.get("enable") and breaker.get("rollback"))

    def describe_services(self, **names: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.describe(**names)
        service = found["services"][0]
        wanted = service["taskDefinition"]
        self.looks += 1
        moving = wanted != self.steady
        state = {"rolloutState": "IN_PROGRESS" if moving else "COMPLETED"}
        if moving and self.looks > 4:
            state = self.outcome
        newest = {"status": "PRIMARY", "taskDefinition": wanted} | state
        deployments = [newest]
        if moving and state["rolloutState"] == "COMPLETED":
            self.steady = wanted
        elif moving:
            deployments.append({"status": "ACTIVE", "taskDefinition": self.steady, "rolloutState": "COMPLETED"})
        if moving and state["rolloutState"] == "FAILED":
            said = ["has reached a steady state"] * 3 + ["tasks failed to start"]  # the newest first
            self.events = [{"id": f"new {n}", "message": words} for n, words in enumerate(said)] + self.events[-1:]
            if self.breaks():
                self.client.update_service(cluster="movies", service="premiere", taskDefinition=self.steady)
                service["taskDefinition"] = self.steady
                deployments.pop(0)
        service |= {"deployments": deployments, "events": self.events, "runningCount": 3 - len(deployments)}
        return found


def test_the_service_moves_and_waits_and_comes_back_by_the_same_way(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, new = running(cluster), ecs.register(NEW)["where"]
    played = Ecs(cluster, monkeypatch, rolloutState="COMPLETED")
    ecs.update(new)
    assert played.looks > 4
    assert running(cluster) == new
    ecs.update(new)  # again: nothing to do
    ecs.update(before)  # a rollback is the same, with the revision of then
    assert running(cluster) == before


def test_ecs_goes_back_from_a_revision_whose_tasks_fail_and_the_error_says_why(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, new = running(cluster), ecs.register(NEW)["where"]
    percents = {"maximumPercent": 150, "minimumHealthyPercent": 100}
    cluster.update_service(cluster="movies", service="premiere", deploymentConfiguration=percents)
    played = Ecs(cluster, monkeypatch, rolloutState="FAILED", rolloutStateReason="no memory")
    assert not played.breaks()
    with pytest.raises(RuntimeError, match=r"premiere did not get steady .* tasks failed to start") as error:
        ecs.update(new)
    assert "long ago" not in str(error.value)
    assert running(cluster) == before
    assert played.breaks()  # it was switched on, and the rest is as it was
    service = cluster.describe_services(cluster="movies", services=["premiere"])["services"][0]
    assert service["deploymentConfiguration"].items() >= percents.items()


def test_the_service_is_moved_back_where_ecs_does_not_do_it(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before, new = running(cluster), ecs.register(NEW)["where"]
    played = Ecs(cluster, monkeypatch, rolloutState="FAILED", rolloutStateReason="no memory")
    monkeypatch.setattr(played, "breaks", lambda: False)  # nothing ever got steady there, say
    monkeypatch.setattr(ecs, "STEADY_SECONDS", 0.2)
    with pytest.raises(RuntimeError, match=r"premiere did not get steady .* 1 of 2 tasks run. no memory"):
        ecs.update(new)
    assert running(cluster) == before


@pytest.mark.parametrize(
    ("known", "changed"),
    [
        ({"deploymentCircuitBreaker": {"enable": True, "rollback": True}}, None),
        ({"strategy": "BLUE_GREEN"}, None),  # which has no breaker
        ({"deploymentCircuitBreaker": {"enable": True, "rollback": False}}, {"enable": True, "rollback": True}),
        ({}, {"enable": True, "rollback": True}),
    ],
)
def test_the_breaker_is_switched_on_only_where_it_is_off(known: dict[str, Any], changed: dict[str, Any] | None) -> None:
    said = ecs._breaker({"deploymentConfiguration": known})
    assert said.get("deploymentConfiguration", {}).get("deploymentCircuitBreaker") == changed


def test_one_that_hangs_is_given_up_after_a_while(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before, new = running(cluster), ecs.register(NEW)["where"]
    monkeypatch.setattr(ecs, "STEADY_SECONDS", 0.05)
    with pytest.raises(RuntimeError, match="did not get steady"):
        ecs.update(new)  # moto starts no tasks
    assert running(cluster) == before


def test_what_is_not_there_or_not_set_is_named(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECS_SERVICE", "another")
    get_settings.cache_clear()
    with pytest.raises(LookupError, match="cluster movies has no active service another"):
        ecs.register(NEW)
    monkeypatch.setenv("ECS_SERVICE", "")
    get_settings.cache_clear()
    with pytest.raises(ValueError, match="ECS_CLUSTER or ECS_SERVICE is not set"):
        ecs.register(NEW)


def test_amazon_gives_a_login_for_its_registry_and_others_need_none(cluster: Any) -> None:
    credentials = images.login(REPOSITORY)
    assert credentials
    assert credentials["username"] == "AWS"
    assert credentials["password"]
    assert images.login("127.0.0.1:5000/premiere") is None
