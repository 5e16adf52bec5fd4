"""Tune, fit, judge and register a model of what was collected; it becomes the challenger.

python -m flows.train --trials 60 --as-of 2024-01-01
"""

from __future__ import annotations

from datetime import date

import pandas as pd
from prefect import flow, get_run_logger, runtime

from settings import get_settings
from tasks.catalogue import fingerprint
from tasks.command_line import run_from_shell
from tasks.registry import CHALLENGER, commit, find_trained, lock_hash, register, run_metrics, set_alias
from tasks.source import RatingsName, source_to_learn_from
from tasks.tmdb import now
from tasks.training import code_hash, fit, judge, keep_sentiments, load_movies, show_comparison, split, study_name
from tasks.tuning import tune


@flow(name="train-model")
def train_model(
    trials: int = 30,
    as_of: date | None = None,
    source: RatingsName | None = None,
    seed: int = 0,
    minutes: float = 60.0,
) -> dict[str, str | int | float]:
    """Train on movies released before a day and register the best recipe as challenger.

    trials: how many recipes Optuna tries, over XGBoost, LightGBM and Random Forest.
    as_of: the world as known that day: nothing released on it or later is learned from; default: the scheduled date.
    source: whose ratings, tmdb, imdb or sample; default: tmdb where a token is set or its movies were collected.
    seed: of the search and of the learners.
    minutes: after so many no further trial is begun.
    """
    settings, log = get_settings(), get_run_logger()
    source = source or source_to_learn_from(settings)
    movies = load_movies(source, as_of or runtime.flow_run.scheduled_start_time.date())
    newest = movies["release_date"].max()
    data = fingerprint(movies)
    tags = {"source": source, "data": data, "code": code_hash(), "trials": str(trials), "seed": str(seed)}
    version = find_trained(tags)
    if version:
        log.info("%s was trained on the same data with the same code: nothing to do", version.label)
        set_alias(CHALLENGER, version)
    else:
        train, holdout = split(movies)
        log.info("%d movies of %s to learn from, %d to judge on", len(train), source, len(holdout))
        storage = settings.optuna_storage.get_secret_value()
        best = tune(train, trials, seed, study_name(movies, seed), storage, minutes)
        judged = fit(train, best.family, best.params, best.linear_share, seed, "before the hold-out")
        figures = judge(judged, train, holdout)
        shipped = fit(movies, best.family, best.params, best.linear_share, seed, "on everything")
        keep_sentiments(source)
        facts = {
            "as_of": str((newest + pd.Timedelta(days=1)).date()),
            "judged_until": judged.learned_until_,
            "family": best.family,
        }
        facts |= {"synthetic": str(source == "sample").lower(), "commit": commit(), "movies": str(len(movies))}
        facts |= {"trained_at": now().isoformat(), "lock": lock_hash()}
        params = {
            "family": best.family,
            **best.params,
            "linear_share": best.linear_share,
            "trials": trials,
            "seed": seed,
        }
        metrics = figures | {"tuning_rmse": best.rmse}
        version = register(shipped, judged, holdout, params, metrics, tags | facts, best.trials)
    figures = run_metrics(version)
    show_comparison(figures, f"{version.tags['family']} {version.label}", source)
    log.info("%s: hold-out RMSE %.3f", version.label, figures["holdout_rmse"])
    return {"version": version.number, "family": version.tags["family"], "rmse": figures["holdout_rmse"]}


if __name__ == "__main__":
    print(run_from_shell(train_model))
