"""The Docker engine, through its SDK: `DOCKER_HOST` and the logins of `docker login` count."""

from __future__ import annotations

import docker
from docker.errors import APIError, DockerException


def engine() -> docker.DockerClient:
    """Connect to the Docker engine; raises RuntimeError, with what to do about it, where there is none."""
    try:
        found = docker.from_env(timeout=600)
        found.ping()
    except (DockerException, APIError) as error:
        raise RuntimeError(f"no Docker engine answers ({error}): start one, or set DOCKER_HOST") from error
    return found
