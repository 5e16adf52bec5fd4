"""Wait for what was started: while it lives, no longer than START_SECONDS, and not in silence."""

from __future__ import annotations

import fcntl
import hashlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from settings import get_settings

LOOK, SPEAK = 0.2, 10.0  # seconds between looks, and between words of what is waited for


def tell(words: str) -> None:
    """Tell whoever sits at the terminal."""
    print(words, file=sys.stderr, flush=True)


def wait_for(
    what: str,
    ready: Callable[[], bool],
    log: Callable[[], str] = lambda: "",
    say: Callable[[str], object] = tell,
) -> None:
    """Return once `ready` says so; it raises where what is waited for has ended. `log` is what that wrote so far.

    Raises RuntimeError, with the end of its log, where it takes more than START_SECONDS.
    """
    most = get_settings().start_seconds
    begun = spoken = time.monotonic()
    while not ready():
        now = time.monotonic()
        if now - begun > most:
            words = log()[-3000:]
            raise RuntimeError(too_long(what, most) + (f"; its last words:\n{words}" if words else ""))
        if now - spoken > SPEAK:
            last = log().strip().splitlines()[-1:]
            say(still(what, now - begun, most) + (f"; its last words: {last[0][:200]}" if last else ""))
            spoken = now
        time.sleep(min(LOOK, most))


@contextmanager
def alone(what: str, address: str) -> Iterator[None]:
    """Hold the lock of the making of a database at this address while the block runs; others on this host wait for it.

    MLflow's own lock has the same name. The system lets go of it when its holder ends, however that one ends.
    """
    digest = hashlib.md5(address.encode(), usedforsecurity=False).hexdigest()
    path = Path(tempfile.gettempdir()) / f"db_init_lock-{digest}"
    if not path.exists():
        path.touch()
    with path.open("rb") as lock:  # to read: it may be another user's

        def held() -> bool:
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            return False

        wait_for(f"another start to make {what}", held)
        yield


def still(what: str, waited: float, most: float) -> str:
    """Say what is waited for."""
    return f"Still waiting for {what}, {waited:.0f} s of {most:g} so far (START_SECONDS)"


def too_long(what: str, most: float) -> str:
    """Say that a start took too long, and what to do."""
    return f"{what} did not start within {most:g} s: see why, or set START_SECONDS higher where the machine is slow"
