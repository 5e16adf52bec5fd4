from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from settings import PROJECT
from tasks import lease as leases
from tasks.lease import Taken, lease
from tasks.store import FolderStore

HOLD = """
import sys, time
from pathlib import Path
from tasks.lease import lease
from tasks.store import FolderStore
with lease(FolderStore(Path(sys.argv[1])), "promotion", "another run"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


def test_the_second_is_told_who_holds_it_and_it_is_free_again_after(store: FolderStore) -> None:
    with lease(store, "promotion", "run one"):
        with pytest.raises(Taken, match="run one on"), lease(store, "promotion", "run two"):
            pytest.fail("held twice")
        with lease(store, "another", "run two"):
            pass
    with lease(store, "promotion", "run two"):
        pass
    assert store.keys("leases/") == []


def test_a_killed_holder_on_this_host_is_no_obstacle(store: FolderStore) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(store.folder)], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(Taken, match="another run"), lease(store, "promotion", "this run"):
        pytest.fail("held twice")
    holder.kill()
    holder.wait()
    with lease(store, "promotion", "this run"):
        pass


def test_a_claim_of_another_host_counts_until_it_is_no_longer_renewed(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = {"by": "run far away", "host": "elsewhere", "place": "elsewhere", "pid": 1, "until": "2999-01-01T00:00:00"}
    store.write("leases/promotion/20200101T000000.000000Z-x.json", json.dumps(claim).encode())
    with pytest.raises(Taken, match="run far away on elsewhere"), lease(store, "promotion", "this run"):
        pytest.fail("held twice")
    claim["until"] = "2020-01-01T00:01:00"
    store.write("leases/promotion/20200101T000000.000000Z-x.json", json.dumps(claim).encode())
    with lease(store, "promotion", "this run"):
        pass
    # A claim that looks later than ours, by a clock that runs ahead, is waited for and then respected.
    monkeypatch.setattr(leases, "PATIENCE", 0.3)
    claim["until"] = "2999-01-01T00:00:00"
    store.write("leases/promotion/29990101T000000.000000Z-x.json", json.dumps(claim).encode())
    with pytest.raises(Taken, match="run far away"), lease(store, "promotion", "this run"):
        pytest.fail("held twice")


def test_of_many_at_once_never_two_hold_it(store: FolderStore) -> None:
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


def test_a_holder_keeps_saying_so(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RENEWED", 0.05)
    with lease(store, "promotion", "run"):
        (key,) = store.keys("leases/promotion/")
        first = store.read(key)
        deadline = time.monotonic() + 10
        while store.read(key) == first:
            assert time.monotonic() < deadline
            time.sleep(0.02)
