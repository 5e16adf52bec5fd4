"""A child ends with its parent, however that one ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from conftest import World

from settings import PROJECT
from tasks.foundation.tether import tethered

SHELL = "trap 'exit 9' TERM; echo ready; while :; do sleep 0.1; done"


def start(*command: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(tethered(*command), stdin=pipe, stdout=pipe, text=True)


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def gone(processes: list[psutil.Process], seconds: float = 10) -> bool:
    return not psutil.wait_procs(processes, seconds)[1]


def test_output_signals_and_exit_code_are_those_of_the_command() -> None:
    with start("sh", "-c", "echo ready; exit 7") as process:
        assert line(process) == "ready"
        assert process.wait(10) == 7
    with start("sh", "-c", SHELL) as process:
        assert line(process) == "ready"
        process.terminate()
        assert process.wait(10) == 9


def test_it_takes_no_time_to_start() -> None:
    begun = time.perf_counter()
    with start("echo", "ready") as process:
        assert line(process) == "ready"
    assert time.perf_counter() - begun < 1


def test_a_command_that_cannot_be_run_is_told() -> None:
    done = subprocess.run(tethered("no-such-command"), input="", capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert "no-such-command cannot be run" in done.stderr
    untied = subprocess.run(tethered("echo", "x"), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
    assert untied.returncode == 1
    assert "a pipe that its parent holds" in untied.stderr


def test_all_that_the_command_started_ends_with_the_pipe_whatever_session_it_is_in() -> None:
    # The last one hears no request to end.
    with start("sh", "-c", "sleep 600 & setsid sleep 601 & (trap '' TERM; echo ready; sleep 602) & wait") as process:
        assert line(process) == "ready"
        time.sleep(0.3)
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        assert len(family) >= 5
        assert process.stdin
        process.stdin.close()
        assert gone(family, 30)


def test_what_a_killed_command_leaves_of_its_group_is_ended() -> None:
    with start("sh", "-c", "sleep 600 & echo ready; wait") as process:
        assert line(process) == "ready"
        family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        assert gone(family)


def killed(code: str, name: str) -> tuple[list[psutil.Process], list[psutil.Process]]:
    """Run code in a process until it says ready and kill it; return what ran of that name, and all that it started."""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        assert line(process) == "ready"
        family = psutil.Process(process.pid).children(recursive=True)
        found = [child for child in family if name in " ".join(child.cmdline())]
        os.kill(process.pid, signal.SIGKILL)
    return found, family


def test_the_sample_server_ends_with_a_killed_run(environment: object) -> None:
    server, family = killed(
        "import time; from datetime import date\n"
        "from settings import get_settings; from tasks.data.source import open_source\n"
        "with open_source('sample', get_settings(), date.today()): print('ready', flush=True); time.sleep(600)",
        "sample.tmdb_server",
    )
    assert server
    assert gone(family)


@pytest.mark.timeout(300)
def test_a_tried_bento_and_its_workers_end_with_a_killed_promotion(world: World) -> None:
    workers, family = killed(
        "import time; from tasks.release.targets.bento import running\n"
        f"with running({world.promoted['shipped'][0]!r}): print('ready', flush=True); time.sleep(600)",
        "_bentoml_impl.worker",
    )
    assert workers
    assert gone(family, 30)
