"""Help to tune: a worker that brings the study of `train-model` forward, beside others, on a shared OPTUNA_STORAGE.

python -m flows.tune --trials 60
"""

from __future__ import annotations

from datetime import date
from uuid import UUID

from prefect import flow, runtime

from settings import get_settings
from tasks.data.source import RatingsName, source_to_learn_from
from tasks.learning.features import feature_table
from tasks.learning.identity import study_facts, study_name
from tasks.learning.loading import load_movies, split
from tasks.learning.tuning import tune
from tasks.operations.command_line import run_from_shell
from tasks.operations.parameters import check_parameters, with_rules
from tasks.operations.run_names import day_of_run, run_name


@flow(name="tune-worker", flow_run_name=run_name("tune", source_to_learn_from))
@with_rules
def tune_worker(
    trials: int = 60,
    as_of: date | None = None,
    source: RatingsName | None = None,
    seed: int = 0,
    minutes: float = 60.0,
) -> dict[str, str | int | float]:
    """Tune the study that `train-model` with the same parameters would; it then finds the trials done.

    Args:
        trials: how many recipes the study shall hold, those of all workers together.
        as_of: the world as known that day; default: the scheduled date.
        source: whose ratings, tmdb, imdb or sample; default: tmdb where a token is set or its movies were collected.
        seed: of the search and of the learners.
        minutes: after so many no further trial is begun.
    """
    check_parameters(**locals())
    settings = get_settings()
    source = source or source_to_learn_from(settings)
    movies = load_movies(source, as_of or day_of_run())
    train, holdout = split(movies)
    tables = feature_table(movies, train, holdout, source)
    facts, storage = study_facts(movies, source, seed), settings.optuna_storage.get_secret_value()
    own = UUID(runtime.flow_run.id).int % 2**32
    best = tune(tables.train, trials, seed, study_name(facts), storage, minutes, sampler_seed=own, facts=facts)
    return {"family": best.family, "rmse": best.rmse, "trials": len(best.trials)}


if __name__ == "__main__":
    print(run_from_shell(tune_worker))
