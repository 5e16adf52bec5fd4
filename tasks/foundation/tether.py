"""A child on a tether: it ends with the process that started it, however that one ends, by `kill -9` too.

    subprocess.Popen(tethered(*command), stdin=subprocess.PIPE)

The pipe is the tether: the system closes it with its last holder. Before the command takes this process over, so that
its pid, signals, output and exit code are its own, a small copy stays behind and reads the pipe. When that closes, the
copy ends the command and all that it started; when the command is gone, what it left of its process group.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

LOOK = 0.5  # seconds
GRACE = 15  # seconds between the request to end and the end


def tethered(*command: str) -> list[str]:
    """Return the command that runs a command on a tether; it wants `stdin=subprocess.PIPE`."""
    return [sys.executable, "-P", str(Path(__file__).resolve()), "--", *command]


def hold() -> None:
    """Tie this process, which becomes the leader of a process group, to its stdin from now on.

    Does nothing where stdin is no pipe: then a person or a supervisor runs it.
    """
    if not stat.S_ISFIFO(os.fstat(0).st_mode):
        return
    leader = os.getpid()
    if os.getpgrp() != leader:
        os.setsid()
    if os.fork() == 0:
        try:
            _watch(leader)
        finally:
            os._exit(0)
    _give_away(0)


def _watch(leader: int) -> None:
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends last
    _give_away(1, 2)
    while os.getppid() == leader:
        readable, _, _ = select.select([0], [], [], LOOK)
        if readable and not os.read(0, 4096):
            break
    _end(leader)


def _give_away(*descriptors: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in descriptors:
        os.dup2(nothing, descriptor)
    os.close(nothing)


def _end(leader: int) -> None:
    """Ask the family to end, and end what is left of it a while later."""
    import psutil  # only now: the watching copy stays small

    family = _family(leader)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        _, family = psutil.wait_procs(family, GRACE)


def _family(leader: int) -> list[psutil.Process]:
    """Return the leader's process group and its descendants, even those that lead groups of their own."""
    import psutil

    found = {process.pid: process for process in psutil.process_iter() if _group(process.pid) == leader}
    if leader in found and os.getppid() == leader:
        found |= {process.pid: process for process in found[leader].children(recursive=True)}
    found.pop(os.getpid(), None)
    return [process for process in found.values() if _lives(process)]


def _lives(process: psutil.Process) -> bool:
    import psutil

    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def main() -> None:
    """Become the command that is given after `--`, on a tether."""
    command = sys.argv[2:]
    if sys.argv[1:2] != ["--"] or not command or not stat.S_ISFIFO(os.fstat(0).st_mode):
        sys.exit("tether.py -- COMMAND...: needs a command, and as stdin a pipe that its parent holds")
    hold()
    try:
        os.execvp(command[0], command)  # noqa: S606 (the command of whoever starts us)
    except OSError as error:
        sys.exit(f"{command[0]} cannot be run: {error}")


if __name__ == "__main__":
    main()
