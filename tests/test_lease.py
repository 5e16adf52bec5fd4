from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from settings import PROJECT
from tasks.foundation import lease as leases
from tasks.foundation.lease import Lost, Taken, lease
from tasks.foundation.store import FolderStore, Store

HOLD = """
import sys, time
from tasks.foundation.lease import lease
from tasks.foundation.store import open_store
with lease(open_store(sys.argv[1]), "promotion", "another run"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "s3":
        found: Store = request.getfixturevalue("s3_store")
        return found
    return FolderStore(tmp_path)


def test_the_second_is_told_who_holds_it_and_it_is_free_again_after(store: Store) -> None:
    with lease(store, "promotion", "run one"):
        with pytest.raises(Taken, match="run one on"), lease(store, "promotion", "run two"):
            pytest.fail("held twice")
        with lease(store, "another", "run two"):
            pass
    with lease(store, "promotion", "run two"):
        pass
    assert len(store.keys("locks/promotion/")) == 1  # the last number stays, so that numbers only grow


def test_a_claim_whose_first_answer_was_lost_is_ours(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store asks again by itself, and is told that the file is there: it wrote it."""
    create = store.create

    def create_twice(key: str, data: bytes) -> bool:
        assert create(key, data)
        return create(key, data)

    monkeypatch.setattr(store, "create", create_twice)
    with lease(store, "promotion", "run one") as held:
        held.check()
        assert held.died == ""
    with lease(store, "promotion", "run two") as held:
        assert held.died == ""


def test_a_killed_holder_on_this_host_is_no_obstacle(store: Store) -> None:
    command = [sys.executable, "-c", HOLD, store.uri]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Taken, match="another run"), lease(store, "promotion", "this run"):
            pytest.fail("held twice")
        holder.kill()
    with lease(store, "promotion", "this run"):
        pass


def claim(store: Store, number: int, until: str, **changes: Any) -> None:
    facts = {"by": "run far away", "host": "elsewhere", "place": "elsewhere", "pid": 1, "token": "x", "until": until}
    store.write(f"locks/promotion/{number:012}.json", json.dumps(facts | changes).encode())


def test_a_claim_of_another_host_counts_until_it_is_no_longer_renewed(store: Store) -> None:
    claim(store, 7, until="2999-01-01T00:00:00+00:00")
    with pytest.raises(Taken, match="run far away on elsewhere"), lease(store, "promotion", "this run"):
        pytest.fail("held twice")
    claim(store, 7, until="2020-01-01T00:01:00+00:00")
    with lease(store, "promotion", "this run") as held:
        assert held.number == 8


def test_what_is_no_claim_is_passed_over(store: Store) -> None:
    for name in ("._000000000001.json", "x.json", "000000000001 (1).json"):
        store.write(f"locks/promotion/{name}", b"")
    store.write("locks/promotion/000000000003.json", b"")  # torn: it holds nothing, and its number is used up
    with lease(store, "promotion", "this run") as held:
        assert held.number == 4
        held.check()


def test_who_was_overtaken_is_told_before_the_next_step(store: Store) -> None:
    with lease(store, "promotion", "the sleeper") as held:
        held.check()
        claim(store, held.number + 1, until="2999-01-01T00:00:00+00:00")
        with pytest.raises(Lost, match="the sleeper no longer holds the lease promotion"):
            held.check()


def test_a_renewal_that_fails_is_tried_again_and_where_it_never_succeeds_the_lease_is_lost(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "RENEWED", 0.05)
    monkeypatch.setattr(leases, "LASTS", 0.5)
    failures = 3
    write = store.write

    def unsteady(key: str, data: bytes) -> None:
        nonlocal failures
        failures -= 1
        if failures > 0:
            raise ConnectionError("the store does not answer")
        write(key, data)

    with lease(store, "promotion", "this run") as held:
        monkeypatch.setattr(store, "write", unsteady)
        first = held.until
        until(lambda: held.until > first)
        held.check()
        failures = 1_000_000
        until(lambda: datetime.now(UTC) > held.until)
        with pytest.raises(Lost, match="last renewed"):
            held.check()
        failures = 0


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_of_many_at_once_never_two_hold_it(store: Store) -> None:
    holders, most, held, start = 0, 0, 0, threading.Barrier(8)

    def work(number: int) -> None:
        nonlocal holders, most, held
        start.wait()
        for _ in range(5):
            try:
                with lease(store, "promotion", f"run {number}"):
                    holders += 1
                    most, held = max(most, holders), held + 1
                    time.sleep(0.01)
                    holders -= 1
            except Taken:
                pass

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert held >= 1


def test_a_holder_keeps_saying_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RENEWED", 0.05)
    with lease(store, "promotion", "run"):
        (key,) = store.keys("locks/promotion/")
        first = store.read(key)
        deadline = time.monotonic() + 10
        while store.read(key) == first:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_who_comes_next_is_told_of_a_holder_that_died_and_of_no_other(store: Store) -> None:
    with lease(store, "promotion", "the first") as first:
        assert first.died == ""
    with lease(store, "promotion", "the second") as second:
        assert second.died == ""  # the first gave it back
    claim(store, 7, until="2020-01-01T00:01:00+00:00", given_back=False)
    with lease(store, "promotion", "the third") as third:
        assert third.died == "run far away"
    with lease(store, "promotion", "the fourth") as fourth:
        assert fourth.died == ""
