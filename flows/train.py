"""Tune, fit, judge and register a model of what was collected; it becomes the challenger.

python -m flows.train --trials 60 --as-of 2024-01-01
"""

from __future__ import annotations

import json
from datetime import date

from prefect import flow, get_run_logger

from settings import get_settings
from tasks.data.source import RatingsName, source_to_learn_from
from tasks.learning.features import feature_table
from tasks.learning.fitting import fit
from tasks.learning.identity import REFITTED, describe, identify, study_facts, study_name, tuned
from tasks.learning.judging import judge, show_comparison
from tasks.learning.loading import accept_catalogue, split
from tasks.learning.report import write_report
from tasks.learning.studies import MADE_FOR, SEARCHED_ON
from tasks.learning.tuning import known_recipes, refit, tune
from tasks.operations.command_line import run_from_shell
from tasks.operations.parameters import check_parameters, with_rules
from tasks.operations.run_names import day_of_run, run_name
from tasks.registry.publishing import register
from tasks.registry.versions import CHALLENGER, check_registry, current_champion, find_trained, run_metrics, set_alias
from tasks.release.champion import scored_by_champion, what_champion_lacks


@flow(name="train-model", flow_run_name=run_name("train", source_to_learn_from))
@with_rules
def train_model(
    trials: int = 30,
    as_of: date | None = None,
    source: RatingsName | None = None,
    seed: int = 0,
    minutes: float = 60.0,
    tune_every: int = 0,
) -> dict[str, str | int | float]:
    """Train on movies released before a day and register the best recipe as challenger.

    Args:
        trials: how many recipes Optuna tries, over XGBoost, LightGBM and Random Forest.
        as_of: the world as known that day: nothing released from then on is learned from; default: the scheduled date.
        source: whose ratings, tmdb, imdb or sample; default: tmdb where a token is set or its movies were collected.
        seed: of the search and of the learners.
        minutes: after so many no further trial is begun; asked again, the search goes on where it stopped.
        tune_every: within so many days of a search its best recipes and the champion's are refitted, and no other is
            looked for; default: a search each time.
    """
    check_parameters(**locals())
    settings, log = get_settings(), get_run_logger()
    source = source or source_to_learn_from(settings)
    check_registry()
    lacking = what_champion_lacks()
    if lacking:
        log.warning("%s; training goes on without it", lacking)
    as_of = as_of or day_of_run()
    movies = accept_catalogue(source, as_of)
    facts, storage = study_facts(movies, source, seed), settings.optuna_storage.get_secret_value()
    champion, made_for = current_champion(), {MADE_FOR: str(day_of_run())}
    dated = facts | made_for | {SEARCHED_ON: str(as_of)}
    question, known = identify(movies, source, trials, seed), None
    version = find_trained(question)
    if not version:
        known = known_recipes(dated, storage, tune_every, champion.tags.get("recipe") if champion else None)
    if known:
        question |= tuned(REFITTED)
        version = find_trained(question)
    if not version:
        train, holdout = split(movies)
        log.info("%d movies of %s to learn from, %d to judge on", len(train), source, len(holdout))
        tables = feature_table(movies, train, holdout, source)
        if known:
            searched, recipes = known
            best = refit(tables.train, recipes, searched, seed, study_name(facts), storage, dated)
        else:
            best = tune(tables.train, trials, seed, study_name(facts), storage, minutes, facts=dated)
            question |= tuned(len(best.trials))
            if len(best.trials) < trials:
                words = "%d of %d trials were answered in %g minutes: train again, and the search goes on"
                log.warning(words, len(best.trials), trials, minutes)
        version = find_trained(question)  # of a search that was cut short and got no further
    if version:
        log.info("%s was trained on the same data with the same code: nothing to do", version.label)
        set_alias(CHALLENGER, version)
    else:
        judged = fit(tables.train, best, seed, "before the hold-out")
        asked = {"trials": str(trials), "begun_from": best.begun_from, "recipe": json.dumps(best.recipe)}
        tags = question | asked | made_for | describe(judged, movies, source, as_of)
        judgement = judge(judged, tables.holdout, train, holdout, scored_by_champion(holdout, tags))
        shipped = fit(tables.everything, best, seed, "on everything")
        report = write_report(judged, tables.holdout, holdout, best, judgement, tags)
        version = register(shipped, judged, holdout, report, tags)
    figures = run_metrics(version)
    show_comparison(figures, f"{version.tags['family']} {version.label}", source)
    log.info("%s: hold-out RMSE %.3f", version.label, figures["holdout_rmse"])
    return {"version": version.number, "family": version.tags["family"], "rmse": figures["holdout_rmse"]}


if __name__ == "__main__":
    print(run_from_shell(train_model))
