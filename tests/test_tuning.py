"""Several workers at one study, on a real PostgreSQL, and a database that is locked or away."""

from __future__ import annotations

import inspect
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pandas as pd
import pytest
from optuna.storages._cached_storage import _CachedStorage
from optuna.trial import TrialState

from settings import PROJECT
from tasks.learning import studies, tuning
from tasks.learning.studies import DatabaseAway
from tasks.learning.tuning import search
from tasks.release.targets.bento import free_port

WORKER = """
import sys
import pandas as pd
from tasks.learning import studies, tuning
studies.HEARTBEAT, studies.GRACE = 1, 4
tuning.search(pd.read_pickle(sys.argv[1]), int(sys.argv[4]), 0, sys.argv[2], sys.argv[3],
              lambda message, *values: print(message % values, flush=True), sampler_seed=int(sys.argv[5]))
"""


def worker(data: Path, study: str, storage: str, trials: int, seed: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORKER, str(data), study, storage, str(trials), str(seed)]
    return subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)


def begin(name: str, storage: str, seed: int, facts: dict[str, str] | None = None) -> optuna.Study:
    """Open a study as a search does."""
    return studies.open_study(name, storage, seed, tuning.suggest, tuning.defaults(), facts)


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


@contextmanager
def locked(path: Path, seconds: float) -> Iterator[None]:
    """Hold a SQLite database for some seconds, as a backup or a dashboard does."""
    connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    release = threading.Timer(seconds, lambda: connection.execute("ROLLBACK"))
    release.start()
    try:
        yield
    finally:
        release.join()
        connection.close()


@pytest.mark.parametrize("busy", [60, 1])  # seconds: SQLite waits by itself; what it gives up is asked again
def test_a_lock_of_seconds_is_waited_for_and_the_heart_beats_on(
    rated: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, busy: int
) -> None:
    monkeypatch.setattr(studies, "LOCKED", busy)
    monkeypatch.setattr(studies, "HEARTBEAT", 1)
    path, locks = tmp_path / "o.db", ExitStack()
    said: list[str] = []

    def say(message: str, *values: Any) -> None:
        said.append(message % values)
        if said[-1].startswith("trial 1 "):
            locks.enter_context(locked(path, 8))
        if said[-1].startswith("trial 4 "):
            assert any(thread.name == "heart" for thread in threading.enumerate())

    with locks:
        tuned = search(rated.head(500), 4, 0, "locked", f"sqlite:///{path}", say)
    assert len(tuned.trials) == 4
    assert states("locked", f"sqlite:///{path}") == {TrialState.COMPLETE: 4}


def test_each_transaction_of_the_storage_is_tried_again_while_the_database_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = set(re.findall(r"_backend\.(\w+)\(", inspect.getsource(_CachedStorage)))
    assert asked - set(studies.transactions()) == {"get_heartbeat_interval", "get_heartbeat_stale_trial_callback"}
    monkeypatch.setattr(studies, "LOCKED", 0)
    path = tmp_path / "o.db"
    study = begin("each", f"sqlite:///{path}", 0)
    for step in (
        lambda: study.ask(),
        lambda: study.trials[0].number,
        lambda: study._storage.record_heartbeat(study.trials[0]._trial_id),
        lambda: study._storage.set_trial_intermediate_value(study.trials[0]._trial_id, 0, 1.0),
        lambda: study.tell(0, 1.0),
    ):
        with locked(path, 1.5):
            step()
    assert study.trials[0].value == 1.0
    assert study.trials[0].intermediate_values == {0: 1.0}


def test_a_database_that_stays_locked_is_named_with_what_to_do_and_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studies, "LOCKED", 0)
    monkeypatch.setattr(studies, "PATIENCE", 1)
    path = tmp_path / "o.db"
    study = begin("away", f"sqlite:///{path}", 0)
    with locked(path, 4), pytest.raises(DatabaseAway, match=rf"{path}.*is locked.*OPTUNA_STORAGE"):
        study._storage.record_heartbeat(1)
    monkeypatch.setattr(studies, "OPENING", 0)
    nobody = f"postgresql://somebody:secret@127.0.0.1:{free_port()}/studies?password=secret"
    with pytest.raises(DatabaseAway, match=r"postgresql.*@127\.0\.0\.1") as error:
        begin("away", nobody, 0)
    assert "secret" not in str(error.value)


def test_a_heart_that_met_an_error_says_so_and_beats_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studies, "HEARTBEAT", 0.05)
    beats, said = [], []

    def record(trial: int) -> None:
        beats.append(trial)
        if len(beats) == 2:
            raise RuntimeError("the database is somewhere else")

    study: Any = SimpleNamespace(_storage=SimpleNamespace(record_heartbeat=record))
    trial: Any = SimpleNamespace(_trial_id=7)
    with studies.Heart(study, lambda message, *values: said.append(message % values)) as heart:
        heart.beat_for([trial])
        deadline = time.monotonic() + 10
        while len(beats) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert heart._thread.is_alive()
    assert len(beats) >= 4
    assert ["somewhere else" in line for line in said] == [True]


def test_a_trial_whose_worker_died_before_its_first_beat_is_given_up_and_tried_again(
    rated: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studies, "HEARTBEAT", 1)
    monkeypatch.setattr(studies, "GRACE", 2)
    storage = f"sqlite:///{tmp_path}/o.db"
    begin("silent", storage, 0).ask()
    tuned = search(rated.head(500), 2, 0, "silent", storage, lambda *_: None, minutes=1)
    assert len(tuned.trials) == 2
    assert states("silent", storage)[TrialState.RUNNING] == 0


def test_a_trial_that_was_taken_for_dead_is_tried_again(rated: pd.DataFrame, tmp_path: Path) -> None:
    storage, said = f"sqlite:///{tmp_path}/o.db", []

    def say(message: str, *values: Any) -> None:
        said.append(message % values)
        if said[-1].startswith("trial 1 "):  # while the second of the pair is answered, or was
            other = optuna.load_study(study_name="late", storage=storage)
            other._storage.set_trial_state_values(other.trials[1]._trial_id, TrialState.FAIL)

    assert len(search(rated.head(500), 3, 0, "late", storage, say).trials) == 3
    assert states("late", storage) == {TrialState.COMPLETE: 3, TrialState.FAIL: 1}


DAY = {"model": "movie-rating", "source": "sample", "movies": "500", "seed": "0", "code": "c"}


def facts(as_of: str, data: str, **other: str) -> dict[str, str]:
    return DAY | {"as_of": as_of, "data": data} | other


def recipes(study: str, storage: str) -> list[dict[str, Any]]:
    """Return what a study begins with, as it was asked for."""
    trials = optuna.load_study(study_name=study, storage=storage).get_trials()
    return [trial.system_attrs["fixed_params"] for trial in trials if "fixed_params" in trial.system_attrs]


@pytest.fixture
def monday(tmp_path: Path) -> str:
    """A database with a study of five recipes, answered in their order of merit."""
    storage = f"sqlite:///{tmp_path}/o.db"
    study = begin("monday", storage, 0, facts("2026-06-01", "a"))
    for error in (1.3, 1.2, 1.1, 0.9, 1.0):
        trial = study.ask()
        tuning.suggest(trial)
        study.tell(trial, error)
    return storage


def best_of(study: str, storage: str, count: int) -> list[dict[str, Any]]:
    trials = optuna.load_study(study_name=study, storage=storage).get_trials(states=(TrialState.COMPLETE,))
    return [trial.params for trial in sorted(trials, key=lambda trial: trial.value)][:count]


def test_a_new_days_study_begins_with_the_defaults_and_the_best_of_the_last_one(monday: str) -> None:
    study = begin("tuesday", monday, 0, facts("2026-06-02", "b"))
    begun = recipes("tuesday", monday)
    assert [recipe["family"] for recipe in begun[:3]] == list(tuning.FAMILIES)
    expected = [recipe for recipe in best_of("monday", monday, 3) if recipe not in begun[:3]]
    assert begun[3:] == expected
    assert len(expected) >= 2
    assert study.user_attrs[studies.BEGUN_FROM] == "monday"
    assert study.user_attrs.items() >= facts("2026-06-02", "b").items()


def test_a_study_asked_again_goes_on_whatever_else_came_into_the_database(monday: str) -> None:
    begin("tuesday", monday, 0, facts("2026-06-02", "b"))
    before = recipes("tuesday", monday)
    noon = begin("noon", monday, 0, facts("2026-06-02", "c"))  # earlier in kind, but later asked
    for error in (0.1, 0.2, 0.3):
        trial = noon.ask()
        tuning.suggest(trial)
        noon.tell(trial, error)
    optuna.delete_study(study_name="monday", storage=monday)
    assert begin("tuesday", monday, 1, facts("2026-06-02", "b")).user_attrs[studies.BEGUN_FROM] == "monday"
    assert recipes("tuesday", monday) == before


@pytest.mark.parametrize(
    "other",
    [
        facts("2026-06-02", "a", seed="1"),  # of the same data
        facts("2026-05-31", "b"),  # of the world as known before
        facts("2026-06-02", "b", source="tmdb"),
        facts("2026-06-02", "b", model="another"),
    ],
    ids=["data", "later", "source", "model"],
)
def test_studies_of_the_same_data_of_other_sources_and_of_later_days_lend_nothing(
    monday: str, other: dict[str, str]
) -> None:
    assert begin("other", monday, 0, other).user_attrs[studies.BEGUN_FROM] == studies.DEFAULTS
    assert len(recipes("other", monday)) == 3


def test_a_recipe_that_the_search_knows_no_more_is_not_taken_over(monday: str) -> None:
    space = dict(best_of("monday", monday, 1)[0])
    for change in ({"linear_share": 7.0}, {"leaves_of_old": 3}):
        values = space | change
        kinds: Any = {name: optuna.distributions.CategoricalDistribution([value]) for name, value in values.items()}
        study = begin(f"with {change}", monday, 0, facts("2026-06-01", str(change)))
        study.add_trial(optuna.trial.create_trial(params=values, distributions=kinds, value=0.01))
    tuesday = begin("tuesday", monday, 0, facts("2026-06-02", "b"))
    assert tuesday.user_attrs[studies.BEGUN_FROM] == "monday"
    assert all(recipe["linear_share"] <= 0.8 and "leaves_of_old" not in recipe for recipe in recipes("tuesday", monday))


def test_a_beginning_that_was_cut_off_is_made_whole(monday: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = optuna.Study.enqueue_trial

    def dies(study: optuna.Study, *args: Any, **options: Any) -> None:
        if len(study.trials) == 2:
            raise KeyboardInterrupt
        asked(study, *args, **options)

    monkeypatch.setattr(optuna.Study, "enqueue_trial", dies)
    with pytest.raises(KeyboardInterrupt):
        begin("cut", monday, 0, facts("2026-06-02", "b"))
    monkeypatch.setattr(optuna.Study, "enqueue_trial", asked)
    begin("cut", monday, 0, facts("2026-06-02", "b"))
    assert len(recipes("cut", monday)) >= 5


def test_what_a_study_began_with_counts_as_trials_and_is_told(rated: pd.DataFrame, monday: str) -> None:
    tuned = search(rated.head(500), 4, 0, "tuesday", monday, lambda *_: None, facts=facts("2026-06-02", "b"))
    assert len(tuned.trials) == 4
    assert tuned.begun_from == "monday"
    assert tuned.trials[3]["linear_share"] == recipes("tuesday", monday)[3]["linear_share"]
