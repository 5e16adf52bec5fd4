"""Real servers on loopback: PostgreSQL, S3 (SeaweedFS), Prefect with a worker, MLflow, two services, HAProxy.

Each is a family of processes that can be killed and started again, and that ends with whoever started it. What they
keep lies in one folder.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import httpx
import psutil
from botocore.exceptions import BotoCoreError, ClientError

from settings import PROJECT, Settings
from tasks.foundation.tether import tethered
from tasks.release.targets.bento import free_port

BIN = Path(sys.executable).parent
KEY, SECRET, BUCKET = "premiere", "not-a-secret", "premiere"
DATABASES = ("prefect", "mlflow", "optuna", "warehouse")
START = 300.0  # seconds
FULL = "-volume.minFreeSpace=100"  # percent: SeaweedFS takes its disk for full


@dataclass
class Server:
    """One server: how it is started, and when it is ready."""

    name: str
    command: list[str]
    ready: Callable[[], bool]
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    cwd: Path = PROJECT
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it is ready; raises RuntimeError with its last words where it ends or takes long."""
        with self.log.open("ab") as log:
            command, pipe = tethered(*self.command), subprocess.PIPE
            self.process = subprocess.Popen(
                command, env=self.environment, cwd=self.cwd, stdin=pipe, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} did not get ready:\n{self.log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.3)

    def kill(self) -> None:
        """Kill its family at once, as a power cut would."""
        self.stop(0)

    def stop(self, seconds: float = 20) -> None:
        """Let it end, and kill what does not."""
        if self.process is None or self.process.poll() is not None:
            return
        leader = psutil.Process(self.process.pid)
        family = [leader, *leader.children(recursive=True)]  # some lead sessions of their own
        if seconds:
            os.killpg(leader.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait(10)
        if self.process.stdin:
            self.process.stdin.close()  # the tether


def postgres_programs() -> Path | None:
    """Return the folder of initdb and postgres: on PATH, or where Debian puts them."""
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((place for place in reversed(places) if (place / "postgres").exists()), None)


def postgres(folder: Path) -> tuple[Server, str]:
    """Make a PostgreSQL in a folder; return it, not started, and its address up to the database's name."""
    programs = postgres_programs()
    if programs is None:
        raise RuntimeError("PostgreSQL is not here: apt-get install postgresql")
    folder.mkdir(parents=True)
    as_user: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        shutil.chown(folder, "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    port, data = free_port(), str(folder / "data")
    made = [str(programs / "initdb"), "-D", data, "-A", "trust", "-U", "premiere", "--no-sync"]
    subprocess.run([*as_user, *made], cwd="/", check=True, capture_output=True)
    options = ["listen_addresses=127.0.0.1", f"port={port}", "unix_socket_directories=", "fsync=off"]
    command = [*as_user, str(programs / "postgres"), "-D", data]
    command += [part for option in options for part in ("-c", option)]
    url = f"postgresql+psycopg://premiere@127.0.0.1:{port}/"
    server = Server("postgres", command, lambda: _accepts(url), folder.with_suffix(".log"), dict(os.environ), Path("/"))
    return server, url


def _accepts(url: str) -> bool:
    import psycopg

    with suppress(psycopg.OperationalError), psycopg.connect(url.replace("+psycopg", "") + "postgres", autocommit=True):
        return True
    return False


def seaweed(folder: Path, key: str = KEY, bucket: str = BUCKET) -> tuple[Server, str]:
    """Make an S3 server whose conditional writes hold; return it, not started, and its address.

    It takes the key with `SECRET`, and has the bucket once it is ready.
    """
    folder.mkdir(parents=True)
    credentials = [{"accessKey": key, "secretKey": SECRET}]
    identity = {"name": "premiere", "credentials": credentials, "actions": ["Admin"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    port = free_port()
    command = [str(BIN / "weed"), "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}", "-s3"]
    command += [f"-s3.config={folder}/s3.json", f"-s3.port={port}", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    command += ["-volume.max=64", "-master.volumeSizeLimitMB=64", f"-s3.port.grpc={free_port()}"]
    for part in ("master", "volume", "filer"):
        command += [f"-{part}.port={free_port()}", f"-{part}.port.grpc={free_port()}"]
    url = f"http://127.0.0.1:{port}"
    return Server(
        "s3", command, lambda: _has_bucket(url, key, bucket), folder.with_suffix(".log"), dict(os.environ)
    ), url


def _has_bucket(url: str, key: str, bucket: str) -> bool:
    client: Any = boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id=key, aws_secret_access_key=SECRET
    )
    try:
        client.create_bucket(Bucket=bucket)
    except (client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):
        return True
    except (BotoCoreError, ClientError):
        return False
    return True


def answers(url: str) -> bool:
    """Say whether an address answers 200."""
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


@dataclass
class Stack:
    """All servers, their shared environment, and the port that people ask."""

    folder: Path
    environment: dict[str, str]
    servers: dict[str, Server]
    front: str
    services: list[str]

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """Let S3 take nothing while the block runs, as where its disk is full: what lies there can be read."""
        s3, usual = self.servers["s3"], self.servers["s3"].command

        def restart(command: list[str]) -> None:
            s3.kill()
            s3.command = command
            s3.start()

        restart([*usual, FULL])
        try:
            yield
        finally:
            restart(usual)

    def bytes(self) -> int:
        """Return how much everything takes on disk."""
        return int(
            subprocess.run(["du", "-sb", self.folder], capture_output=True, text=True, check=True).stdout.split()[0]
        )


@contextmanager
def stack(folder: Path, **settings: str) -> Iterator[Stack]:
    """Run all servers in a new folder, with all deployments applied, but for the services: they need a champion.

    `settings` go into the environment of all of them.
    """
    folder.mkdir(parents=True)
    database, postgres_url = postgres(folder / "postgres")
    s3, s3_url = seaweed(folder / "s3")
    prefect_port, mlflow_port, front_port = free_port(), free_port(), free_port()
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "AWS_"))} | {
        **{name.upper(): "" for name in Settings.model_fields},
        **{"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1"},
        **{"AWS_ENDPOINT_URL": s3_url, "AWS_ENDPOINT_URL_S3": s3_url, "MLFLOW_S3_ENDPOINT_URL": s3_url},
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
        "DATA_HOME": str(folder),
        "STORE_URI": f"s3://{BUCKET}/store",
        "WAREHOUSE_URL": f"{postgres_url}warehouse",
        "OPTUNA_STORAGE": f"{postgres_url}optuna",
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{mlflow_port}",
        "BENTOML_HOME": str(folder / "bentos"),
        "FOLLOW_REGISTRY": "true",
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{prefect_port}/api",
        "PREFECT_API_DATABASE_CONNECTION_URL": f"{postgres_url.replace('psycopg', 'asyncpg')}prefect",
        "PREFECT_EXPERIMENTAL_EVENTS": "true",
        "PREFECT_LOGGING_SERVER_LEVEL": "ERROR",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "PREMIERE_TAG": "none",
        **settings,
    }

    def server(name: str, command: list[str], ready: Callable[[], bool], **more: str) -> Server:
        return Server(name, command, ready, folder / f"{name}.log", environment | more, folder)

    health = f"http://127.0.0.1:{prefect_port}/api/health"
    serve = [str(BIN / "prefect"), "server", "start", "--host", "127.0.0.1", "--port", str(prefect_port)]
    track = [str(BIN / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(mlflow_port), "--workers", "1"]
    track += ["--artifacts-destination", f"s3://{BUCKET}/mlflow"]
    work = [str(BIN / "prefect"), "worker", "start", "--pool", "premiere", "--type", "process"]
    backend = {"MLFLOW_BACKEND_STORE_URI": f"{postgres_url}mlflow"}
    servers = {
        "postgres": database,
        "s3": s3,
        "prefect": server("prefect", serve, lambda: answers(health)),
        "mlflow": server("mlflow", track, lambda: answers(f"http://127.0.0.1:{mlflow_port}/health"), **backend),
        "worker": server("worker", work, lambda: True),
    }
    services = []
    for name in ("service-a", "service-b"):
        port = free_port()
        services.append(f"http://127.0.0.1:{port}")
        ready = services[-1] + "/readyz"
        bento = [sys.executable, "-m", "tasks.release.targets.bento"]
        servers[name] = server(name, bento, lambda ready=ready: answers(ready), SERVICE_PORT=str(port))  # type: ignore[misc]
        servers[name].cwd = PROJECT
    (folder / "haproxy.cfg").write_text(_haproxy(front_port, services))
    front = f"http://127.0.0.1:{front_port}"
    proxy = [shutil.which("haproxy") or "/usr/sbin/haproxy", "-f", str(folder / "haproxy.cfg")]
    servers["front"] = server("front", proxy, lambda: answers(f"{front}/readyz"))
    running = Stack(folder, environment, servers, front, services)
    try:
        database.start()
        _make_databases(postgres_url)
        s3.start()
        tables = [sys.executable, "-m", "tasks.registry.mlflow_database"]
        made = environment | {"MLFLOW_TRACKING_URI": f"{postgres_url}mlflow"}
        subprocess.run(tables, env=made, cwd=PROJECT, check=True)
        for name in ("prefect", "mlflow"):
            servers[name].start()
        subprocess.run(
            [sys.executable, "-m", "tasks.operations.deploying"], env=environment, cwd=PROJECT, check=True,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        servers["worker"].start()
        yield running
    finally:
        for one in reversed(servers.values()):
            one.stop()


def _make_databases(url: str) -> None:
    import psycopg

    with psycopg.connect(url.replace("+psycopg", "") + "postgres", autocommit=True) as connection:
        for name in DATABASES:
            connection.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]


def _haproxy(port: int, services: list[str]) -> str:
    """Two services behind one door; what one of them drops is asked of the other."""
    lines = "\n".join(
        f"  server s{n} {url.removeprefix('http://')} check inter 300ms fastinter 100ms fall 1 rise 1 on-marked-down "
        "shutdown-sessions"
        for n, url in enumerate(services)
    )
    return f"""\
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  retries 5
  option redispatch 1
  option http-buffer-request
  retry-on conn-failure empty-response response-timeout junk-response 500 502 503 504
frontend door
  bind 127.0.0.1:{port}
  default_backend services
backend services
  balance roundrobin
  option httpchk GET /readyz
{lines}
"""
