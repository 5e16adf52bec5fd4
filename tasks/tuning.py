"""Look for the best family and parameters with Optuna, judged by walk-forward on movies before the hold-out.

One study over all families: the parameters of each are sampled together (`group`), because sampling them independently
is measurably worse. The study lives in a database and is named after the data and the code, so the same question asked
again goes on where it stopped. Trials are asked for in pairs, run side by side and told in order: the same seed gives
the same study.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
import pandas as pd
from prefect import get_run_logger, task

from models.estimator import FAMILIES, RatingModel, make_folds
from models.facts import iterate, written
from models.features import MovieFeatures

TUNING_YEARS = 4
SIDE_BY_SIDE = 2
DEFAULT_SHARE = 0.5


@dataclass(frozen=True)
class Tuned:
    """The best recipe of a study, its walk-forward RMSE, and the trials behind it."""

    family: str
    params: dict[str, Any]
    linear_share: float
    rmse: float
    trials: list[dict[str, Any]]


@task(name="tune", task_run_name="tune {trials} trials")
def tune(movies: pd.DataFrame, trials: int, seed: int, study_name: str, storage: str) -> Tuned:
    """Return the best of `trials` recipes on `movies`, of which each year is predicted from those before it."""
    log = get_run_logger()
    return search(movies, trials, seed, study_name, storage, log.info)


def search(
    movies: pd.DataFrame, trials: int, seed: int, study_name: str, storage: str, say: Callable[..., None]
) -> Tuned:
    """Do the work of `tune`; `say` takes a log message and its arguments."""
    if trials < 1:
        raise ValueError(f"trials is {trials}: at least 1 is needed to have a best one")
    objective = _objective(movies, seed)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # `group` may change; the lock holds it
        sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True)
    study = optuna.create_study(
        study_name=study_name, storage=storage, direction="minimize", load_if_exists=True, sampler=sampler
    )
    if not study.trials:
        for family, spec in FAMILIES.items():
            defaults = {f"{family}_{name}": value for name, value in spec.default.items()}
            study.enqueue_trial({"family": family, "linear_share": DEFAULT_SHARE} | defaults)
    for dead in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
        study.tell(dead.number, state=optuna.trial.TrialState.FAIL)  # left by a run that was killed
    done = len(study.get_trials(states=[optuna.trial.TrialState.COMPLETE]))
    if done:
        say("study %s goes on after %d trials", study_name, done)
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        while done < trials:
            asked = [study.ask() for _ in range(min(SIDE_BY_SIDE, trials - done))]
            recipes = [suggest(trial) for trial in asked]
            errors = pool.map(lambda recipe: objective(*recipe), recipes)
            for trial, (family, *_), error in zip(asked, recipes, errors, strict=True):
                study.tell(trial, error)
                done += 1
                say("trial %d of %d: %s %.4f, best %.4f", done, trials, family, error, study.best_value)
    asked_for = study.get_trials(states=[optuna.trial.TrialState.COMPLETE])[:trials]
    best = min(asked_for, key=lambda t: t.values[0])
    family, params, linear_share = suggest(optuna.trial.FixedTrial(best.params))
    return Tuned(
        family,
        params,
        linear_share,
        best.values[0],
        [{"number": t.number, "rmse": t.value, **t.params} for t in asked_for],
    )


def suggest(trial: Any) -> tuple[str, dict[str, Any], float]:
    """Return the family of a trial, the parameters that its learner gets, and the share of the linear voice."""
    family = trial.suggest_categorical("family", list(FAMILIES))
    return family, FAMILIES[family].space(trial), trial.suggest_float("linear_share", 0.0, 0.8)


def _objective(movies: pd.DataFrame, seed: int) -> Callable[..., float]:
    """Return the walk-forward RMSE of a recipe. Features and the linear voice are computed once for all recipes."""
    features = MovieFeatures().fit(movies)
    texts = [written(movie) for movie in iterate(movies)]
    end = movies["release_date"].max() + pd.Timedelta(days=1)
    folds = make_folds(movies, features, features.transform(movies), texts, TUNING_YEARS, end)
    actual = np.concatenate([fold.ratings for fold in folds])
    linear = np.concatenate([fold.linear for fold in folds])

    def objective(family: str, params: dict[str, Any], linear_share: float) -> float:
        learner = RatingModel(family, params, seed=seed).learner()
        trees = np.concatenate([fold.fit(learner).predict(fold.table) for fold in folds])
        blend = (1 - linear_share) * trees + linear_share * linear
        return float(np.sqrt(((actual - blend) ** 2).mean()))

    return objective
