"""The living run, from the first request to an answer of the service: what `make run` does, and what runs every day.

python -m flows.pipeline --trials 60 --ship-to bento registry
"""

from __future__ import annotations

from datetime import date
from typing import Any

from prefect import flow, runtime
from prefect.states import Completed, State

from flows.collect import collect_movies
from flows.housekeeping import keep_house
from flows.predict_upcoming import predict_upcoming
from flows.promote import promote_model
from flows.train import train_model
from settings import get_settings
from tasks.data.source import SourceName, has_movies, source_to_collect
from tasks.foundation.alerts import tell_block
from tasks.learning.loading import TooLittleHistory
from tasks.operations.command_line import run_from_shell
from tasks.operations.daily import Steps, ask_a_person, daily_lock, overtaken_by
from tasks.operations.parameters import check_parameters, with_rules
from tasks.operations.run_names import day_of_run, run_name, steps_of
from tasks.operations.summary import ask_champion, summarise
from tasks.registry.versions import current_champion
from tasks.release.targets.shipment import Target


class StepsFailed(Exception):
    """Steps of a run failed; what did not need them was done."""


@flow(name="premiere", flow_run_name=run_name("premiere", source_to_collect))
@with_rules
def run_pipeline(
    start: date | None = None,
    end: date | None = None,
    min_votes: int = 20,
    trials: int = 20,
    as_of: date | None = None,
    source: SourceName | None = None,
    minutes: float = 60.0,
    tune_every: int = 7,
    history_a_day: int | None = None,
    ship_to: list[Target] = ["bento"],  # noqa: B006 (a default that the UI shows and nobody edits)
    require_approval: bool = False,
) -> str | State[Any]:
    """Collect, train, promote, predict what is to come, tidy up, ask the service once, and return a summary.

    On an empty store the whole history is collected; after that, what has moved. A step that fails is told, and those
    that do not need it are taken. A run that was killed is gone on with by the next one, which catches up all days
    since; of runs that are due together only the newest does anything.

    Args:
        start: first release date to collect; default: 1 January twenty years before the scheduled date.
        end: last release date to collect; default: the end of next year.
        min_votes: movies that are out need at least so many votes; 0 takes everything.
        trials: how many recipes Optuna tries.
        as_of: the world as known that day: nothing released from then on is learned from; default: the scheduled date.
        source: tmdb or sample; default: tmdb where a token is set.
        minutes: after so many no further trial is begun, and an earlier run that is still at work is not waited for.
        tune_every: days from one search for recipes to the next; in between the best of the last one and the
            champion's are fitted anew; 0 searches each time.
        history_a_day: on an empty store, how many years of release dates are read each day; default: all at once.
        ship_to: where a new champion's service goes.
        require_approval: whether a person must approve in the Prefect UI before anything moves: a run of the
            deployment promote-model/manual asks.
    """
    check_parameters(**locals())
    newer = overtaken_by()
    if newer:
        return Completed(message=f"nothing to do: {newer} is due, too, and does the work of both", name="Overtaken")
    source = source or source_to_collect(get_settings())
    today = day_of_run()
    steps = Steps()
    trained, promotion, answer = None, None, None
    with daily_lock(minutes), steps_of(today):
        window = {"start": start, "end": end, "min_votes": min_votes, "history_a_day": history_a_day}
        collected = steps.take("collect", collect_movies, **window, source=source, as_of=today)
        if has_movies(get_settings(), source):
            steps.may_wait = (TooLittleHistory,) if history_a_day else ()
            search = {"trials": trials, "minutes": minutes, "tune_every": tune_every}
            trained = steps.take("train", train_model, **search, source=source, as_of=as_of or today)
        if trained:
            promote = ask_a_person if require_approval else promote_model
            promotion = steps.take("promote", promote, trained["version"], ship_to)
        champion = current_champion()
        if champion:
            steps.take("predict", predict_upcoming, source, today)
            answer = steps.take("ask", ask_champion, champion, source, today)
        steps.take("tidy up", keep_house, as_of)  # not what was just made as of an earlier day
        steps.show()
    if steps.failures:
        tell_block(f"{runtime.flow_run.name} failed: {steps.failures}")  # an automation tells ALERT_WEBHOOK_URL
        raise StepsFailed(steps.failures)
    if not (trained and promotion):
        return f"nothing was promoted: {steps.left_out}"
    if not (champion and answer):
        return f"v{trained['version']} was not promoted, and there is no champion to serve: {promotion['reason']}"
    return summarise(source, collected, trained, promotion, champion, answer)


if __name__ == "__main__":
    print(run_from_shell(run_pipeline))
