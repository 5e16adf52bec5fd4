"""Measure what README.md tells, and write it there: all of it, or the parts that are named.

    python -m benchmarks.readme
    STORE_URI=… python -m benchmarks.readme replay

`sample` runs the main job on a fresh folder, twice, then the serving benchmark on its champion. `replay` runs nothing:
a replay takes an hour, and the last one of the store is told, with its date, machine and commit.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from settings import PROJECT, Settings, get_settings
from tasks.foundation.store import open_store
from tasks.operations.replay_report import render_text, replay_key

BLOCK = r"(<!-- {}: [^\n]*-->\n```text\n).*?(```\n)"
PLOT = PROJECT / "docs" / "replay.svg"


def renew_sample() -> None:
    """Run the main job and the serving benchmark, and renew their blocks."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {name.upper(): "" for name in Settings.model_fields}
        environment |= {"DATA_HOME": folder, "PREFECT_HOME": f"{folder}/prefect"}
        start = time.monotonic()
        first = _run("flows.pipeline", environment=environment)
        again = time.monotonic()
        _run("flows.pipeline", environment=environment)
        took = f"{again - start:.0f} s on a fresh folder, {time.monotonic() - again:.0f} s when run again."
        served = _run("benchmarks", "serving", environment=environment)
    _renew("sample-run", f"{first}\n\n{took}\n")
    _renew("serving", served.partition("## serving")[2].strip() + "\n")


def renew_replay(source: str = "tmdb") -> None:
    """Renew block and plot of the last replay of real movies; where the store has none, they stay."""
    store = open_store(get_settings().store_uri)
    try:
        told = json.loads(store.read(replay_key(source)))
    except FileNotFoundError:
        print(f"{store.uri} has no replay of {source}: README.md keeps its own. python -m flows.replay makes one")
        return
    _renew("replay", render_text(told) + "\n")
    PLOT.write_bytes(store.read(f"{source}/replay.svg"))


PARTS = {"sample": renew_sample, "replay": renew_replay}


def _run(*module: str, environment: dict[str, str]) -> str:
    command = [sys.executable, "-m", *module]
    done = subprocess.run(command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    return done.stdout.strip("\n")


def _renew(block: str, text: str) -> None:
    """Put a text into a block of README.md, and print it."""
    readme = Path(PROJECT / "README.md")
    readme.write_text(re.sub(BLOCK.format(block), lambda m: m[1] + text + m[2], readme.read_text(), flags=re.DOTALL))
    print(text)


if __name__ == "__main__":
    for name in sys.argv[1:] or PARTS:
        if name not in PARTS:
            sys.exit(f"README.md has no part {name!r}: one of {', '.join(PARTS)}")
        PARTS[name]()
