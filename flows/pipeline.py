"""The main job, from the first request to an answer of the service: what `make run` does, and what runs every day.

python -m flows.pipeline --years 20 --trials 60
"""

from __future__ import annotations

from datetime import date

from prefect import flow, get_run_logger, runtime

from flows.collect import collect_movies
from flows.predict_upcoming import predict_upcoming
from flows.promote import promote_model
from flows.train import train_model
from settings import get_settings
from tasks.data.source import SourceName, source_to_collect
from tasks.operations.command_line import run_from_shell
from tasks.operations.parameters import check_parameters, with_rules
from tasks.operations.run_names import run_name
from tasks.operations.summary import pick_movie, summarise
from tasks.registry.versions import current_champion
from tasks.release.targets.bento import ask_service, build_bento
from tasks.release.targets.shipment import Target


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
    ship_to: list[Target] = ["bento"],  # noqa: B006 (a default that the UI shows and nobody edits)
    require_approval: bool = False,
) -> str:
    """Collect, train, promote, predict what is to come, ask the service once, and return a summary.

    On an empty store the whole history is collected; after that, what has moved.

    Args:
        start: first release date to collect; default: 1 January twenty years before the scheduled date.
        end: last release date to collect; default: the end of next year.
        min_votes: movies that are out need at least so many votes; 0 takes everything.
        trials: how many recipes Optuna tries.
        as_of: the world as known that day: nothing released from then on is learned from; default: the scheduled date.
        source: tmdb or sample; default: tmdb where a token is set.
        minutes: after so many no further trial is begun.
        ship_to: where a new champion's service goes.
        require_approval: whether a person must approve in the Prefect UI before anything moves.
    """
    check_parameters(**locals())
    source = source or source_to_collect(get_settings())
    today = runtime.flow_run.scheduled_start_time.date()
    collected = collect_movies(start, end, min_votes, source)
    trained = train_model(trials, as_of, source, minutes=minutes)
    promotion = promote_model(int(trained["version"]), ship_to, require_approval)
    champion = current_champion()
    if champion is None:
        return f"v{trained['version']} was not promoted, and there is no champion to serve: {promotion['reason']}"
    upcoming = predict_upcoming(source)
    get_run_logger().info("%s movies of the next twelve months are predicted", upcoming["movies"])
    movie, actual = pick_movie(source, today)
    (answer,) = ask_service(build_bento(champion), [movie])
    return summarise(source, collected, trained, promotion, champion, movie, actual, answer)


if __name__ == "__main__":
    print(run_from_shell(run_pipeline))
