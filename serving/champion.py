"""Which model this process serves: the one that was named when the bento was built, or the champion of that moment.

It is never "latest". BentoML reads service.py in two processes, and only one of them rates: what that one alone needs
(scikit-learn, pandas, the boosters, the database) is imported where it is used, here and in the other modules that
service.py imports. It halves the memory.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bentoml import models, use_arguments
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml.exceptions import BentoMLException, InvalidArgument, NotFound
from pydantic import BaseModel, Field

from serving.recording import recorder
from settings import PROJECT, get_settings, without_passwords

if TYPE_CHECKING:
    from serving.following import Follower


def registered_champion() -> str:
    """Bring the champion of this checkout's registry into BentoML's store and return its tag there.

    A process of its own asks MLflow. Raises InvalidArgument where there is no checkout, or no champion to be had.
    """
    home = str(BentoMLContainer.bentoml_home.get())  # of this process, whatever the settings say
    done = subprocess.run(
        [sys.executable, "-m", "tasks.release.targets.bento", "--store"],
        cwd=PROJECT, env=os.environ | {"BENTOML_HOME": home}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        why = without_passwords((done.stderr.strip().splitlines() or ["the registry's process was killed"])[-1])
        raise InvalidArgument(f"no model is named, and {why}. Or name a model yourself: --arg model=movie-rating:v7")
    return done.stdout.split()[-1]


class Arguments(BaseModel):
    """What is decided at build time."""

    model: str = Field(
        default_factory=registered_champion,
        description="tag in BentoML's model store, for example movie-rating:v7; default: the champion",
    )


@lru_cache
def arguments() -> Arguments:
    """Return what was decided at build time; a bento, and the other processes, keep what was found."""
    found: Arguments = use_arguments(Arguments)
    BentoMLContainer.bento_arguments.set(found.model_dump())
    return found


def python_of(model: str) -> str:
    """Return the Python that a model was fitted on, as "3.13", or this one where no such model is stored.

    The file would open on any: the image takes the one on which the model was judged, whatever built the bento.
    """
    this = "{}.{}".format(*sys.version_info)
    try:
        stored = Path(models.get(model).path, "mlflow_model", "python_env.yaml").read_text()
    except (NotFound, OSError):  # the service says itself what it lacks
        return this
    found = re.search(r"^python: (\d+\.\d+)", stored, re.MULTILINE)
    return found[1] if found else this


@lru_cache
def champion() -> Follower:
    """Return the model of this process, loaded once, and what follows it."""
    from serving.following import Follower
    from serving.rater import load

    follower = Follower(load(arguments().model), load)
    if get_settings().follow_registry:
        follower.start()
    return follower


def readiness() -> tuple[dict[str, Any], int]:
    """Return whether a model is loaded, with the HTTP status. How the threads beside it do changes nothing in that."""
    try:
        follower, kept = champion(), recorder()
    except (BentoMLException, OSError, ValueError) as error:
        return {"status": "not ready", "reason": f"no model: {error}"}, 503
    threads = {thread.name: thread.state for thread in (follower.thread, *([kept.thread] if kept else []))}
    return {"status": "ready", "version": follower.rater.info.version, "threads": threads}, 200


def description() -> dict[str, Any]:
    """Return which model answers, how well it did on movies that it had not seen, and what became of a newer one."""
    follower = champion()
    return follower.rater.info.model_dump() | {"metrics": follower.rater.metrics, "following": follower.state}
