"""The service beside plain FastAPI apps with the same model (`benchmarks.peers`), in one run, each on one core.

The model is the champion of the registry (make run makes one). The client has another core. The service records its
predictions, as it does for its users; the plain apps do not. The run fails unless all answer alike.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from models.body import record
from models.movie import Movie
from sample.generator import movies as sample_movies
from settings import PROJECT
from tasks.foundation.clock import now
from tasks.registry import versions as registry
from tasks.release.targets import bento

SECONDS, CONNECTIONS = 6, (1, 8, 32)
BATCH = 1000
MANY = 100_000  # requests after which memory is looked at
KIND = {"Content-Type": "application/json"}
PEERS = {"pandas app": "pandas", "plain app": "model"}
OURS = "Premiere"
HEAD = "POST {} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n"


def main() -> None:
    """Print the table."""
    version = registry.find(registry.CHAMPION)
    tag = bento.store_bento(version)
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    bodies = requests()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        dumped = Path(folder) / "model.joblib"
        model, _ = registry.download(version, "model", Path(folder))
        dump = "import joblib, sys; from skops import io; from models.estimator import TRUSTED_TYPES; "
        dump += "joblib.dump(io.load(sys.argv[1], trusted=TRUSTED_TYPES), sys.argv[2])"
        here = os.environ | {"PYTHONWARNINGS": "ignore"}
        subprocess.run([sys.executable, "-c", dump, str(model), str(dumped)], check=True, env=here)
        servers: dict[str, tuple[list[str], int, dict[str, str]]] = {}
        for name, kind in PEERS.items():
            port = bento.free_port()
            servers[name] = [sys.executable, "-m", "benchmarks.peers", kind, str(dumped), str(port)], port, here
        records = {"RECORD_PREDICTIONS": "true", "WAREHOUSE_URL": f"sqlite:///{folder}/warehouse.db"}
        port = bento.free_port()
        # In a home of its own: BentoML empties the metrics of the service that runs in the same one.
        home = stack.enter_context(bento.home_of_its_own(tag, port))
        servers[OURS] = bento.serve_command(tag, port), port, bento.environment() | home | bento.ALONE | records
        print(
            f"champion {version.label} ({version.tags['family']}), bodies of "
            f"{np.mean([len(body) for body in bodies]):.0f} bytes\n"
        )
        print(
            f"{'':<11}{'start s':>8}{'MB':>6}"
            + "".join(f"{f'{n} conn.':>9}{'p50 ms':>8}{'p99 ms':>8}" for n in CONNECTIONS)
            + f"{'movies/s':>10}"
        )
        figures = {name: _measure(name, *server, cores[0], bodies) for name, server in servers.items()}
    ours = figures[OURS]
    for name in PEERS:
        plain = figures[name]
        apart = max(abs(a[end] - b[end]) for a, b in zip(plain["answers"], ours["answers"], strict=True) for end in a)
        assert apart < 1e-6, f"the {name} answers otherwise, by {apart}: it has another model"
        ratios = ", ".join(f"{ours[f'rps{n}'] / plain[f'rps{n}']:.1f}" for n in CONNECTIONS)
        print(
            f"\nPremiere answers {ratios} times as many requests as the {name} at "
            f"{', '.join(map(str, CONNECTIONS))} connections, {ours['batch'] / plain['batch']:.1f} times as many movies"
        )
    print(f"\nmemory: {ours['rss']:.0f} MB, {ours['later'] - ours['rss']:+.0f} MB after {MANY:,} requests more")


def requests() -> list[bytes]:
    """Return bodies of one movie each, all different."""
    found = []
    for body in sample_movies(date(2026, 6, 30))[-BATCH:]:
        movie = Movie.of(record(body, now()))
        found.append(json.dumps({"movie": movie.model_dump(mode="json", exclude_defaults=True)}).encode())
    return found


def _measure(
    name: str, command: list[str], port: int, environment: dict[str, str], core: int, bodies: list[bytes]
) -> dict[str, Any]:
    begun = time.perf_counter()
    pin = ["taskset", "--cpu-list", str(core), *command]
    with subprocess.Popen(
        pin, env=environment, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            while not _ready(port):
                assert server.poll() is None, f"{name} ended"
                time.sleep(0.05)
            figures: dict[str, Any] = {"start": time.perf_counter() - begun}
            asyncio.run(_load(port, bodies, 1, 1.0))
            line = ""
            for connections in CONNECTIONS:
                took = asyncio.run(_load(port, bodies, connections, SECONDS))
                figures[f"rps{connections}"] = len(took) / SECONDS
                p50, p99 = np.quantile(took, [0.5, 0.99]) * 1000
                line += f"{figures[f'rps{connections}']:9.0f}{p50:8.2f}{p99:8.2f}"
            batch = json.dumps({"movies": [json.loads(body)["movie"] for body in bodies]}).encode()
            took = asyncio.run(_load(port, [batch], 1, SECONDS, "/predict/batch"))
            figures["batch"] = len(bodies) * len(took) / sum(took)
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=KIND) as client:
                figures["answers"] = [_ends(client.post("/predict", content=body).json()) for body in bodies[:50]]
            figures["rss"] = _rss(server.pid)
            print(f"{name:<11}{figures['start']:8.1f}{figures['rss']:6.0f}{line}{figures['batch']:10.0f}", flush=True)
            if name == OURS:
                sent = 0
                while sent < MANY:
                    sent += len(asyncio.run(_load(port, bodies, 8, 5)))
                figures["later"] = _rss(server.pid)
            return figures
        finally:
            server.terminate()


async def _load(
    port: int, bodies: list[bytes], connections: int, seconds: float, path: str = "/predict"
) -> list[float]:
    """Ask over so many connections for so long; return the seconds that each answer took."""
    end, took = time.perf_counter() + seconds, []

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        n = number * 37
        while time.perf_counter() < end:
            body = bodies[n % len(bodies)]
            n += 1
            begun = time.perf_counter()
            writer.write(HEAD.format(path, len(body)).encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200"), answer
            length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            took.append(time.perf_counter() - begun)
        writer.close()

    await asyncio.gather(*(client(n) for n in range(connections)))
    return took


def _ends(answer: dict[str, Any]) -> dict[str, float]:
    return {end: answer[end] for end in ("rating", "low", "high")}


def _ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/ready", timeout=2).status_code == 200
    except httpx.TransportError:
        return False


def _rss(pid: int) -> float:
    """Return the megabytes of a process and its children, shared pages counted once by their share."""
    family: list[Any] = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(float(process.memory_full_info().pss) for process in family) / 1e6
