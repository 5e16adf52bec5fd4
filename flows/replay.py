"""Run the living policy over years gone by: train, judge and promote as of each date, and see what it said live.

python -m flows.replay --start 2019-01 --end 2023-12 --every 30
"""

from __future__ import annotations

from datetime import date

from prefect import flow, get_run_logger, runtime

from models.promotion import Gate
from settings import get_settings
from tasks.data.source import RatingsName, source_to_learn_from
from tasks.learning.replaying import choose_recipe, learn_days, load_history, training_days
from tasks.operations.command_line import run_from_shell
from tasks.operations.parameters import check_parameters, with_rules
from tasks.operations.replay_report import keep, render_text, summarise
from tasks.operations.run_names import run_name
from tasks.release.policies import decide_all


@flow(name="replay-policy", flow_run_name=run_name("replay", source_to_learn_from))
@with_rules
def replay_policy(
    start: date | None = None,
    end: date | None = None,
    every: int = 30,
    source: RatingsName | None = None,
    trials: int | None = None,
    seed: int = 0,
) -> str:
    """Train as of each date, let four policies choose the champion, and return what each would have said live.

    What was trained is kept in the store: a replay that was killed goes on, and another policy costs no training.

    Args:
        start: the first date that is trained as of; default: five years before the end.
        end: the last release date that is judged; default: the scheduled date.
        every: from one training to the next.
        source: whose ratings, tmdb, imdb or sample; default: tmdb where a token is set or its movies were collected.
        trials: how many recipes are tried, once, on what was known at the start; default: none, a usual one is taken.
        seed: of the search and of the learners.
    """
    check_parameters(**locals())
    source = source or source_to_learn_from(get_settings())
    today = runtime.flow_run.scheduled_start_time.date()
    end = end or today
    start = start or end.replace(year=end.year - 5, day=1)
    check_parameters(start=start, end=end)
    movies = load_history(source, today, end)
    recipe = choose_recipe(movies, start, trials, seed, source)
    versions = learn_days(movies, training_days(start, end, every), recipe, seed, source)
    decided = decide_all(versions, movies, Gate())
    facts = {"source": source, "start": str(start), "end": str(end), "every": every, "seed": seed}
    told = summarise(versions, decided, movies, recipe, facts)
    get_run_logger().info("%d trainings and %d live predictions: %s", len(versions), told["movies"], keep(told, source))
    return render_text(told)


if __name__ == "__main__":
    print(run_from_shell(replay_policy))
