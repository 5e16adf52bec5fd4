"""Targets for real: an S3 server, a Docker engine, an image registry."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import docker
import pytest
from conftest import S3Server, World

from flows.ship import ship_model
from settings import get_settings
from tasks.foundation.store import open_store
from tasks.registry import versions as registry
from tasks.registry.versions import CHAMPION
from tasks.release import ledger
from tasks.release.shipping import CHAMPION_KEY, switch_to, with_needed
from tasks.release.targets import images
from tasks.release.targets.bento import content_name
from tasks.release.targets.shipment import Shipment


def test_targets_bring_those_that_they_need_in_the_order_of_work() -> None:
    assert with_needed(["registry"]) == ["image", "registry"]
    assert with_needed(["ecs", "bento"]) == ["bento", "image", "registry", "ecs"]
    assert with_needed(["compose", "s3"]) == ["s3", "image", "compose"]


def test_a_bento_lies_in_s3_with_its_manifest_and_damage_is_seen(
    world: World, server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="STORE_URI is the folder"):
        ship_model(["s3"])
    monkeypatch.setenv("STORE_URI", "s3://movies/premiere")
    get_settings.cache_clear()
    version, store = registry.find(CHAMPION), open_store("s3://movies/premiere")
    key = ship_model(["s3"])["s3"]
    manifest = json.loads(store.read(f"{key}.json"))
    assert hashlib.sha256(store.read(key)).hexdigest() == manifest["sha256"]
    assert manifest["model"] == version.tags["sha256"]
    assert json.loads(store.read(CHAMPION_KEY)) == {"key": key, "sha256": manifest["sha256"]}
    assert [record.event for record in ledger.read()] == ["shipped"]
    store.write(key, store.read(key)[:-1])
    with pytest.raises(RuntimeError, match="was uploaded: delete it and ship again"):
        switch_to(Shipment(target="s3", where=key, digest=manifest["sha256"]))


@pytest.fixture
def repository(image_registry: str, monkeypatch: pytest.MonkeyPatch, world: World) -> str:
    name = f"{image_registry}/premiere"
    monkeypatch.setenv("IMAGE_REPOSITORY", name)
    monkeypatch.setenv("STORE_URI", str(world.folder / "pushed"))  # a ledger of its own
    get_settings.cache_clear()
    return name


@pytest.mark.docker
@pytest.mark.timeout(1200)
def test_the_image_is_lean_says_what_it_is_answers_as_the_model_and_is_pushed_once(
    world: World, docker_engine: docker.DockerClient, repository: str
) -> None:
    version = registry.find(CHAMPION)
    where = ship_model(["registry"])
    assert where["image"] == f"{repository}:{content_name(version)}"
    image = docker_engine.images.get(where["image"])
    config = image.attrs["Config"]
    assert image.attrs["Size"] <= images.MOST_BYTES
    assert config["User"] not in ("", "root", "0")
    assert "readyz" in " ".join(config["Healthcheck"]["Test"])
    assert config["Labels"]["premiere.model.sha256"] == version.tags["sha256"]
    assert config["Labels"]["premiere.data"] == version.tags["data"]
    assert config["Labels"]["org.opencontainers.image.revision"] == version.tags["commit"]
    assert config["Labels"]["org.opencontainers.image.version"] == version.label
    for program in ("gcc", "git", "cc"):
        found = docker_engine.containers.run(image.id, ["sh", "-c", f"command -v {program} || echo none"], remove=True)
        assert found.decode().strip().splitlines()[-1] == "none"
    assert not any("TOKEN" in entry or "SECRET" in entry for entry in config["Env"])

    name, _, digest = where["registry"].partition("@")
    assert name == repository
    assert docker_engine.images.get_registry_data(where["image"]).id == digest
    assert ship_model(["registry"]) == where  # again: nothing is built or pushed
    assert [record.event for record in ledger.read()] == ["shipped"]
    assert images.push(where["image"]) == {"where": where["registry"], "digest": digest}

    kept = {s.target: s for s in ledger.read()[-1].shipments}
    images.require(kept["image"].where, kept["image"].digest)
    images.require_remote(kept["registry"].where, kept["registry"].digest)
    with pytest.raises(LookupError, match="gone from the Docker engine"):
        images.require(kept["image"].where, "sha256:" + "0" * 64)
    with pytest.raises(LookupError, match="gone from the registry"):
        images.require_remote(f"{repository}@sha256:{'0' * 64}", "sha256:" + "0" * 64)
    # By digest it comes back onto a host that never built it, and answers.
    docker_engine.images.remove(where["image"], force=True)
    docker_engine.images.pull(where["registry"])
    with images.running(where["registry"]) as url:
        images.probe(version, url, 60_000)


@pytest.mark.docker
def test_an_image_that_does_not_get_healthy_is_refused_with_its_words(docker_engine: docker.DockerClient) -> None:
    recipe = b'FROM python:3.11-slim\nCMD ["sh", "-c", "echo out of order; exit 3"]\n'
    image, _ = docker_engine.images.build(fileobj=io.BytesIO(recipe), rm=True)
    words = r"is exited and without a health check after its start:\nout of order"
    with pytest.raises(RuntimeError, match=words), images.running(image.id):
        pytest.fail("healthy")


def test_a_repository_without_a_registry_and_an_engine_that_is_not_there_are_named(
    environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(RuntimeError, match=r"no Docker engine answers .*: start one, or set DOCKER_HOST"):
        images.engine()
    anyone: Any = None
    monkeypatch.setattr(images, "engine", lambda: anyone)
    with pytest.raises(ValueError, match="names no registry"):
        images.push("premiere:v1-abc")
