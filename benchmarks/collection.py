"""Collect the real movies of ../shared from the stand-in: rate, faults, a kill, memory. Without them, the sample."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from settings import PROJECT, Settings
from tasks.catalogue import list_partitions, read_catalogue
from tasks.store import FolderStore

REAL = PROJECT.parent / "shared" / "data" / "tmdb"
RATE = 40


def main() -> None:
    """Print what was measured."""
    files = sorted(str(path) for path in REAL.glob("*.jsonl.gz"))
    print("the real movies of ../shared" if files else "the synthetic sample: ../shared is not here", "\n")
    with tempfile.TemporaryDirectory() as folder:
        startup = idle(folder)
        with served([*files, "--rate", str(RATE), "--latency", "0.1"]) as url:
            start = time.monotonic()
            collect(folder, "rate", url, RATE, "--start", "2010-01-01", "--end", "2019-12-31")
            took = time.monotonic() - start
        store = FolderStore(Path(folder) / "rate")
        partitions = list_partitions(store, "tmdb")
        requests, refused = sum(p.requests for p in partitions), sum(p.retries.get("429", 0) for p in partitions)
        print(f"server with 100 ms latency that allows {RATE} requests a second, 2010-2019:")
        print(f"  requests {requests}, {took:.0f} s in all, {startup:.1f} s of it to start and stop Prefect")
        print(f"  rate while collecting  {requests / (took - startup) / RATE:7.1%} of the allowed")
        print(f"  answers 429            {refused / requests:7.2%}")

        everything = ["--start", "1874-01-01", "--end", "2030-12-31", "--min-votes", "0"]
        with served(files) as url:
            clean = collect(folder, "clean", url, 1000, *everything)
        with served([*files, "--faults", "0.05"]) as url:
            faulty = collect(folder, "faulty", url, 1000, *everything)
        ids, rows, asked = {}, {}, {}
        for name in ("clean", "faulty"):
            store = FolderStore(Path(folder) / name)
            parts = list_partitions(store, "tmdb")
            ids[name] = set(read_catalogue(store, "tmdb")["id"])
            rows[name], asked[name] = sum(p.rows for p in parts), sum(p.requests for p in parts)
        print(f"\nall {len(ids['clean'])} movies that have a release date, without and with 5 % faults:")
        print(f"  lost {len(ids['clean'] - ids['faulty'])}, doubled {rows['faulty'] - len(ids['faulty'])}")
        print(
            f"  requests {asked['clean']} and {asked['faulty']}: {asked['faulty'] / asked['clean'] - 1:.1%} re-fetched"
        )
        print(f"  seconds {clean['seconds']:.0f} and {faulty['seconds']:.0f}")
        print(f"  peak memory {clean['megabytes']:.0f} MB and {faulty['megabytes']:.0f} MB")


@contextmanager
def served(options: list[str]) -> Iterator[str]:
    """Run the stand-in with these options; yield its address."""
    command = [sys.executable, "-m", "sample.tmdb_server", "--port", "0", *options]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def collect(folder: str, name: str, url: str, rate: int, *options: str) -> dict[str, Any]:
    """Run the collector in a process of its own; return its seconds and its peak memory."""
    environment = os.environ | {setting.upper(): "" for setting in Settings.model_fields}
    environment |= {
        "TMDB_BASE_URL": url,
        "TMDB_API_TOKEN": "t",
        "TMDB_RATE": str(rate),
        "STORE_URI": f"{folder}/{name}",
    }
    environment |= {"WAREHOUSE_URL": f"sqlite:///{folder}/{name}.db", "PREFECT_HOME": f"{folder}/prefect"}
    start = time.monotonic()
    command = [sys.executable, "-m", "benchmarks.collection", *options]
    done = subprocess.run(
        command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
    )
    return json.loads(done.stdout.decode().splitlines()[-1]) | {"seconds": time.monotonic() - start}


def idle(folder: str) -> float:
    """Return the seconds that a run with nothing to collect takes, once Prefect has made its database."""
    with served([]) as url:
        collect(folder, "idle", url, 1000, "--start", "1900-01-01", "--end", "1900-01-01")
        start = time.monotonic()
        collect(folder, "idle", url, 1000, "--start", "1900-01-01", "--end", "1900-01-01")
    return time.monotonic() - start


if __name__ == "__main__":  # the collector's own process
    from flows.collect import collect_movies
    from tasks.command_line import run_from_shell

    run_from_shell(collect_movies)
    print(json.dumps({"megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
