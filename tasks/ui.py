"""Start Prefect's server and MLflow's UI side by side, on loopback, until Ctrl-C.

python -m tasks.ui
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from settings import get_settings, without_secrets
from tasks.tether import tethered

PREFECT_PORT, MLFLOW_PORT = 4200, 5000


def main() -> int:
    """Run both until one ends or a signal comes; stop both."""
    uri = get_settings().mlflow_tracking_uri.get_secret_value()
    here = Path(sys.executable).parent
    commands = {
        f"Prefect  http://127.0.0.1:{PREFECT_PORT}": [
            str(here / "prefect"),
            "server",
            "start",
            "--port",
            str(PREFECT_PORT),
        ]
    }
    if uri.startswith("http"):
        print(f"MLflow   {without_secrets(uri)}")
    else:
        commands[f"MLflow   http://127.0.0.1:{MLFLOW_PORT}"] = [
            *(str(here / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(MLFLOW_PORT)),
            *("--workers", "1"),
        ]
    environment = os.environ | {
        "MLFLOW_BACKEND_STORE_URI": uri,  # not among the arguments, which everybody on this host can read
        "PREFECT_EXPERIMENTAL_EVENTS": "true",
        "PREFECT_LOGGING_SERVER_LEVEL": "WARNING",
        "MLFLOW_LOGGING_LEVEL": "ERROR",
    }
    running = {}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        for name, command in commands.items():
            running[name] = subprocess.Popen(
                tethered(*command), env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
            )
            print(name, flush=True)
        print("Ctrl-C stops both. To run flows on this server: export PREFECT_API_URL=http://127.0.0.1:4200/api")
        while all(process.poll() is None for process in running.values()):
            time.sleep(0.5)
        ended = [name.split()[0] for name, process in running.items() if process.poll() is not None]
        print(f"{' and '.join(ended)} ended: is its port in use?", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        for process in running.values():
            assert process.stdin
            process.stdin.close()  # lets go of the tether
        for process in running.values():
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
