"""The service's image: built from the bento, probed, pushed to a registry. Tags are never used twice.

Docker is asked through its SDK (`DOCKER_HOST` and the logins of `docker login` count); only the build goes through
`bentoml containerize`, which calls the docker command.
"""

from __future__ import annotations

import base64
import io
import os
import re
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import docker
from docker.errors import APIError, ImageNotFound, NotFound

from settings import PROJECT, get_settings
from tasks.foundation.run_log import log
from tasks.foundation.starting import wait_for
from tasks.registry.versions import Version
from tasks.release.targets import bento
from tasks.release.targets.docker_engine import engine
from tasks.release.targets.probing import probe

MOST_BYTES = 1_200_000_000
PORT = 3000
HEALTHCHECK = (  # which bentoml containerize cannot be told
    "HEALTHCHECK --interval=5s --timeout=3s --start-period=300s --retries=3 CMD "
    """["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:3000/readyz', timeout=2)"]"""
)
_STEP = re.compile(r"^(\|\d+( \S+=\S+)* )?/bin/sh -c (#\(nop\) +)?")  # what the builder writes before a step
ECR = re.compile(r"^(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?/")


def reference(version: Version) -> str:
    """Return the image's address. Its tag names the version and its content, so it never means two things."""
    return f"{get_settings().image_repository}:{bento.content_name(version)}"


def build(version: Version) -> dict[str, str]:
    """Build the image of a version unless it is there, probe it, and return its address and id.

    Raises RuntimeError where it is too large, does not get healthy or answers otherwise than the model.
    """
    client, address = engine(), reference(version)
    if not _local(client, address):
        labels = {
            "org.opencontainers.image.title": "premiere",
            "org.opencontainers.image.version": version.label,
            "org.opencontainers.image.revision": version.tags["commit"],
            "premiere.model": get_settings().model_name,
            "premiere.model.sha256": version.tags["sha256"],
            "premiere.data": version.tags["data"],
        }
        plain, tag = f"{address}-plain", bento.store_bento(version)
        command = [sys.executable, "-m", "bentoml", "containerize", tag, "--image-tag", plain]
        done = subprocess.run(
            command, env=bento.environment() | _builder(), cwd=PROJECT, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"bentoml containerize {tag} failed:\n{(done.stdout + done.stderr)[-3000:]}")
        recipe = io.BytesIO(f"FROM {plain}\n{HEALTHCHECK}\n".encode())
        client.images.build(fileobj=recipe, tag=address, labels=labels, rm=True)
        client.images.remove(plain)
    image = client.images.get(address)
    size = int(image.attrs["Size"])
    if size > MOST_BYTES:
        raise RuntimeError(f"{address} has {size / 1e6:.0f} MB, {MOST_BYTES / 1e6:.0f} are allowed: {made_of(image)}")
    with running(address) as url:
        probe(version, url)
    return {"where": address, "digest": str(image.id)}


def made_of(image: Any) -> str:
    """Say what an image is made of, the largest layers first."""
    layers = sorted(image.history(), key=lambda layer: -layer["Size"])[:4]
    return "; ".join(
        f"{layer['Size'] / 1e6:.0f} MB {_STEP.sub('', layer['CreatedBy'])[:60].strip() or 'base image'}"
        for layer in layers
    )


@contextmanager
def running(address: str) -> Iterator[str]:
    """Run an image, with no right that it does not need, while the block runs; yield its address once it is healthy.

    Raises RuntimeError with its last words where it ends before that, or is not healthy within START_SECONDS.
    """
    client = engine()
    container = client.containers.run(
        address,
        detach=True,
        ports={f"{PORT}/tcp": ("127.0.0.1", None)},
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
    )

    def words() -> str:
        return str(container.logs(tail=30).decode(errors="replace"))

    def healthy() -> bool:
        container.reload()
        health = container.attrs["State"].get("Health", {}).get("Status", "without a health check")
        if container.status == "exited":
            raise RuntimeError(f"{address} is {container.status} and {health} after its start:\n{words()}")
        return bool(health == "healthy")

    try:
        wait_for(address, healthy, words, log().info)
        (port,) = {binding["HostPort"] for binding in container.ports[f"{PORT}/tcp"]}
        yield f"http://127.0.0.1:{port}"
    finally:
        container.remove(force=True)


def push(address: str) -> dict[str, str]:
    """Push an image and return its address by digest. A tag that the registry has already is left as it is."""
    client = engine()
    repository, _, tag = address.rpartition(":")
    if "/" not in repository:
        raise ValueError(f"IMAGE_REPOSITORY {repository!r} names no registry: write registry.example/premiere")
    credentials = login(repository)
    digest = _remote(client, address, credentials)
    if digest is None:
        for line in client.images.push(repository, tag, stream=True, decode=True, auth_config=credentials):
            if "error" in line:
                raise RuntimeError(f"{address} was not pushed: {line['error']}")
        digest = _remote(client, address, credentials)
    if digest is None:
        raise RuntimeError(f"{address} was pushed, but the registry does not have it")
    return {"where": f"{repository}@{digest}", "digest": digest}


def require(address: str, image_id: str) -> None:
    """Raise LookupError unless the engine has the image."""
    client = engine()
    if not _local(client, image_id):
        raise LookupError(f"{address} ({image_id[:19]}) is gone from the Docker engine: pull it, or promote again")


def require_remote(address: str, digest: str) -> None:
    """Raise LookupError unless the registry has the image."""
    if _remote(engine(), address, login(address.partition("@")[0])) != digest:
        raise LookupError(f"{address} is gone from the registry: push it again from where it still is")


def delete(addresses: Collection[str]) -> int:
    """Delete images from the engine, where they are and nothing runs of them; return how many.

    Where no engine answers there are none that could be deleted.
    """
    removed = 0
    try:
        client = engine() if addresses else None
    except RuntimeError:
        return 0
    for address in addresses:
        if client and _local(client, address):
            try:
                client.images.remove(address)
                removed += 1
            except APIError as error:
                if error.status_code != 409:  # in use
                    raise
    return removed


def login(repository: str) -> dict[str, str] | None:
    """Return the login for Amazon ECR, from AWS's credentials; None for others, where docker's own logins count."""
    found = ECR.match(repository)
    if not found:
        return None
    account, region, _ = found.groups()
    client = boto3.session.Session().client("ecr", region_name=region)
    token = client.get_authorization_token(registryIds=[account])["authorizationData"][0]["authorizationToken"]
    user, _, password = base64.b64decode(token).decode().partition(":")
    return {"username": user, "password": password}


def _local(client: docker.DockerClient, address: str) -> bool:
    try:
        client.images.get(address)
    except ImageNotFound:
        return False
    return True


def _remote(client: docker.DockerClient, address: str, credentials: dict[str, str] | None) -> str | None:
    """Return the digest that a registry has for an address, or None."""
    try:
        return str(client.images.get_registry_data(address, auth_config=credentials).id)
    except NotFound:
        return None
    except APIError as error:
        if "unknown" in str(error) or "not found" in str(error):  # a registry's words for what it lacks
            return None
        raise


def _builder() -> dict[str, str]:
    """Use the engine's classic builder where the docker command has no buildx."""
    found = subprocess.run(["docker", "buildx", "version"], capture_output=True, check=False)
    return {"DOCKER_BUILDKIT": os.environ.get("DOCKER_BUILDKIT", "1" if found.returncode == 0 else "0")}
