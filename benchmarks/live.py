"""Months in minutes: the daily deployment on real servers, simulated days, faults, and a service that people ask.

    make live ARGS="--days 90"
    python -m benchmarks.live --days 10 --folder /tmp/life

The world is the sample's (sample/living.py), made small, with a level of ratings that falls by `TREND` a year; all of
it is synthetic. Everything else is real: PostgreSQL, S3, Prefect with a worker, MLflow, two services behind HAProxy,
which answer a constant load from the first champion on. Faults come at random, from a seed: TMDB's answers fail,
processes are killed, days are missed, a batch is broken, a disk is full, a challenger is worse.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks import live_report
from benchmarks.servers import Stack, stack

DAILY, TRAIN, PROMOTE = "premiere/daily", "train-model/daily", "promote-model/manual"
MOVIES, FIRST, TREND = 2_000, "2014-01-01", -1.2
FAULTS = 0.05  # share of TMDB's answers that fail
A_SECOND = 5.0  # requests
FOLLOWS = 90.0  # seconds within which all services say what the ledger says
GONE = 10.0  # seconds without a process, after which a run is taken for dead
LONGEST = 1_500.0  # seconds of a day
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
EVENTS = (
    "kill the run", "kill the run", "kill the worker", "kill Prefect", "kill MLflow", "kill PostgreSQL", "kill S3",
    "kill a service", "kill a service", "a day off", "a broken batch", "a worse challenger", "a full disk",
)  # fmt: skip


@dataclass
class Asked:
    """What people got: requests by version, what failed, and how long answers took."""

    answered: dict[str, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def total(self) -> int:
        """Return how many were answered."""
        return sum(self.answered.values())


@dataclass
class Day:
    """What became of a day."""

    day: date
    event: str = ""
    state: str = ""
    words: str = ""
    seconds: float = 0.0
    bytes: int = 0
    asked: int = 0
    failed: int = 0
    champion: str = ""
    disagree: str = ""
    movies: int = 0


class People(threading.Thread):
    """Ask the service at a constant rate until told to stop."""

    MOVIE = {"title": "A film (synthetic)", "genres": ["Drama"], "release_date": "2027-03-05", "runtime": 104}  # noqa: RUF012

    def __init__(self, front: str) -> None:
        super().__init__(name="people", daemon=True)
        self.front, self.asked, self.over = front, Asked(), threading.Event()

    def run(self) -> None:
        """Ask, one after the other, each on its time."""
        with httpx.Client(base_url=self.front, timeout=60) as client:
            due = time.monotonic()
            while not self.over.wait(max(0.0, due - time.monotonic())):
                due = max(due + 1 / A_SECOND, time.monotonic() - 5)
                began = time.monotonic()
                try:
                    answer = client.post("/predict", json={"movie": self.MOVIE})
                except httpx.TransportError as error:
                    self.asked.failed.append(f"{datetime.now(UTC):%H:%M:%S} {type(error).__name__}: {error}")
                    continue
                if answer.status_code == 200:
                    version = answer.json()["model"]["version"]
                    self.asked.answered[version] = self.asked.answered.get(version, 0) + 1
                    self.asked.seconds.append(time.monotonic() - began)
                else:
                    self.asked.failed.append(f"{datetime.now(UTC):%H:%M:%S} {answer.status_code}: {answer.text[:120]}")


class Life:
    """One life: its servers, its days, and those who ask."""

    def __init__(
        self, servers: Stack, start: date, seed: int, trials: int, shocks: list[str], say: Callable[[str], None]
    ):
        self.servers, self.start, self.trials, self.shocks, self.say = servers, start, trials, shocks, say
        self.rng = random.Random(seed)
        self.people = People(servers.front)
        self.days: list[Day] = []
        self.missed: list[date] = []

    def live(self, days: int, events: dict[int, str] | None = None) -> None:
        """Live so many days; `events` say what happens on which, from 0; default: at random on every third."""
        for number in range(days):
            if events is not None:
                event = events.get(number, "")
            else:
                event = self.rng.choice(EVENTS) if number > 2 and self.rng.random() < 1 / 3 else ""
            day = self.start + timedelta(days=number)
            if event == "a day off" and number < days - 1:
                self.missed.append(day)
                self.days.append(Day(day, event, "missed"))
                continue
            self.days.append(self._day(day, event))
            self.say(self._told(self.days[-1]))

    def _day(self, day: date, event: str) -> Day:
        done, began = Day(day, event), time.monotonic()
        asked, failed = self.people.asked.total(), len(self.people.asked.failed)
        if event == "a worse challenger":
            old = str(day - timedelta(days=900))
            self._run(TRAIN, day, {"as_of": old, "trials": 1, "source": "sample"}, "")
            self._run(PROMOTE, day, {}, "")
        for other in self.missed:
            self._begin(DAILY, other, self._parameters(), "")
        self.missed = []
        options = f"--shock scale={day}" if event == "a broken batch" else ""
        with self.servers.full_disk() if event == "a full disk" else nullcontext():
            done.state, done.words = self._run(DAILY, day, self._parameters(), event, options)
        done.seconds = time.monotonic() - began
        self._see_to_services()
        done.champion, done.disagree = self._agreement()
        done.bytes = self.servers.bytes()
        done.asked, done.failed = self.people.asked.total() - asked, len(self.people.asked.failed) - failed
        return done

    def _parameters(self) -> dict[str, Any]:
        return {"trials": self.trials, "tune_every": 7, "source": "sample", "ship_to": ["bento", "s3"]}

    def _begin(self, deployment: str, day: date, parameters: dict[str, Any], options: str) -> str:
        """Begin a run of a deployment, scheduled for a day; return its id."""
        api = self.servers.environment["PREFECT_API_URL"]
        shocks = " ".join(f"--shock {shock}" for shock in self.shocks)
        sample = f"{self.servers.environment['SAMPLE_OPTIONS']} {shocks} {options}"
        scheduled = {"scheduled_time": f"{day}T05:00:00Z"}
        asked = {
            "parameters": parameters,
            "state": {"type": "SCHEDULED", "state_details": scheduled},
            "job_variables": {"env": {"SAMPLE_OPTIONS": sample}},
        }
        found = httpx.get(f"{api}/deployments/name/{deployment}", timeout=60).raise_for_status().json()
        begun = httpx.post(f"{api}/deployments/{found['id']}/create_flow_run", json=asked, timeout=60)
        return str(begun.raise_for_status().json()["id"])

    def _run(
        self, deployment: str, day: date, parameters: dict[str, Any], event: str, options: str = ""
    ) -> tuple[str, str]:
        """Carry a run through to its end, with what happens to it; return how it ended. One that died is begun anew."""
        run = self._begin(deployment, day, parameters, options)
        strike = time.monotonic() + self.rng.uniform(5, 60) if event.startswith("kill") else float("inf")
        deadline, struck, seen = time.monotonic() + LONGEST, False, time.monotonic()
        while True:
            time.sleep(1)
            state = self._state(run)
            if state.get("type") != "RUNNING" or processes_of(run):
                seen = time.monotonic()
            if time.monotonic() - seen > GONE:  # it died, and could not say so
                return self._run(deployment, day, parameters, "", options)
            if not struck and time.monotonic() > strike and state.get("type") == "RUNNING":
                struck = True
                if self._strike(event, run):  # the run died with it: a person, or the next day, begins another
                    self.days.append(Day(day, event, "killed"))
                    return self._run(deployment, day, parameters, "", options)
            if state.get("type") in ENDED:
                if state["type"] == "CRASHED":
                    return self._run(deployment, day, parameters, "", options)
                return state["name"], state.get("message") or ""
            if time.monotonic() > deadline:
                raise RuntimeError(f"{deployment} of {day} did not end within {LONGEST:.0f} s: {state}")

    def _state(self, run: str) -> dict[str, Any]:
        with suppress(httpx.HTTPError, ValueError):
            answer = httpx.get(f"{self.servers.environment['PREFECT_API_URL']}/flow_runs/{run}", timeout=10)
            if answer.status_code == 200:
                return dict(answer.json()["state"])
        return {}

    def _strike(self, event: str, run: str) -> bool:
        """Kill what the event names, and start it again as its supervisor would; say whether the run died with it."""
        name = {"kill Prefect": "prefect", "kill MLflow": "mlflow", "kill PostgreSQL": "postgres", "kill S3": "s3"}
        if event == "kill the run":
            return kill_run(run)
        if event == "kill the worker":
            self.servers.servers["worker"].kill()
            self.servers.servers["worker"].start()
            return True
        if event == "kill a service":
            service = self.servers.servers[self.rng.choice(["service-a", "service-b"])]
            if service.process:
                service.kill()
                threading.Thread(target=service.start, daemon=True).start()
            return False
        server = self.servers.servers[name[event]]
        server.kill()
        time.sleep(3)
        server.start()
        return False

    def _see_to_services(self) -> None:
        """Start the services once there is a champion, and those who ask."""
        from tasks.registry.versions import current_champion

        if self.servers.servers["front"].process or not current_champion():
            return
        for name in ("service-a", "service-b", "front"):
            self.servers.servers[name].start()
        self.people.start()

    def _agreement(self) -> tuple[str, str]:
        """Return the champion, and where ledger, alias and services differ though they had time to agree; or ""."""
        from tasks.registry.versions import current_champion
        from tasks.release import ledger

        deadline = time.monotonic() + FOLLOWS
        while True:
            path, champion = ledger.champions(ledger.read()), current_champion()
            said = {"ledger": f"v{path[-1]}" if path else "", "alias": champion.label if champion else ""}
            if self.people.is_alive():
                for url in self.servers.services:
                    with suppress(httpx.HTTPError, ValueError, KeyError):
                        said[url] = httpx.get(f"{url}/model/info", timeout=10).json()["version"]
            if len(set(said.values())) == 1:
                return said["ledger"], ""
            if time.monotonic() > deadline:
                return said["ledger"], str(said)
            time.sleep(1)

    def _told(self, day: Day) -> str:
        parts = [str(day.day), f"{day.champion or 'no champion':<12}", f"{day.seconds:5.0f} s", f"{day.state:<10}"]
        parts += [f"{day.asked:>5} asked {day.failed} failed", f"{day.bytes / 1e6:6.0f} MB", day.event, day.words[:200]]
        return "  ".join(filter(None, [*parts, day.disagree and f"DISAGREE {day.disagree}"]))


def processes_of(run: str) -> list[psutil.Process]:
    """Return the processes that carry out a run, without what they have started."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if "prefect.engine" in process.cmdline() and process.environ().get("PREFECT__FLOW_RUN_ID") == run:
                found.append(process)
    return found


def kill_run(run: str) -> bool:
    """Kill the process of a run with all that it has started; say whether there was one."""
    found = processes_of(run)
    for process in found:
        with suppress(psutil.Error):
            for one in [*process.children(recursive=True), process]:
                with suppress(psutil.Error):
                    one.kill()
    return bool(found)


def main(argv: list[str] | None = None) -> int:
    """Live, and report; return 1 where something that must not happen did."""
    parser = argparse.ArgumentParser(description="Live simulated days on real servers")
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--start", type=date.fromisoformat, help="first day; default: so many days before 1 October")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trials", type=int, default=4)
    parser.add_argument("--movies", type=int, default=MOVIES)
    parser.add_argument("--shock", action="append", default=[], metavar="NAME=DAY", help="sample/living.py")
    parser.add_argument("--calm", action="store_true", help="no fault but those of TMDB's answers")
    parser.add_argument("--folder", type=Path, help="a new folder for all that is kept; default: a temporary one")
    parser.add_argument("--report", type=Path, default=Path("benchmarks/results/live.html"))
    options = parser.parse_args(argv)
    start = options.start or date(2026, 10, 1) - timedelta(days=options.days)
    folder = options.folder or Path(tempfile.mkdtemp(prefix="premiere-life-")) / "life"
    sample = f"--movies {options.movies} --first {FIRST} --trend={TREND}={start - timedelta(days=30)}"
    sample += f" --faults {FAULTS} --seed {options.seed}"
    began = time.monotonic()
    with stack(folder, SAMPLE_OPTIONS=sample) as servers:
        os.environ.update(servers.environment)
        life = Life(servers, start, options.seed, options.trials, options.shock, lambda line: print(line, flush=True))
        life.live(options.days, {} if options.calm else None)
        life.people.over.set()
        report = live_report.judge(life, sample)
    print(report.text())
    options.report.parent.mkdir(parents=True, exist_ok=True)
    options.report.write_text(report.html())
    print(f"\n{time.monotonic() - began:.0f} s, {options.report}")
    if not options.folder:
        shutil.rmtree(folder.parent, ignore_errors=True)
    return 1 if report.broken else 0


if __name__ == "__main__":
    sys.exit(main())
