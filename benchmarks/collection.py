"""Collect the movies of RECORDED_DATA from the stand-in: rate, faults, a kill, memory. Without them, the sample."""

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
from datetime import date
from pathlib import Path
from threading import Thread
from typing import Any

import uvicorn

from sample import generator, tmdb_server
from settings import PROJECT, Settings, get_settings
from tasks.data.catalogue import list_partitions, read_catalogue
from tasks.foundation.store import FolderStore

RATE = 40


def main() -> None:
    """Print what was measured."""
    recorded = get_settings().recorded_data
    files = sorted(str(path) for path in (recorded / "data" / "tmdb").glob("*.jsonl.gz")) if recorded else []
    print("recorded movies" if files else "the synthetic sample: RECORDED_DATA names no recorded movies", "\n")
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
        kill(folder, [Path(name) for name in files], everything, asked["clean"])


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


def kill(folder: str, files: list[Path], options: list[str], whole: int) -> None:
    """Kill a run in the middle, run it again, and print what was asked for twice; the server counts requests."""
    bodies = tmdb_server.read_bodies(files) if files else generator.movies(date(2026, 6, 30))
    app: Any = tmdb_server.app(tmdb_server.Catalogue(bodies))
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical"))
    Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.05)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/3"
    with process(folder, "killed", url, 1000, *options) as running:
        while app.requests < whole * 0.6 and running.poll() is None:
            time.sleep(0.01)
        running.kill()
    at_kill = app.requests
    collect(folder, "killed", url, 1000, *options)
    server.should_exit = True
    partitions = list_partitions(FolderStore(Path(folder) / "killed"), "tmdb")
    largest = max(partition.requests for partition in partitions)
    print(f"\nkilled after {at_kill} of {whole} requests and run again:")
    print(f"  {app.requests - whole} requests were repeated; the largest window takes {largest}")


def collect(folder: str, name: str, url: str, rate: int, *options: str) -> dict[str, Any]:
    """Run the collector in a process of its own; return its seconds and its peak memory."""
    start = time.monotonic()
    with process(folder, name, url, rate, *options) as running:
        printed, _ = running.communicate()
    if running.returncode:
        raise RuntimeError(f"the collector exited {running.returncode}")
    return json.loads(printed.decode().splitlines()[-1]) | {"seconds": time.monotonic() - start}


def process(folder: str, name: str, url: str, rate: int, *options: str) -> subprocess.Popen[bytes]:
    """Start the collector in a process of its own."""
    environment = os.environ | {setting.upper(): "" for setting in Settings.model_fields}
    environment |= {
        "TMDB_BASE_URL": url,
        "TMDB_API_TOKEN": "t",
        "TMDB_RATE": str(rate),
        "STORE_URI": f"{folder}/{name}",
    }
    environment |= {"WAREHOUSE_URL": f"sqlite:///{folder}/{name}.db", "PREFECT_HOME": f"{folder}/prefect"}
    command = [sys.executable, "-m", "benchmarks.collection", *options]
    return subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def idle(folder: str) -> float:
    """Return the seconds that a run with nothing to collect takes, once Prefect has made its database."""
    with served([]) as url:
        collect(folder, "idle", url, 1000, "--start", "1900-01-01", "--end", "1900-01-01")
        start = time.monotonic()
        collect(folder, "idle", url, 1000, "--start", "1900-01-01", "--end", "1900-01-01")
    return time.monotonic() - start


if __name__ == "__main__":  # the collector's own process
    from flows.collect import collect_movies
    from tasks.operations.command_line import run_from_shell

    run_from_shell(collect_movies)
    print(json.dumps({"megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
