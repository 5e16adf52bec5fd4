"""Start Prefect's server and MLflow's UI side by side, on loopback, until Ctrl-C.

MLflow's database is made or checked first.

python -m tasks.operations.ui
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import httpx

from settings import get_settings, without_secrets
from tasks.foundation.starting import tell, wait_for
from tasks.foundation.tether import tethered
from tasks.registry.mlflow_database import RegistryAway, make_ready

PREFECT_PORT, MLFLOW_PORT = 4200, 5000
PAGES = {"Prefect": (PREFECT_PORT, "/api/health"), "MLflow": (MLFLOW_PORT, "/health")}


def main() -> int:
    """Run both until one ends or a signal comes; stop both."""
    uri = get_settings().mlflow_tracking_uri.get_secret_value()
    here = Path(sys.executable).parent
    commands = {"Prefect": [str(here / "prefect"), "server", "start", "--port", str(PREFECT_PORT)]}
    if uri.startswith("http"):
        print(f"MLflow   {without_secrets(uri)}")
    else:
        try:
            make_ready(uri)
        except (RegistryAway, OSError) as error:
            tell(str(error))
            return 1
        commands["MLflow"] = [
            *(str(here / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(MLFLOW_PORT)),
            *("--workers", "1"),
        ]
    environment = os.environ | {
        "MLFLOW_BACKEND_STORE_URI": uri,  # not among the arguments, which everybody on this host can read
        "PREFECT_EXPERIMENTAL_EVENTS": "true",
        "PREFECT_LOGGING_SERVER_LEVEL": "WARNING",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",  # it reports, and on a new database fails with a traceback
        "MLFLOW_LOGGING_LEVEL": "ERROR",
    }
    running: dict[str, subprocess.Popen[bytes]] = {}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        for name, command in commands.items():
            running[name] = subprocess.Popen(
                tethered(*command), env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
            )
        for name in running:
            wait_for(name, partial(_answers, running, name))
            print(f"{name:<9}http://127.0.0.1:{PAGES[name][0]}", flush=True)
        print("Ctrl-C stops both. To run flows on this server: export PREFECT_API_URL=http://127.0.0.1:4200/api")
        while True:
            _all_live(running)
            time.sleep(0.5)
    except RuntimeError as error:
        tell(str(error))
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        for process in running.values():
            assert process.stdin
            process.stdin.close()  # lets go of the tether
        for process in running.values():
            process.wait()


def _answers(running: dict[str, subprocess.Popen[bytes]], name: str) -> bool:
    """Say whether a server answers; raises RuntimeError where one ended."""
    _all_live(running)
    port, path = PAGES[name]
    try:
        return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def _all_live(running: dict[str, subprocess.Popen[bytes]]) -> None:
    ended = [name for name, process in running.items() if process.poll() is not None]
    if ended:
        raise RuntimeError(f"{' and '.join(ended)} ended: is its port in use?")


if __name__ == "__main__":
    sys.exit(main())
