"""What a Prefect server is given: the work pools, the deployments of prefect.yaml, and the automations.

python -m tasks.operations.deploying
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from settings import PROJECT

POOL = "premiere"
COMMANDS = (
    f"work-pool create {POOL} --type process --overwrite",
    "work-pool create docker --type docker --base-job-template deploy/docker-pool.json --overwrite",
    "--no-prompt deploy --all",
)


def deploy() -> None:
    """Make the pools and apply all deployments, by Prefect's own command; raises CalledProcessError."""
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for command in COMMANDS:
        subprocess.run([shutil.which("prefect", path=places) or "prefect", *command.split()], cwd=PROJECT, check=True)


if __name__ == "__main__":
    from tasks.operations import automations

    deploy()
    automations.main()
