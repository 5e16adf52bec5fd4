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

import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import fail_stale_trials
from optuna.trial import Trial, TrialState
from prefect import get_run_logger, task

from models.estimator import FAMILIES, RatingModel
from models.feature_table import FeatureTable
from models.folds import TUNING_YEARS, make_folds, trees_needed
from tasks.learning.studies import (
    ANSWERED_TRIALS,
    BEGUN_FROM,
    DEFAULTS,
    REFIT,
    SEARCHED_ON,
    Heart,
    Recipe,
    is_in_space,
    last_search,
    open_study,
)

STOPPING_YEARS = 2
TREES = "n_estimators"
SIDE_BY_SIDE = 2
DEFAULT_SHARE = 0.5
OUTCOMES = {TrialState.COMPLETE: "RMSE", TrialState.PRUNED: "given up at"}
ANSWERED = tuple(OUTCOMES)


@dataclass(frozen=True)
class Tuned:
    """The best recipe of a study, its walk-forward RMSE, the trials behind it, and the study that it began from."""

    family: str
    params: dict[str, Any]
    linear_share: float
    rmse: float
    trials: list[dict[str, Any]]
    begun_from: str = DEFAULTS
    recipe: Recipe = field(default_factory=dict)  # as the study knows it, to begin another with


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


@task(name="refit", task_run_name="refit the best of {searched}", tags=["tuning"])
def refit(
    movies: FeatureTable | pd.DataFrame,
    recipes: list[Recipe],
    searched: str,
    seed: int,
    study_name: str,
    storage: str,
    facts: Mapping[str, str],
) -> Tuned:
    """Return the best of recipes that are known, on today's movies: what `tune` does, without looking further."""
    log, study, facts = get_run_logger(), f"{study_name}-refit", {**facts, REFIT: searched}
    best = search(movies, len(recipes), seed, study, storage, log.info, facts=facts, recipes=recipes)
    return replace(best, begun_from=searched)


def known_recipes(
    facts: Mapping[str, str], storage: str, days: int, champions: str | None
) -> tuple[str, list[Recipe]] | None:
    """Return the study that was searched within so many days, and what to refit: its best, and the champion's recipe.

    None where there is no such search, or `days` is 0: then the time has come for one.
    """
    since = date.fromisoformat(facts[SEARCHED_ON]) - timedelta(days=days - 1)
    found = last_search(storage, suggest, facts, since) if days else None
    if found is None:
        return None
    name, recipes = found
    champion = [json.loads(champions)] if champions else []
    return name, recipes + [recipe for recipe in champion if recipe not in recipes and is_in_space(recipe, suggest)]


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
    recipes: list[Recipe] | None = None,
) -> Tuned:
    """Bring a study to so many trials, alone or beside other workers, within so many minutes, and return its best.

    `say` takes a log message and its arguments. The minutes end the asking; what runs is finished, and at least one
    trial is. `sampler_seed`, `seed` where None, must differ between workers that start together, or they ask for the
    same recipes. `facts` say what the study is of, to people and to later studies: without them it has no earlier one.
    `recipes` are what it begins with; default: each family's own. Raises ValueError for less than one trial,
    DatabaseAway where the study cannot be reached.
    """
    if trials < 1:
        raise ValueError(f"trials is {trials}: at least 1 is needed to have a best one")
    sampler_seed = seed if sampler_seed is None else sampler_seed
    study = open_study(study_name, storage, sampler_seed, suggest, recipes or defaults(), facts)
    deadline = time.monotonic() + minutes * 60
    evaluate: Callable[..., float] | None = None
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool, Heart(study, say) as heart:
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
                suggested = [suggest(trial) for trial in asked]
                tries = [pool.submit(evaluate, *recipe, trial) for recipe, trial in zip(suggested, asked, strict=True)]
                for trial, (family, *_), attempt in zip(asked, suggested, tries, strict=True):
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
    study.set_user_attr(ANSWERED_TRIALS, len(answered))
    say("best of %d trials: %s, walk-forward RMSE %.4f", len(answered), best.params["family"], best.values[0])
    family, params, linear_share = suggest(optuna.trial.FixedTrial(best.params))
    params |= best.user_attrs
    history = [
        {"number": t.number, "rmse": t.value, "pruned": t.state == TrialState.PRUNED, **t.params, **t.user_attrs}
        for t in answered
    ]
    return Tuned(family, params, linear_share, best.values[0], history, study.user_attrs[BEGUN_FROM], dict(best.params))


def suggest(trial: Any) -> tuple[str, dict[str, Any], float]:
    """Return the family of a trial, the parameters that its learner gets, and the share of the linear member."""
    family = trial.suggest_categorical("family", list(FAMILIES))
    return family, FAMILIES[family].space(trial), trial.suggest_float("linear_share", 0.0, 0.8)


def defaults() -> list[Recipe]:
    """Return the recipe of each family that nothing was tuned of."""
    return [
        {"family": family, "linear_share": DEFAULT_SHARE}
        | {f"{family}_{name}": value for name, value in spec.default.items()}
        for family, spec in FAMILIES.items()
    ]


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
    """Return the walk-forward RMSE of a recipe. The linear member is computed once for all recipes.

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
