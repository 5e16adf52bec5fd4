"""Bring a version to where it is used, and make it the one that is used there.

For each target two steps: `prepare` builds, uploads and verifies and changes nothing in use; `activate` switches to
what was prepared, now or long ago, by its digest and without building. Targets that are addressed by digest alone
(BentoML's store, images, registries) have nothing to switch: there `activate` makes sure that the content still stands.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from prefect import get_run_logger, task

from settings import get_settings
from tasks.foundation.store import S3Store, open_store
from tasks.registry.versions import Version
from tasks.release.targets import bento, compose, ecs, images
from tasks.release.targets.shipment import Shipment, Target

NEEDS: dict[Target, Target] = {"registry": "image", "ecs": "registry", "compose": "image"}
ORDER: tuple[Target, ...] = ("bento", "s3", "image", "registry", "ecs", "compose")
SWITCHED: tuple[Target, ...] = ("s3", "ecs", "compose")  # where one version is in use; elsewhere all lie side by side
CHAMPION_KEY = "bentos/champion.json"  # says which bento in the store is in use


def with_needed(ship_to: Sequence[Target]) -> list[Target]:
    """Return targets in the order of work, with those that they need: a registry needs an image."""
    wanted = set(ship_to)
    for target in ORDER[::-1]:
        if target in wanted and target in NEEDS:
            wanted.add(NEEDS[target])
    return [target for target in ORDER if target in wanted]


@task(name="prepare", task_run_name="prepare {version.label} for {target}", retries=1, retry_delay_seconds=5)
def prepare(version: Version, target: Target, before: dict[Target, Shipment]) -> Shipment:
    """Build, upload and verify a version for a target; `before` holds the targets that were prepared already."""
    match target:
        case "bento":
            return Shipment(target=target, where=bento.store_bento(version), digest=bento.content(version))
        case "s3":
            return _export(version)
        case "image":
            return Shipment(target=target, **images.build(version))
        case "registry":
            return Shipment(target=target, **images.push(before["image"].where))
        case "ecs":
            return Shipment(target=target, **ecs.register(before["registry"].where))
        case "compose":
            return Shipment(target=target, where=before["image"].where, digest=before["image"].digest)


@task(name="activate", task_run_name="activate {shipment.target} {shipment.where}")
def activate(shipment: Shipment) -> None:
    """Make a prepared version the one in use at its target. Again, it changes nothing. Raises where it cannot."""
    switch_to(shipment)
    get_run_logger().info("%s: %s (%s)", shipment.target, shipment.where, shipment.digest[:19])


def switch_to(shipment: Shipment) -> None:
    """Do what `activate` does, outside a run, too."""
    switch: dict[Target, Callable[[Shipment], None]] = {
        "bento": lambda s: bento.require(s.where, s.digest),
        "s3": _point,
        "image": lambda s: images.require(s.where, s.digest),
        "registry": lambda s: images.require_remote(s.where, s.digest),
        "ecs": lambda s: ecs.update(s.where),
        "compose": lambda s: compose.swap(s.where, s.digest),
    }
    switch[shipment.target](shipment)


def in_use(target: Target) -> str:
    """Return the digest of what a target that is switched serves now, or its address where it knows no digest.

    "" where it serves nothing. Raises what the target raises where it cannot be asked.
    """
    match target:
        case "s3":
            try:
                return str(json.loads(_bucket().read(CHAMPION_KEY))["sha256"])
            except (FileNotFoundError, ValueError, KeyError):
                return ""
        case "ecs":
            return ecs.serving()
        case "compose":
            found = compose.serving()
            return str(found.image.id) if found else ""
    raise ValueError(f"nothing is in use at {target}: versions lie there side by side")


def _export(version: Version) -> Shipment:
    """Put the bento into the store as one file, read it back, and write its manifest last."""
    store, tag = _bucket(), bento.store_bento(version)
    key = f"bentos/premiere-{bento.content_name(version)}.bento"
    try:
        digest = str(json.loads(store.read(f"{key}.json"))["sha256"])
    except FileNotFoundError:
        with tempfile.TemporaryDirectory() as folder:
            content = bento.export(tag, Path(folder)).read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        store.write(key, content)
        _verify(store, key, digest)
        facts = {"bento": tag, "model": version.tags["sha256"], "commit": version.tags["commit"], "sha256": digest}
        store.write(f"{key}.json", json.dumps(facts, indent=1).encode())
    else:
        _verify(store, key, digest)
    return Shipment(target="s3", where=key, digest=digest)


def _bucket() -> S3Store:
    store = open_store(get_settings().store_uri)
    if not isinstance(store, S3Store):
        raise ValueError(
            f"the target s3 needs a bucket, but STORE_URI is the folder {store.uri}: set s3://bucket/prefix"
        )
    return store


def _verify(store: S3Store, key: str, digest: str) -> None:
    found = hashlib.sha256(store.read(key)).hexdigest()
    if found != digest:
        raise RuntimeError(f"{store.uri}/{key} has SHA-256 {found}, {digest} was uploaded: delete it and ship again")


def _point(shipment: Shipment) -> None:
    store = _bucket()
    _verify(store, shipment.where, shipment.digest)
    store.write(CHAMPION_KEY, json.dumps({"key": shipment.where, "sha256": shipment.digest}).encode())
