"""Run the main job on a fresh folder, twice, then the serving benchmark on its champion; write both into README.md.

python -m benchmarks.readme
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from settings import PROJECT, Settings

BLOCK = r"(<!-- {}: [^\n]*-->\n```text\n).*?(```\n)"


def main() -> None:
    """Renew the block."""
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
    main()
