"""Look for the best family and parameters with Optuna, judged by walk-forward on movies before the hold-out.

The number of a booster's trees is no parameter of the search: early stopping finds it on the years before those judged.
One study over all families: the parameters of each are sampled together (`group`), because sampling them independently
is measurably worse. A study begins with the defaults of each family, then with the best recipes of the newest earlier
study of the same source. It lives in a database and is named after the data and the code, so the same question asked
again goes on where it stopped, and several workers can answer it together: each asks for the next trials, and a trial
whose worker died is given up after `GRACE` seconds. One worker alone tries pairs side by side and tells them in order:
the same seed gives the same study. A database that is locked or away for a while (a backup, a dashboard, a restart) is
waited for.
"""

from __future__ import annotations

import functools
import json
import logging
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import numpy as np
import optuna
import pandas as pd
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage, fail_stale_trials
from optuna.study import StudySummary
from optuna.trial import FrozenTrial, Trial, TrialState
from prefect import get_run_logger, task
from sqlalchemy.exc import DBAPIError

from models.estimator import FAMILIES, RatingModel
from models.feature_table import FeatureTable
from models.folds import make_folds, trees_needed
from settings import make_room, with_driver, without_passwords

TUNING_YEARS, STOPPING_YEARS = 4, 2
TREES = "n_estimators"
SIDE_BY_SIDE = 2
DEFAULT_SHARE = 0.5
BEST = 3  # recipes of an earlier study that a new one begins with
BEGINNING, BEGUN_FROM = "begins_with", "begun_from"  # a study's own notes of it
DEFAULTS = "defaults"  # what a study without an earlier one has begun from
HEARTBEAT, GRACE = 10, 60  # seconds
# Seconds: how long SQLite waits for a lock, how long a database that fails is asked again, and a new one opened.
LOCKED, PATIENCE, OPENING = 60, 120, 10
OUTCOMES = {TrialState.COMPLETE: "RMSE", TrialState.PRUNED: "given up at"}
ANSWERED = tuple(OUTCOMES)
P = ParamSpec("P")
T = TypeVar("T")


class DatabaseAway(Exception):
    """Optuna's database stayed locked or away for longer than it is waited for."""


@dataclass(frozen=True)
class Tuned:
    """The best recipe of a study, its walk-forward RMSE, the trials behind it, and the study that it began from."""

    family: str
    params: dict[str, Any]
    linear_share: float
    rmse: float
    trials: list[dict[str, Any]]
    begun_from: str = DEFAULTS


@task(name="tune", task_run_name="tune {trials} trials", tags=["tuning"])
def tune(
    movies: FeatureTable | pd.DataFrame,
    trials: int,
    seed: int,
    study_name: str,
    storage: str,
    minutes: float,
    sampler_seed: int | None = None,
    facts: Mapping[str, str] | None = None,
) -> Tuned:
    """Return the best of `trials` recipes on movies, of which each year is predicted from those before it."""
    log = get_run_logger()
    return search(movies, trials, seed, study_name, storage, log.info, minutes, sampler_seed, facts)


def search(
    movies: FeatureTable | pd.DataFrame,
    trials: int,
    seed: int,
    study_name: str,
    storage: str,
    say: Callable[..., None],
    minutes: float = float("inf"),
    sampler_seed: int | None = None,
    facts: Mapping[str, str] | None = None,
) -> Tuned:
    """Bring a study to so many trials, alone or beside other workers, within so many minutes, and return its best.

    `say` takes a log message and its arguments. The minutes end the asking; what runs is finished, and at least one
    trial is. `sampler_seed`, `seed` where None, must differ between workers that start together, or they ask for the
    same recipes. `facts` say what the study is of, to people and to later studies: without them it has no earlier one.
    Raises ValueError for less than one trial, DatabaseAway where the study cannot be reached.
    """
    if trials < 1:
        raise ValueError(f"trials is {trials}: at least 1 is needed to have a best one")
    study = _open_study(study_name, storage, seed if sampler_seed is None else sampler_seed, facts)
    deadline = time.monotonic() + minutes * 60
    evaluate: Callable[..., float] | None = None
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool, _Heart(study, say) as heart:
        while True:
            heart.beat_once_for(study)
            fail_stale_trials(study)
            done, running = _count(study, *ANSWERED), _count(study, TrialState.RUNNING)
            if done >= trials or (done and time.monotonic() > deadline):
                break
            if done + running >= trials:  # others are at the last ones; should they die, theirs are tried again
                time.sleep(1)
                continue
            if evaluate is None:
                say("study %s: %d of %d trials are done", study_name, done, trials)
                evaluate = _objective(movies, seed)
            try:
                asked = [study.ask() for _ in range(min(SIDE_BY_SIDE, trials - done - running))]
                asked = [trial for trial in asked if _is_needed(study, trial, trials)]
                heart.beat_for(asked)
                recipes = [suggest(trial) for trial in asked]
                tries = [pool.submit(evaluate, *recipe, trial) for recipe, trial in zip(recipes, asked, strict=True)]
                for trial, (family, *_), attempt in zip(asked, recipes, tries, strict=True):
                    error = attempt.result()
                    pruned = trial.should_prune()
                    state = TrialState.PRUNED if pruned else None
                    told = study.tell(trial, None if pruned else error, state=state, skip_if_finished=True)
                    said = OUTCOMES.get(told.state, "not counted")
                    say("trial %d of %d: %s %s %.4f", trial.number + 1, trials, family, said, error)
            except UpdateFinishedTrialError as late:
                say("another worker took a trial of this one for dead; it is tried again: %s", late)
    answered = [t for t in study.get_trials(deepcopy=False) if t.state in ANSWERED][:trials]
    best = min((t for t in answered if t.state == TrialState.COMPLETE), key=lambda t: t.values[0])
    say("best of %d trials: %s, walk-forward RMSE %.4f", len(answered), best.params["family"], best.values[0])
    family, params, linear_share = suggest(optuna.trial.FixedTrial(best.params))
    params |= best.user_attrs
    history = [
        {"number": t.number, "rmse": t.value, "pruned": t.state == TrialState.PRUNED, **t.params, **t.user_attrs}
        for t in answered
    ]
    return Tuned(family, params, linear_share, best.values[0], history, study.user_attrs[BEGUN_FROM])


def suggest(trial: Any) -> tuple[str, dict[str, Any], float]:
    """Return the family of a trial, the parameters that its learner gets, and the share of the linear voice."""
    family = trial.suggest_categorical("family", list(FAMILIES))
    return family, FAMILIES[family].space(trial), trial.suggest_float("linear_share", 0.0, 0.8)


def _open_study(name: str, storage: str, seed: int, facts: Mapping[str, str] | None = None) -> optuna.Study:
    """Open a study, or begin it; what it begins with is written down first, and is the same for all who open it."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # The lock holds what is experimental in it; that we beat the heart ourselves is meant.
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    warnings.filterwarnings("ignore", message="Heartbeat of storage")
    database = _open_database(make_room(with_driver(storage), "OPTUNA_STORAGE"))
    study = optuna.create_study(
        study_name=name,
        storage=database,
        direction="minimize",
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=8, n_warmup_steps=1),
    )
    if BEGINNING not in study.user_attrs:
        for key, value in {**(facts or {}), **_beginning(study, facts)}.items():
            study.set_user_attr(key, value)
    for recipe in json.loads(study.user_attrs[BEGINNING]):
        study.enqueue_trial(recipe, skip_if_exists=True)  # again, too: a worker may have died before the last one
    return study


def _beginning(study: optuna.Study, facts: Mapping[str, str] | None) -> dict[str, str]:
    """Return what a study begins with, as its notes: each family's defaults, then the best of an earlier study.

    Earlier is one of the same model and source, of movies until the same day or before, and of other data: nothing that
    was found out on later movies is used, and studies of the same data, with another seed, stay independent.
    """
    recipes: list[dict[str, Any]] = []
    for family, spec in FAMILIES.items():
        defaults = {f"{family}_{name}": value for name, value in spec.default.items()}
        recipes.append({"family": family, "linear_share": DEFAULT_SHARE} | defaults)
    begun_from = DEFAULTS
    for name in _earlier(study, facts) if facts else ():
        earlier = optuna.load_study(study_name=name, storage=study._storage)
        best = _best(earlier.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
        if best:
            begun_from = name
            recipes += [recipe for recipe in best if recipe not in recipes]
            break
    return {BEGUN_FROM: begun_from, BEGINNING: json.dumps(recipes)}


def _earlier(study: optuna.Study, facts: Mapping[str, str]) -> list[str]:
    """Return the names of the earlier studies, the newest first."""

    def is_earlier(other: StudySummary) -> bool:
        known = other.user_attrs
        alike = all(known.get(key) == facts[key] for key in ("model", "source"))
        return alike and known["as_of"] <= facts["as_of"] and known["data"] != facts["data"]

    found = filter(is_earlier, optuna.get_all_study_summaries(study._storage, include_best_trial=False))
    ordered = sorted(found, key=lambda other: (other.user_attrs["as_of"], other._study_id), reverse=True)
    return [other.study_name for other in ordered]


def _best(trials: list[FrozenTrial]) -> list[dict[str, Any]]:
    """Return the few best recipes that the search as it is now could ask for, too."""
    ranked = sorted(trials, key=lambda trial: (trial.values[0], trial.number))
    return [trial.params for trial in ranked if _is_in_space(trial.params)][:BEST]


def _is_in_space(recipe: dict[str, Any]) -> bool:
    trial = optuna.trial.FixedTrial(recipe)
    with warnings.catch_warnings(), suppress(ValueError, UserWarning):
        warnings.simplefilter("error")  # what lies outside of its range is only warned of
        suggest(trial)
        return set(trial.params) == set(recipe)
    return False


def _open_database(url: str) -> RDBStorage:
    """Open Optuna's database so that each of its transactions waits while it is locked or away.

    On a new one, workers that start together may trip over each other making its tables.
    """
    options: dict[str, Any] = {"connect_args": {"timeout": LOCKED}} if url.startswith("sqlite") else {}
    database: RDBStorage = _patiently(RDBStorage, url, OPENING)(
        url, engine_kwargs=options | {"pool_pre_ping": True}, heartbeat_interval=HEARTBEAT, grace_period=GRACE
    )
    for name in transactions():
        setattr(database, name, _patiently(getattr(database, name), url, PATIENCE))
    return database


def transactions() -> list[str]:
    """Return the names of the methods of Optuna's storage that are one transaction each: again, they change nothing."""
    code = {name: getattr(method, "__code__", None) for name, method in vars(RDBStorage).items()}
    return [name for name, body in code.items() if body and "_create_scoped_session" in body.co_names]


def _patiently(call: Callable[P, T], url: str, seconds: float) -> Callable[P, T]:
    """Return a call that is tried again, ever later, for so many seconds while its database fails."""

    @functools.wraps(call)
    def patient(*args: P.args, **kwargs: P.kwargs) -> T:
        begun, pause = time.monotonic(), 0.5
        while True:
            try:
                return call(*args, **kwargs)
            except (StorageInternalError, DBAPIError) as error:
                waited = time.monotonic() - begun
                if waited > seconds:
                    why = str(error.__cause__ or error).splitlines()[0]
                    raise DatabaseAway(
                        f"Optuna's database {without_passwords(url)} did not answer for {waited:.0f} s: {why}. End "
                        "what locks it, or start it, or mend OPTUNA_STORAGE, and ask again: the study goes on"
                    ) from error
            time.sleep(pause)
            pause = min(2 * pause, 10)

    return patient


def _count(study: optuna.Study, *states: TrialState) -> int:
    return len(study.get_trials(deepcopy=False, states=states))


def _is_needed(study: optuna.Study, trial: Trial, trials: int) -> bool:
    """Say whether a trial is among the `trials` that count; another worker may have asked at the same moment."""
    alive = (*ANSWERED, TrialState.RUNNING)
    before = sum(t.number < trial.number and t.state in alive for t in study.get_trials(deepcopy=False))
    if before < trials:
        return True
    study.tell(trial, state=TrialState.FAIL)
    return False


def _objective(movies: FeatureTable | pd.DataFrame, seed: int) -> Callable[..., float]:
    """Return the walk-forward RMSE of a recipe. The linear voice is computed once for all recipes.

    After each year the error so far is reported; a trial that does worse than most did is given up.
    """
    known = movies if isinstance(movies, FeatureTable) else FeatureTable.of(movies)
    end = known.movies["release_date"].max() + pd.Timedelta(days=1)
    folds = make_folds(known, STOPPING_YEARS + TUNING_YEARS, end)
    # Movies of so few years that none come before the judged ones: the first judged year must do.
    stopping, folds = folds[:-TUNING_YEARS] or folds[:1], folds[-TUNING_YEARS:]

    def evaluate(family: str, params: dict[str, Any], linear_share: float, trial: Trial) -> float:
        learner = RatingModel(family, params, seed=seed).learner()
        trees = trees_needed(learner, stopping)
        if trees:
            learner.set_params(n_estimators=trees)
            trial.set_user_attr(TREES, trees)
        squared: list[float] = []
        for step, fold in enumerate(folds):
            trees = fold.fit(learner).predict(fold.table)
            blend = (1 - linear_share) * trees + linear_share * fold.linear
            squared += ((fold.ratings - blend) ** 2).tolist()
            trial.report(float(np.sqrt(np.mean(squared))), step)
            if step < len(folds) - 1 and trial.should_prune():
                break
        return float(np.sqrt(np.mean(squared)))

    return evaluate


class _Heart:
    """Tells the database that the trials of this worker are alive. No error stops it: it says so and beats again."""

    def __init__(self, study: optuna.Study, say: Callable[..., None]) -> None:
        self._storage: Any = study._storage
        self._say = say
        self._trials: list[Trial] = []
        self._seen: set[int] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heart", daemon=True)

    def beat_for(self, trials: list[Trial]) -> None:
        """Beat for these from now on."""
        for trial in trials:
            self._storage.record_heartbeat(trial._trial_id)
        self._trials = trials

    def beat_once_for(self, study: optuna.Study) -> None:
        """Beat once for each trial that is new here: one whose worker died before its first beat would run for ever."""
        running = {t._trial_id for t in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))}
        for trial in running - self._seen:
            self._storage.record_heartbeat(trial)
        self._seen |= running

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT):
            try:
                for trial in self._trials:
                    self._storage.record_heartbeat(trial._trial_id)
            except Exception as error:
                self._say("the heartbeat failed and is tried again in %d s: %s", HEARTBEAT, error)

    def __enter__(self) -> _Heart:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join(HEARTBEAT)  # one that waits for the database is not waited for
