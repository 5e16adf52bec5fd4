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


class Steady:
    """ECS as moto does not play it: after some looks, so many of the wanted tasks run."""

    def __init__(self, client: Any, outcome: dict[str, Any]) -> None:
        self.client, self.outcome, self.looks = client, outcome, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def describe_services(self, **names: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.client.describe_services(**names)
        self.looks += 1
        deployment = {"status": "PRIMARY", "rolloutState": "IN_PROGRESS"}
        if self.looks > 4:
            deployment |= self.outcome
        done = deployment["rolloutState"] == "COMPLETED"
        found["services"][0] |= {"deployments": [deployment], "runningCount": 2 if done else 1}
        return found


@pytest.mark.parametrize(
    ("outcome", "succeeds"),
    [({"rolloutState": "COMPLETED"}, True), ({"rolloutState": "FAILED", "rolloutStateReason": "no memory"}, False)],
)
def test_the_service_moves_and_goes_back_where_it_does_not_get_steady(
    cluster: Any, monkeypatch: pytest.MonkeyPatch, outcome: dict[str, Any], succeeds: bool
) -> None:
    before, new = running(cluster), ecs.register(NEW)["where"]
    acting = Steady(cluster, outcome)
    monkeypatch.setattr(ecs, "_client", lambda: acting)
    if succeeds:
        ecs.update(new)
        assert running(cluster) == new
        ecs.update(new)  # again: nothing to do
        ecs.update(before)  # a rollback is the same, with the revision of then
        assert running(cluster) == before
    else:
        with pytest.raises(RuntimeError, match=r"premiere did not get steady .* 1 of 2 tasks run. no memory"):
            ecs.update(new)
        assert running(cluster) == before


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
