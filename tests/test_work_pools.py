"""Where flows run beside the process pool: containers on a real Docker engine, and Fargate as far as moto plays it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import docker
import httpx
import pytest
from conftest import S3Server, free_port, wait_for_port
from moto import mock_aws
from moto.ecs.models import Container
from moto.moto_api import state_manager
from prefect.client.schemas.objects import FlowRun
from prefect_aws.workers import ecs_worker
from prefect_aws.workers.ecs_worker import ECSJobConfiguration, ECSWorker, ECSWorkerResult
from prefect_docker.worker import DockerWorkerJobConfiguration

from settings import PROJECT, Settings

TEMPLATE = PROJECT / "deploy" / "ecs-pool.json"
REGION, ACCOUNT = "us-east-1", "123456789012"  # moto's


class Fargate:
    """A cluster and a network in moto, and the ECS worker with our template."""

    def __init__(self) -> None:
        self.ecs, ec2 = boto3.client("ecs", REGION), boto3.client("ec2", REGION)
        self.ecs.create_cluster(clusterName="premiere")
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})  # moto's run_task needs it
        self.variables: dict[str, Any] = {
            "image": "registry.example/premiere-flows:1",
            "cluster": "premiere",
            "execution_role_arn": f"arn:aws:iam::{ACCOUNT}:role/execution",
            "task_role_arn": f"arn:aws:iam::{ACCOUNT}:role/task",
            "subnets": [ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]],
            "security_groups": [ec2.create_security_group(GroupName="f", Description="f", VpcId=vpc)["GroupId"]],
            "secrets": [{"name": "TMDB_API_TOKEN", "valueFrom": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:t"}],
            "env": {"STORE_URI": "s3://bucket/prefix", "PREFECT_HOME": "/tmp/prefect"},
            "task_watch_poll_interval": 0.01,
        }

    def run(self, **variables: Any) -> ECSWorkerResult:
        async def go() -> ECSWorkerResult:
            self.flow_run = FlowRun(flow_id=uuid4(), deployment_id=uuid4(), name="some-run")
            template = json.loads(TEMPLATE.read_text())  # read anew: Prefect writes into it
            values = self.variables | variables
            job = await ECSJobConfiguration.from_template_and_values(template, values, client=object())
            job.prepare_for_flow_run(self.flow_run)
            return await ECSWorker(work_pool_name="ecs").run(self.flow_run, job)

        return asyncio.run(go())

    def definition(self) -> dict[str, Any]:
        return dict(self.ecs.describe_task_definition(taskDefinition="premiere-flows")["taskDefinition"])


@pytest.fixture
def fargate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fargate]:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": REGION,
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setattr(ecs_worker, "_TASK_DEFINITION_CACHE", {})
    with mock_aws():
        # The worker must see a task run before it stops, or it takes it for one that never started.
        state_manager.set_transition("ecs::task", {"progression": "manual", "times": 2})
        yield Fargate()
        state_manager.unset_transition("ecs::task")


def test_a_run_on_ecs_is_a_fargate_task_with_its_roles_secrets_and_logs(fargate: Fargate) -> None:
    result = fargate.run(cpu=4096, memory=16384)
    assert result.status_code == 0
    definition = fargate.definition()
    assert (definition["cpu"], definition["memory"], definition["networkMode"]) == ("4096", "16384", "awsvpc")
    assert definition["executionRoleArn"] == fargate.variables["execution_role_arn"]
    assert definition["taskRoleArn"] == fargate.variables["task_role_arn"]
    (container,) = definition["containerDefinitions"]
    assert container["image"] == fargate.variables["image"]
    assert container["secrets"] == fargate.variables["secrets"]
    assert container["logConfiguration"]["options"]["awslogs-group"] == "/premiere/flows"
    cluster, arn = result.identifier.split("::")
    task = fargate.ecs.describe_tasks(cluster=cluster, tasks=[arn])["tasks"][0]
    assert task["launchType"] == "FARGATE"
    (override,) = task["overrides"]["containerOverrides"]
    environment = {item["name"]: item["value"] for item in override["environment"]}
    assert environment["PREFECT__FLOW_RUN_ID"] == str(fargate.flow_run.id)
    assert environment["STORE_URI"] == "s3://bucket/prefix"
    assert fargate.variables["subnets"][0] in json.dumps(task["attachments"][0])


def test_one_revision_serves_all_runs_on_ecs_until_the_image_changes(fargate: Fargate) -> None:
    fargate.run()
    fargate.run()
    assert fargate.definition()["revision"] == 1
    fargate.run(image="registry.example/premiere-flows:2")
    assert fargate.definition()["revision"] == 2


def test_a_container_that_fails_on_ecs_is_told(fargate: Fargate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Container, "exitCode", property(lambda _: 137, lambda _, value: None), raising=False)
    assert fargate.run().status_code == 137


def test_the_ecs_template_waits_long_enough_and_names_no_account() -> None:
    template = json.loads(TEMPLATE.read_text())
    assert template["variables"]["properties"]["task_start_timeout_seconds"]["default"] >= 600
    assert template["job_configuration"]["match_latest_revision_in_family"] is True
    assert not any(word.isdigit() and len(word) == 12 for word in TEMPLATE.read_text().replace(":", " ").split())


def test_containers_share_what_they_write_and_see_the_worker_s_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMDB_RATE", "7")
    monkeypatch.delenv("STORE_URI", raising=False)
    template = json.loads((PROJECT / "deploy" / "docker-pool.json").read_text())
    made = DockerWorkerJobConfiguration.from_template_and_values(template, {"image": "i:1"}, client=object())
    job = asyncio.run(made)
    assert job.volumes == ["premiere-data:/data"]
    assert job.env["TMDB_RATE"] == "7"
    assert job.env["STORE_URI"] == ""  # unset
    image = (PROJECT / "Dockerfile").read_text()
    assert re.search(r"install -d -o premiere /data\b", image)  # a new volume takes over its owner
    assert re.search(r"^ENV .*\bDATA_HOME=/data\b", image, re.MULTILINE)


@pytest.mark.docker
@pytest.mark.timeout(1500)
def test_collection_and_training_run_in_containers_and_leave_their_results_on_s3(
    docker_engine: docker.DockerClient, server: S3Server, tmp_path: Path
) -> None:
    """Server and docker worker here, flows in containers of the project's own image, results on a real S3 server."""
    tag = "test"
    built = subprocess.run(
        ["docker", "build", "--quiet", "--tag", f"premiere-flows:{tag}", "."], cwd=PROJECT,
        env=os.environ | {"DOCKER_BUILDKIT": "0"}, capture_output=True, text=True,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr[-2000:]
    prefect_port, mlflow_port = free_port(), free_port()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")} | {
        **{name.upper(): "" for name in Settings.model_fields},
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{prefect_port}/api",
        "PREFECT_LOGGING_SERVER_LEVEL": "ERROR",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "PREMIERE_TAG": tag,
        "STORE_URI": "s3://movies/premiere",
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{mlflow_port}",
        "WAREHOUSE_URL": "sqlite:////tmp/warehouse.db",
        "OPTUNA_STORAGE": "sqlite:////tmp/optuna.db",
        "MODEL_NAME": "movie-rating",
    }
    prefect, mlflow = (str(Path(sys.executable).with_name(name)) for name in ("prefect", "mlflow"))
    log = (tmp_path / "log").open("wb")
    processes: list[subprocess.Popen[bytes]] = []

    def start(*command: str, **options: Any) -> None:
        processes.append(
            subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True, **options)
        )

    def call(*arguments: str, timeout: int = 60) -> str:
        done = subprocess.run(
            [prefect, *arguments], env=environment, cwd=PROJECT, capture_output=True, text=True, timeout=timeout
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    try:
        start(prefect, "server", "start", "--host", "127.0.0.1", "--port", str(prefect_port))
        start(
            mlflow, "server", "--host", "127.0.0.1", "--port", str(mlflow_port), "--workers", "1",
            "--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db", "--artifacts-destination", "s3://movies/mlartifacts",
        )  # fmt: skip
        deadline = time.monotonic() + 90
        wait_for_port(mlflow_port)
        wait_for_port(prefect_port)
        while httpx.get(f"{environment['PREFECT_API_URL']}/health").status_code != 200:
            assert time.monotonic() < deadline
        pool = "deploy/docker-pool.json"
        call("work-pool", "create", "docker", "--type", "docker", "--base-job-template", pool)
        call("work-pool", "create", "ecs", "--type", "ecs", "--base-job-template", "deploy/ecs-pool.json")
        call("--no-prompt", "deploy", "--name", "*/docker")
        deployments = httpx.post(f"{environment['PREFECT_API_URL']}/deployments/filter", json={}).text
        pools = httpx.post(f"{environment['PREFECT_API_URL']}/work_pools/filter", json={}).text
        assert "not-a-secret" not in deployments + pools  # the worker's environment has it, the server does not
        start(prefect, "worker", "start", "--pool", "docker", "--type", "docker", cwd=tmp_path)
        span = ["-p", 'start="2018-01-01"', "-p", 'end="2025-12-31"']
        call("deployment", "run", "collect-movies/docker", *span, "--watch", "--watch-timeout", "200", timeout=240)
        asked = ["-p", "trials=1", "-p", 'as_of="2026-01-01"']
        call("deployment", "run", "train-model/docker", *asked, "--watch", "--watch-timeout", "400", timeout=440)
    except BaseException:
        log.flush()
        print((tmp_path / "log").read_text()[-4000:])
        raise
    finally:
        for process in reversed(processes):
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)
        log.close()
        docker_engine.containers.prune(filters={"label": "io.prefect.version"})
    bucket = server.folder / "movies"
    assert list((bucket / "premiere" / "sample" / "movies").rglob("*.parquet"))
    assert list((bucket / "mlartifacts").rglob("model.skops"))
    assert list((bucket / "mlartifacts").rglob("model_card.md"))
