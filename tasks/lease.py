"""One at a time, across hosts, with nothing but the store: who holds the lease says so there and keeps saying so.

Everybody writes a claim of their own, then looks at all claims. Alone, a claim holds. Where two see each other the
later one withdraws and the earlier waits for that. So two never hold at once, as listing a folder or S3 shows what was
written before. A claim that is no longer renewed, or whose process on this host is gone, counts for nothing.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tasks.store import Store

RENEWED, LASTS = 15, 60  # seconds
PATIENCE = 10.0  # seconds that an earlier claim waits for a later one to withdraw


class Taken(Exception):
    """Somebody else holds the lease."""


@contextmanager
def lease(store: Store, name: str, by: str) -> Iterator[None]:
    """Hold a lease while the block runs. Raises Taken, with who holds it, where somebody else does."""
    key = f"leases/{name}/{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{uuid.uuid4().hex[:8]}.json"
    _claim(store, key, by)
    stop = threading.Event()
    renewing = threading.Thread(target=_renew, args=(store, key, by, stop), daemon=True)
    try:
        _take(store, name, key)
        renewing.start()
        yield
    finally:
        stop.set()
        if renewing.ident:
            renewing.join()
        store.delete(key)


def _take(store: Store, name: str, key: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while others := {k: claim for k in store.keys(f"leases/{name}/") if k != key and (claim := _alive(store, k))}:
        if min(others) < key or time.monotonic() > deadline:
            raise Taken("; ".join(f"{claim['by']} on {claim['host']}" for claim in others.values()))
        time.sleep(0.2)


def _claim(store: Store, key: str, by: str) -> None:
    until = datetime.now(UTC) + timedelta(seconds=LASTS)
    claim = {"by": by, "host": socket.gethostname(), "place": _place(), "pid": os.getpid(), "until": until.isoformat()}
    store.write(key, json.dumps(claim).encode())


def _renew(store: Store, key: str, by: str, stop: threading.Event) -> None:
    while not stop.wait(RENEWED):
        _claim(store, key, by)


def _alive(store: Store, key: str) -> dict[str, Any] | None:
    """Return a claim that counts; remove one that does not."""
    try:
        claim: dict[str, Any] = json.loads(store.read(key))
    except FileNotFoundError:
        return None
    gone = claim["place"] == _place() and not _runs(claim["pid"])
    if gone or claim["until"] < datetime.now(UTC).isoformat():
        store.delete(key)
        return None
    return claim


def _place() -> str:
    """Name where process numbers mean the same: a host, or one container on it."""
    namespace = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()} {namespace.readlink() if namespace.is_symlink() else ''}"


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
