"""One at a time, across hosts, with nothing but the store: who holds the lease says so there and keeps saying so.

A lease is a row of numbered claims, `locks/<name>/000000000042.json`. Who finds the last claim given back, run out, or
of a process of this host that is gone, creates the next number; the store lets one of several do that (`Store.create`).
The number is a fence: whoever was thought dead and wakes up finds a higher one. So a holder looks (`Lease.check`)
before each step that others see.
"""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tasks.foundation.run_log import log
from tasks.foundation.store import Store

RENEWED, LASTS = 15.0, 60.0  # seconds
_CLAIM = re.compile(r"\d{12}\.json")


class Taken(Exception):
    """Somebody else holds the lease."""


class Lost(Exception):
    """The lease is no longer ours: it ran out, and somebody else may hold it. Nothing more may be moved."""


@dataclass
class Lease:
    """A lease that is held. `number` is larger than that of every holder before.

    `died` says who held it last and never gave it back; "" where nobody did.
    """

    store: Store
    name: str
    number: int
    by: str
    died: str = ""
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    until: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def key(self) -> str:
        """Where the claim stands in the store."""
        return f"locks/{self.name}/{self.number:012}.json"

    def claim(self, lasts: float) -> bytes:
        """Return the claim as it is written: by whom, where, until when."""
        self.until = datetime.now(UTC) + timedelta(seconds=lasts)
        claim = {"by": self.by, "host": socket.gethostname(), "place": _place(), "pid": os.getpid()}
        return json.dumps(
            claim | {"token": self.token, "until": self.until.isoformat(), "given_back": not lasts}
        ).encode()

    def check(self) -> None:
        """Raise Lost unless the lease is still ours."""
        higher = [key for key in _claims(self.store, self.name) if key > self.key]
        if higher or datetime.now(UTC) > self.until:
            what = f"{higher[-1]} is higher" if higher else f"it was last renewed to last until {self.until:%H:%M:%S}"
            raise Lost(f"{self.by} no longer holds the lease {self.name} ({what}): run it again, it goes on from there")


@contextmanager
def lease(store: Store, name: str, by: str) -> Iterator[Lease]:
    """Hold a lease while the block runs. Raises Taken, with who holds it, where somebody else does."""
    held = _take(store, name, by)
    stop = threading.Event()
    renewing = threading.Thread(target=_renew, args=(held, stop), name=f"lease {name}", daemon=True)
    renewing.start()
    try:
        yield held
    finally:
        stop.set()
        renewing.join()
        try:
            for key in _claims(store, name):
                if key < held.key:
                    store.delete(key)
            store.write(held.key, held.claim(0))  # the number stays, so that numbers only grow
        except Exception as error:  # what was done under the lease is done
            log().warning("the lease %s could not be given back, it runs out by itself: %s", name, error)


def _take(store: Store, name: str, by: str) -> Lease:
    claims = _claims(store, name)
    last = _refuse_if_held(store, claims[-1]) if claims else {}
    died = last["by"] if not last.get("given_back", True) else ""
    held = Lease(store, name, int(Path(claims[-1]).stem) + 1 if claims else 1, by, died)
    created = store.create(held.key, held.claim(LASTS))
    # A store asks again where its first answer was lost, and is then told that somebody created it: we did. Another
    # store's writes know no condition, and what it says that we created is somebody else's.
    if _read(store, held.key).get("token") != held.token:
        _refuse_if_held(store, held.key)
        if not created:
            raise Taken("somebody who took and gave it back in this moment")
    return held


def _refuse_if_held(store: Store, key: str) -> dict[str, Any]:
    """Return a claim that holds no more, {} for one that cannot be read; raises Taken for one that does."""
    claim = _read(store, key)
    gone = claim.get("place") == _place() and not _runs(int(claim["pid"]))
    if claim and not gone and claim["until"] > datetime.now(UTC).isoformat():
        raise Taken(f"{claim['by']} on {claim['host']}")
    return claim


def _renew(held: Lease, stop: threading.Event) -> None:
    """Renew until told to stop; what fails is tried again, and when time runs out `check` says so."""
    pause = RENEWED
    while not stop.wait(pause):
        until = held.until
        try:
            held.store.write(held.key, held.claim(LASTS))
            pause = RENEWED
        except Exception as error:
            held.until, pause = until, min(RENEWED, 2.0)
            log().warning("the lease %s could not be renewed, it is tried again: %s", held.name, error)


def _claims(store: Store, name: str) -> list[str]:
    return [key for key in store.keys(f"locks/{name}/") if _CLAIM.fullmatch(Path(key).name)]


def _read(store: Store, key: str) -> dict[str, Any]:
    """Return a claim; {} for one that cannot be read, which holds nothing."""
    try:
        claim: dict[str, Any] = json.loads(store.read(key))
        whole = {"by", "host", "place", "token"} <= claim.keys() and int(claim["pid"]) > 0
        return claim if whole and datetime.fromisoformat(claim["until"]).tzinfo else {}
    except (FileNotFoundError, ValueError, AttributeError, TypeError, KeyError):
        return {}


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
