"""Ten days of a life: real servers, a small synthetic world, and what happens to servers in a year."""

from __future__ import annotations

import os
import shutil
from datetime import date
from pathlib import Path

import pytest

from benchmarks import live_report
from benchmarks.live import FAULTS, Life
from benchmarks.servers import postgres_programs, stack
from settings import get_settings

DAYS = 10
EVENTS = {
    1: "kill a service",
    2: "kill the run",
    3: "a broken batch",
    4: "a day off",
    5: "a day off",
    6: "kill MLflow",
    7: "a worse challenger",
    8: "kill the worker",
}


@pytest.mark.long
@pytest.mark.timeout(2400)
def test_ten_days_with_faults_lose_nothing_and_nobody_is_left_unanswered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if postgres_programs() is None or not (shutil.which("haproxy") or Path("/usr/sbin/haproxy").exists()):
        pytest.skip("PostgreSQL or HAProxy is not here: apt-get install postgresql haproxy")
    folder = Path("/tmp") / f"premiere-life-{os.getpid()}"  # PostgreSQL's user must reach it
    sample = f"--movies 1200 --first 2019-01-01 --trend=-1.2=2026-08-01 --faults {FAULTS}"
    lines: list[str] = []
    try:
        with stack(folder, SAMPLE_OPTIONS=sample) as servers:
            for name, value in servers.environment.items():
                monkeypatch.setenv(name, value)
            get_settings.cache_clear()
            life = Life(servers, date(2026, 9, 1), seed=0, trials=2, shocks=[], say=lines.append)
            life.live(DAYS, EVENTS)
            life.people.over.set()
            report = live_report.judge(life, sample)
    finally:
        get_settings.cache_clear()
        shutil.rmtree(folder, ignore_errors=True)
    told = "\n".join([*lines, report.text()])
    assert report.broken == [], told
    lived = {day.day.day: day for day in life.days if day.state not in ("missed", "killed")}
    assert lived.keys() == {n + 1 for n in range(DAYS) if EVENTS.get(n) != "a day off"}, told
    assert {day.state for day in lived.values()} == {"Completed"}, told  # what is broken is set aside, movie by movie
    assert report.facts["quarantined"] != "0 records", told
    assert life.people.asked.total() > 100
    assert report.months[0]["judged"] > 0
