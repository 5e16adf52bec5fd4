"""From an accepted challenger to a probed image in a registry, and back to the champion before, on synthetic movies.

Needs a Docker engine and Debian's docker-registry. The first version fills the layer cache; the second is timed.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from prefect import flow

DAY = date(2026, 6, 30)


def main() -> None:
    """Print the seconds of each step."""
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        sys.exit("no Docker engine answers here")
    if not shutil.which("docker-registry"):
        sys.exit("no image registry is here: apt-get install docker-registry")
    with tempfile.TemporaryDirectory() as name, socket.socket() as probe:
        folder = Path(name)
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        config = {
            "version": 0.1,
            "storage": {"filesystem": {"rootdirectory": f"{folder}/registry"}},
            "http": {"addr": f"127.0.0.1:{port}"},
            "log": {"level": "error"},
        }
        (folder / "config.yml").write_text(json.dumps(config))
        os.environ |= {
            "TMDB_API_TOKEN": "",
            "PREFECT_HOME": f"{folder}/prefect",
            "STORE_URI": f"{folder}/store",
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
            "OPTUNA_STORAGE": f"sqlite:///{folder}/optuna.db",
            "WAREHOUSE_URL": f"sqlite:///{folder}/warehouse.db",
            "BENTOML_HOME": f"{folder}/bentos",
            "IMAGE_REPOSITORY": f"127.0.0.1:{port}/premiere",
        }
        server = subprocess.Popen(
            ["docker-registry", "serve", folder / "config.yml"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            _measure()
        finally:
            server.terminate()


def _measure() -> None:
    from flows.collect import collect_movies
    from flows.promote import promote_model
    from flows.rollback import rollback_model
    from flows.train import train_model
    from models.promotion import Verdict
    from sample import generator
    from settings import get_settings
    from tasks.registry import versions as registry
    from tasks.release import promoting
    from tasks.release.targets import images
    from tasks.release.targets.bento import build_bento, try_bento

    collect_movies(generator.FIRST_DAY, DAY)
    train_model(trials=2, as_of=DAY)
    promote_model(ship_to=["registry"])
    client, name, champion = registry.client(), get_settings().model_name, registry.find(registry.CHAMPION)
    source = client.get_model_version(name, str(champion.number)).source
    # The same model as another version: what the gate would say of it is not what is timed.
    created = client.create_model_version(name, source=source, run_id=champion.run_id, tags=champion.tags)
    challenger = registry.find(str(created.version))

    @flow(name="shipping")
    def ship_accepted() -> None:
        begun = time.perf_counter()
        bento = build_bento(challenger)
        built = time.perf_counter()
        try_bento(challenger, bento, 1000.0)
        tried = time.perf_counter()
        promoting.promote(challenger, champion, Verdict("better", "a benchmark"), ["registry"])
        done = time.perf_counter()
        print(f"bento built          {built - begun:6.1f} s")
        print(f"bento tried          {tried - built:6.1f} s")
        print(f"image built, probed, pushed, champion moved {done - tried:6.1f} s")
        print(f"accepted to pushed   {done - begun:6.1f} s")

    ship_accepted()
    begun = time.perf_counter()
    rollback_model("a benchmark")
    print(f"rolled back by digest in {time.perf_counter() - begun:.1f} s")
    image = images.engine().images.get(images.reference(challenger))
    print(f"the image has {image.attrs['Size'] / 1e6:.0f} MB: {images.made_of(image)}")
