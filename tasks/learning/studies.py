"""Studies and their database: open one, begin it from an earlier one, and tell that its trials are alive.

Knows no movie and no learner: what a recipe is `suggest` says, which whoever opens a study brings. A database that is
locked or away for a while (a backup, a dashboard, a restart) is waited for, in each transaction of Optuna's storage.
"""

from __future__ import annotations

import json
import logging
import threading
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date
from typing import Any, NoReturn, ParamSpec, TypeVar

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.study import StudySummary
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import DBAPIError
from tenacity import RetryCallState, retry, retry_if_exception_type, stop_after_delay, wait_exponential

from settings import make_room, with_driver, without_passwords

BEST = 3  # recipes of an earlier study that a new one begins with
BEGINNING, BEGUN_FROM = "begins_with", "begun_from"  # a study's own notes of it
MADE_FOR = "made_for"  # the day of the run that made it
SEARCHED_ON, ANSWERED_TRIALS = "searched_on", "answered"  # the day that a search was of, and how many trials it came to
REFIT = "refit_of"  # of a study that only fits known recipes anew: the search that they are from
DEFAULTS = "defaults"  # what a study without an earlier one has begun from
HEARTBEAT, GRACE = 10, 60  # seconds
# Seconds: how long SQLite waits for a lock, how long a database that fails is asked again, and a new one opened.
LOCKED, PATIENCE, OPENING = 60, 120, 10
P = ParamSpec("P")
T = TypeVar("T")
Recipe = dict[str, Any]
Suggest = Callable[[Any], object]


class DatabaseAway(Exception):
    """Optuna's database stayed locked or away for longer than it is waited for."""


def open_study(
    name: str, storage: str, seed: int, suggest: Suggest, defaults: list[Recipe], facts: Mapping[str, str] | None = None
) -> optuna.Study:
    """Open a study, or begin it; what it begins with is written down first, and is the same for all who open it.

    `suggest` asks a trial for a recipe. Without `facts`, or as a refit, the study has no earlier one. Raises
    DatabaseAway.
    """
    database = _open_database(storage)
    study = optuna.create_study(
        study_name=name,
        storage=database,
        direction="minimize",
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=8, n_warmup_steps=1),
    )
    if BEGINNING not in study.user_attrs:
        for key, value in {**(facts or {}), **_beginning(study, suggest, defaults, facts)}.items():
            study.set_user_attr(key, value)
    for recipe in json.loads(study.user_attrs[BEGINNING]):
        study.enqueue_trial(recipe, skip_if_exists=True)  # again, too: a worker may have died before the last one
    return study


def _beginning(
    study: optuna.Study, suggest: Suggest, defaults: list[Recipe], facts: Mapping[str, str] | None
) -> dict[str, str]:
    """Return what a study begins with, as its notes: the defaults, then the best of an earlier study.

    Earlier is one of the same model and source, of movies until the same day or before, and of other data: nothing that
    was found out on later movies is used, and studies of the same data, with another seed, stay independent.
    """
    recipes, begun_from = list(defaults), DEFAULTS
    for name in _earlier(study, facts) if facts and REFIT not in facts else ():
        earlier = optuna.load_study(study_name=name, storage=study._storage)
        best = _best(earlier.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)), suggest)
        if best:
            begun_from = name
            recipes += [recipe for recipe in best if recipe not in recipes]
            break
    return {BEGUN_FROM: begun_from, BEGINNING: json.dumps(recipes)}


def last_search(
    storage: str, suggest: Suggest, facts: Mapping[str, str], since: date
) -> tuple[str, list[Recipe]] | None:
    """Return the newest search that was done on `since` or later, and its best recipes; None where there is none.

    It was of the same model, source and code, of other data, and came to its end. Raises DatabaseAway.
    """
    database = _open_database(storage)
    found = []
    for study in _searches(database, facts, "model", "source", "code"):
        known = study.user_attrs
        if ANSWERED_TRIALS in known and known["data"] != facts["data"]:
            found.append((known.get(SEARCHED_ON, known["as_of"]), study._study_id, study.study_name))
    for day, _, name in sorted(found, reverse=True):
        if since <= date.fromisoformat(day) <= date.fromisoformat(facts[SEARCHED_ON]):
            search = optuna.load_study(study_name=name, storage=database)
            best = _best(search.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)), suggest)
            if best:
                return name, best
    return None


def delete_studies(storage: str, model: str, before: date) -> int:
    """Delete the studies of a model that were made for an earlier day; return how many.

    One that does not say for which, as those of a replay, was made for the day on which it began.
    """
    database = _open_database(storage)
    summaries = optuna.get_all_study_summaries(database, include_best_trial=False)
    old = []
    for study in summaries:
        known = study.user_attrs
        began = study.datetime_start.date() if study.datetime_start else date.max
        day = date.fromisoformat(known[MADE_FOR]) if MADE_FOR in known else began
        if known.get("model") == model and day < before:
            old.append(study.study_name)
    for name in old:
        optuna.delete_study(study_name=name, storage=database)
    return len(old)


def _earlier(study: optuna.Study, facts: Mapping[str, str]) -> list[str]:
    """Return the names of the earlier studies, the newest first."""

    found = []
    for other in _searches(study._storage, facts, "model", "source"):
        known = other.user_attrs
        if known["as_of"] <= facts["as_of"] and known["data"] != facts["data"]:
            found.append(other)
    ordered = sorted(found, key=lambda other: (other.user_attrs["as_of"], other._study_id), reverse=True)
    return [other.study_name for other in ordered]


def _searches(storage: Any, facts: Mapping[str, str], *alike: str) -> list[StudySummary]:
    """Return the studies that looked for recipes, and agree with facts in what is named; refits are none."""
    studies = optuna.get_all_study_summaries(storage, include_best_trial=False)
    searched = [study for study in studies if REFIT not in study.user_attrs]
    return [study for study in searched if all(study.user_attrs.get(key) == facts[key] for key in alike)]


def _best(trials: list[FrozenTrial], suggest: Suggest) -> list[Recipe]:
    """Return the few best recipes that the search as it is now could ask for, too."""
    ranked = sorted(trials, key=lambda trial: (trial.values[0], trial.number))
    return [trial.params for trial in ranked if is_in_space(trial.params, suggest)][:BEST]


def is_in_space(recipe: Recipe, suggest: Suggest) -> bool:
    """Say whether the search as it is now could ask for a recipe."""
    trial = optuna.trial.FixedTrial(recipe)
    with warnings.catch_warnings(), suppress(ValueError, UserWarning):
        warnings.simplefilter("error")  # what lies outside of its range is only warned of
        suggest(trial)
        return set(trial.params) == set(recipe)
    return False


def _open_database(storage: str) -> RDBStorage:
    """Open Optuna's database so that each of its transactions waits while it is locked or away.

    On a new one, workers that start together may trip over each other making its tables.
    """
    url = make_room(with_driver(storage), "OPTUNA_STORAGE")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # The lock holds what is experimental in it; that we beat the heart ourselves is meant.
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    warnings.filterwarnings("ignore", message="Heartbeat of storage")
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

    def give_up(tries: RetryCallState) -> NoReturn:
        error = tries.outcome.exception() if tries.outcome else None
        why = str((error and error.__cause__) or error).splitlines()[0]
        raise DatabaseAway(
            f"Optuna's database {without_passwords(url)} did not answer for {tries.seconds_since_start:.0f} s: {why}. "
            "End what locks it, or start it, or mend OPTUNA_STORAGE, and ask again: the study goes on"
        ) from error

    fails = retry_if_exception_type((StorageInternalError, DBAPIError))
    pauses = wait_exponential(multiplier=0.5, max=10)
    return retry(retry=fails, wait=pauses, stop=stop_after_delay(seconds), retry_error_callback=give_up)(call)


class Heart:
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

    def __enter__(self) -> Heart:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join(HEARTBEAT)  # one that waits for the database is not waited for
