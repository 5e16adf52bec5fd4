"""The main job, from the first request to an answer of the service: what `make run` does.

python -m flows.pipeline --start 2015-01-01 --trials 60
"""

from __future__ import annotations

from datetime import date

from prefect import flow, runtime

from flows.collect import collect_movies
from flows.promote import promote_model
from flows.train import train_model
from settings import get_settings
from tasks.bento import ask_service, build_bento
from tasks.command_line import run_from_shell
from tasks.registry import current_champion
from tasks.source import SourceName, source_to_collect
from tasks.summary import pick_movie, summarise


@flow(name="premiere")
def run_pipeline(
    start: date = date(2005, 1, 1),
    end: date | None = None,
    min_votes: int = 20,
    trials: int = 20,
    as_of: date | None = None,
    source: SourceName | None = None,
) -> str:
    """Collect, train, promote, build the service, ask it once, and return a summary.

    start: first release date to collect.
    end: last release date to collect; default: the end of next year.
    min_votes: movies that are out need at least so many votes; 0 takes everything.
    trials: how many recipes Optuna tries.
    as_of: the world as known that day: nothing released on it or later is learned from; default: the scheduled date.
    source: tmdb or sample; default: tmdb where a token is set.
    """
    source = source or source_to_collect(get_settings())
    today = runtime.flow_run.scheduled_start_time.date()
    collected = collect_movies(start, end, min_votes, source)
    trained = train_model(trials, as_of, source)
    promotion = promote_model(int(trained["version"]))
    champion = current_champion()
    if champion is None:
        return f"v{trained['version']} was not promoted, and there is no champion to serve: {promotion['reason']}"
    movie, actual = pick_movie(source, today)
    (answer,) = ask_service(build_bento(champion), [movie])
    return summarise(source, collected, trained, promotion, champion, movie, actual, answer)


if __name__ == "__main__":
    print(run_from_shell(run_pipeline))
