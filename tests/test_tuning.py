"""Several workers at one study, on a real PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState

from settings import PROJECT
from tasks.tuning import search

WORKER = """
import sys
import pandas as pd
from tasks import tuning
tuning.HEARTBEAT, tuning.GRACE = 1, 4
tuning.search(pd.read_pickle(sys.argv[1]), int(sys.argv[4]), 0, sys.argv[2], sys.argv[3],
              lambda message, *values: print(message % values, flush=True), sampler_seed=int(sys.argv[5]))
"""


def worker(data: Path, study: str, storage: str, trials: int, seed: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORKER, str(data), study, storage, str(trials), str(seed)]
    return subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def data(rated: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tuning") / "movies.pkl"  # our own file, for our own processes
    rated.head(500).to_pickle(path)
    return path


def states(study: str, storage: str) -> Counter[TrialState]:
    storage = storage.replace("postgresql://", "postgresql+psycopg://")
    return Counter(trial.state for trial in optuna.load_study(study_name=study, storage=storage).get_trials())


def test_three_workers_share_a_study_and_count_every_trial_once(postgres: str, data: Path) -> None:
    workers = [worker(data, "shared", postgres, 12, seed) for seed in range(3)]
    said = [process.communicate(timeout=240)[0] for process in workers]
    assert [process.returncode for process in workers] == [0, 0, 0]
    counted = states("shared", postgres)
    assert counted[TrialState.COMPLETE] + counted[TrialState.PRUNED] == 12
    assert counted[TrialState.RUNNING] == 0
    numbers = [line.split()[1] for text in said for line in text.splitlines() if line.startswith("trial ")]
    assert len(numbers) == len(set(numbers)) == 12
    assert sum("trial " in text for text in said) >= 2  # the work was shared
    assert len({text.splitlines()[-1] for text in said}) == 1  # and all saw the same best


def test_a_killed_worker_leaves_no_zombie_and_the_study_is_finished(postgres: str, data: Path) -> None:
    first = worker(data, "killed", postgres, 8, 0)
    assert first.stdout
    for line in first.stdout:
        if line.startswith("trial 2 "):
            break
    deadline = time.monotonic() + 60
    while not states("killed", postgres)[TrialState.RUNNING]:
        assert time.monotonic() < deadline
    first.kill()
    first.wait()
    assert states("killed", postgres)[TrialState.RUNNING] > 0
    second = worker(data, "killed", postgres, 8, 1)
    said = second.communicate(timeout=240)[0]
    assert second.returncode == 0, said
    counted = states("killed", postgres)
    assert counted[TrialState.RUNNING] == 0
    assert counted[TrialState.COMPLETE] + counted[TrialState.PRUNED] == 8
    assert counted[TrialState.FAIL] >= 1


def test_a_time_budget_ends_the_asking(rated: pd.DataFrame, tmp_path: Path) -> None:
    tuned = search(rated.head(500), 50, 0, "brief", f"sqlite:///{tmp_path}/o.db", lambda *_: None, minutes=0)
    assert len(tuned.trials) == 2  # one pair


def test_less_than_one_trial_is_refused(rated: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        search(rated, 0, 0, "none", f"sqlite:///{tmp_path}/o.db", lambda *_: None)
