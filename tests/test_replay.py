"""The replay: what a past day's training says is made once, nothing later leaks into it, and policies differ by it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import TODAY, World, load_fit, set_environment
from prefect import flow

from flows.replay import replay_policy
from models.body import record
from models.comparing import LOOK
from models.estimator import RatingModel
from models.evaluation import MIN_VOTES
from models.promotion import Gate
from models.questions import RECORD, WAYS
from settings import PROJECT, get_settings
from tasks.data.partitions import movie_table, write_partition
from tasks.foundation.clock import now
from tasks.foundation.store import open_store
from tasks.learning import replaying
from tasks.learning.loading import split
from tasks.learning.replaying import COLUMNS, ENDS, SHIPPED, PastVersion, learn_days, load_history, training_days
from tasks.learning.tuning import Tuned
from tasks.operations.replay_report import render_page, render_text, replay_key, summarise
from tasks.registry import versions as registry
from tasks.release import ledger, policies
from tasks.release.policies import BETTER, FIRST, LOOP, NEWEST, decide_all, follow, predict_live

FEW = Tuned("lightgbm", {"n_estimators": 5}, 0.5, float("nan"), [])
DAYS = [date(2025, 7, 1), date(2025, 12, 1)]


@flow
def learn(movies: pd.DataFrame, days: list[date], recipe: Tuned = FEW) -> Any:
    return learn_days(movies, days, recipe, 0, "sample")


def kept(folder: Path) -> list[Path]:
    return sorted(folder.rglob("replay/*/*.parquet"))


def same(one: PastVersion, other: PastVersion) -> None:
    pd.testing.assert_frame_equal(one.table, other.table, check_exact=True)
    for name in ("known_on", "as_of", "judged_until"):
        assert getattr(one, name) == getattr(other, name), name


@pytest.fixture(scope="module")
def few(rated: pd.DataFrame) -> pd.DataFrame:
    """Some of the sample's movies, oldest first."""
    return rated[rated["release_date"] >= pd.Timestamp(2019, 1, 1)].reset_index(drop=True)


@pytest.fixture(scope="module")
def once(few: pd.DataFrame, prefect_api: None, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What was learned of `DAYS`, and the folder where it is kept."""
    folder = tmp_path_factory.mktemp("replay")
    with pytest.MonkeyPatch.context() as patch:
        set_environment(patch, folder)
        try:
            return learn(few, DAYS), folder
        finally:
            get_settings.cache_clear()


@pytest.fixture
def learned(once: Any, environment: Path) -> list[PastVersion]:
    """What was learned of `DAYS`, kept in this test's own store."""
    versions, folder = once
    shutil.copytree(folder / "store", environment / "store")
    return list(versions)


def test_only_days_that_are_missing_are_learned(
    learned: list[PastVersion], environment: Path, few: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits: list[int] = []
    fit, of = RatingModel.fit, replaying.FeatureTable.of
    monkeypatch.setattr(RatingModel, "fit", lambda self, known: (fits.append(len(known.movies)), fit(self, known))[1])
    monkeypatch.setattr(replaying.FeatureTable, "of", lambda *_: (fits.append(0), of(*_))[1])
    for ours, theirs in zip(learn(few, DAYS), learned, strict=True):
        same(ours, theirs)
        assert ours.seconds == theirs.seconds
    assert fits == []
    kept(environment)[1].unlink()
    for ours, theirs in zip(learn(few, DAYS), learned, strict=True):
        same(ours, theirs)
    known = few[few["release_date"] < pd.Timestamp(DAYS[1])].reset_index(drop=True)
    train = split(known)[0]
    assert fits == [
        0,
        len(train),
        len(known),
    ]  # all are numbered once; one fit ends before the hold-out
    assert learned[1].as_of == known["release_date"].max() + pd.Timedelta(days=1)
    assert learned[1].judged_until == train["release_date"].max()


@pytest.mark.parametrize("damage", ["torn", "flipped", "of another day", "empty"])
def test_a_file_that_is_not_what_belongs_there_is_made_anew(
    learned: list[PastVersion], environment: Path, few: pd.DataFrame, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = kept(environment)
    whole, anew = one.read_bytes(), []
    middle = len(whole) // 3
    flipped = whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]
    damaged = {"torn": whole[: len(whole) // 2], "flipped": flipped, "of another day": other.read_bytes(), "empty": b""}
    one.write_bytes(damaged[damage])
    monkeypatch.setattr(replaying.FeatureTable, "of", lambda _: None)
    monkeypatch.setattr(replaying, "learn", lambda day, *_: (anew.append(day), learned[0])[1])
    for _ in range(2):
        for ours, theirs in zip(learn(few, DAYS), learned, strict=True):
            same(ours, theirs)
    assert anew == DAYS[:1]


def test_what_is_kept_is_of_its_movies_recipe_seed_and_code(
    environment: Path, rated: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    def folder(movies: pd.DataFrame = rated, recipe: Tuned = FEW, seed: int = 0, source: str = "sample") -> str:
        return replaying._folder(movies, recipe, seed, source)

    changed = rated.assign(vote_average=[*rated["vote_average"][1:], 1.0])
    others = [Tuned("xgboost", {}, 0.5, 0.0, []), Tuned("lightgbm", {"n_estimators": 6}, 0.5, 0.0, [])]
    others += [Tuned("lightgbm", {"n_estimators": 5}, 0.4, 0.0, [])]
    keys = {folder(), folder(changed), folder(seed=1), folder(source="tmdb"), *(folder(recipe=r) for r in others)}
    assert folder() in keys
    monkeypatch.setattr(replaying, "digest_of", lambda _: "other code")
    assert len(keys | {folder()}) == 8


def test_no_later_rating_leaks_into_what_a_day_says(
    learned: list[PastVersion], environment: Path, few: pd.DataFrame
) -> None:
    later = few["release_date"] >= pd.Timestamp(DAYS[0])
    assert later.sum() > 50
    other = np.random.default_rng(0).uniform(1, 9, len(few))
    (version,) = learn(few.assign(vote_average=few["vote_average"].where(~later, other)), DAYS[:1])
    same(version, learned[0])
    (there,) = kept(environment)  # the movies are others: it was learned anew, and what was kept of the first is gone
    assert there.stem == str(DAYS[0])


def test_versions_are_asked_of_mature_movies_of_the_hold_out_and_after_it(
    learned: list[PastVersion], few: pd.DataFrame
) -> None:
    known = few[few["release_date"] < pd.Timestamp(DAYS[0])].reset_index(drop=True)
    holdout = split(known)[1]
    mature = few[few["vote_count"] >= MIN_VOTES]
    to_judge = mature[mature["release_date"] >= holdout["release_date"].min()]
    to_come = mature[mature["release_date"] > pd.Timestamp(DAYS[0])]
    assert set(learned[0].judged(holdout)) == {RECORD, *WAYS}
    assert len(learned[0].table) == len(to_judge) * (1 + len(WAYS)) + len(to_come)
    live = learned[0].shipped(to_come)
    assert list(live.index) == list(to_come["id"])
    assert ((live["low"] < live["rating"]) & (live["rating"] < live["high"])).all()
    with pytest.raises(KeyError):
        learned[0].shipped(holdout)  # which it learned


def test_days_run_from_the_start_as_long_as_a_movie_may_follow() -> None:
    first = date(2019, 1, 1)
    assert training_days(first, date(2019, 3, 2), 30) == [first, date(2019, 1, 31)]
    assert training_days(first, date(2019, 3, 3), 30)[-1] == date(2019, 3, 2)
    with pytest.raises(ValueError, match="no movie comes out between them"):
        training_days(first, first, 30)


# -- policies, on made-up predictions --------------------------------------------------------------------------------

FIRST_DAY = date(2019, 1, 1)
GATE = Gate()


def made_up(drift: float = 0.0, count: int = 3000) -> pd.DataFrame:
    """Movies of 2012 to 2021 whose ratings spread around a level that moves by `drift` a year from 2019 on."""
    rng = np.random.default_rng(1)
    released = pd.Timestamp(2012, 1, 1) + pd.to_timedelta(np.sort(rng.integers(0, 3650, count)), unit="D")
    years = np.maximum((released - pd.Timestamp(FIRST_DAY)).days.to_numpy() / 365.25, 0)
    return pd.DataFrame(
        {
            "id": np.arange(count) + 100,
            "release_date": released,
            "vote_average": rng.normal(6, 1, count) + drift * years,
            "vote_count": 100,
            "genres": [["Drama"]] * count,
            "original_language": "en",
            "budget": 1e6,
        }
    )


def version(movies: pd.DataFrame, day: date, noise: float = 0.5, seed: int = 0, off: Any = 0.0) -> PastVersion:
    """A version of a day that errs by so much noise, most of it as all versions do, and is off by so much."""
    shared, own, linear = (np.random.default_rng(number).normal(0, noise, len(movies)) for number in (99, seed, 98))
    rating = movies["vote_average"].to_numpy() + np.sqrt(0.95) * shared + np.sqrt(0.05) * own + off
    said = pd.DataFrame(dict.fromkeys(COLUMNS, rating), index=pd.Index(movies["id"], name="id"))
    said["linear"] += linear
    for confidence, ends in ENDS.items():
        half = {0.8: 1.29, 0.9: 1.65}[confidence] * noise
        said[list(ends)] += [-half, half]
    as_of = movies[movies["release_date"] < pd.Timestamp(day)]["release_date"].max() + pd.Timedelta(days=1)
    table = pd.concat(dict.fromkeys((RECORD, *WAYS, SHIPPED), said), names=["view", "id"])
    return PastVersion(day, as_of, as_of - pd.Timedelta(days=366), 1.0, table)


def days(count: int) -> list[date]:
    return [FIRST_DAY + timedelta(days=60 * n) for n in range(count)]


def rmse(decisions: Any, movies: pd.DataFrame) -> float:
    live = predict_live(decisions, movies)
    return float(np.sqrt(((live["actual"] - live["rating"]) ** 2).mean()))


def champions(decisions: Any) -> list[date]:
    return [decision.champion.known_on for decision in decisions]


def test_a_drift_makes_the_first_champion_bad_and_the_loop_goes_with_it() -> None:
    movies = made_up(drift=0.5)
    versions = []
    for n, day in enumerate(days(12)):  # what a version takes for the level is that of its own day
        years = np.maximum((movies["release_date"] - pd.Timestamp(day)).dt.days.to_numpy() / 365.25, 0)
        versions.append(version(movies, day, seed=n, off=-0.5 * years))
    decided = decide_all(versions, movies, GATE)
    errors = {name: rmse(decisions, movies) for name, decisions in decided.items()}
    assert set(champions(decided[FIRST])) == {FIRST_DAY}
    assert champions(decided[NEWEST]) == days(12)
    assert len(set(champions(decided[LOOP]))) > 3
    assert errors[LOOP] < 0.9 * errors[FIRST]
    assert errors[BETTER] < errors[FIRST]
    assert errors[NEWEST] <= errors[LOOP] + 0.02
    told = summarise(versions, decided, movies, FEW, {"source": "sample", "start": "", "end": "", "every": 60})
    assert told["policies"][FIRST]["whole"]["bias"] < told["policies"][LOOP]["whole"]["bias"] < 0
    plain, low, high = told["against"][FIRST]
    assert plain == pytest.approx(errors[LOOP] - errors[FIRST])
    assert low < plain < high < 0


def test_a_challenger_that_is_worse_is_taken_by_always_newest_alone() -> None:
    movies = made_up()
    versions = [version(movies, day, 0.9 if n == 1 else 0.5, seed=n) for n, day in enumerate(days(3))]
    decided = decide_all(versions, movies, GATE)
    assert [d.verdict.outcome for d in decided[LOOP]] == ["better", "kept", "refreshed"]
    assert [d.verdict.outcome for d in decided[BETTER]] == ["better", "kept", "kept"]
    assert champions(decided[LOOP]) == [days(3)[0], days(3)[0], days(3)[2]]
    assert champions(decided[NEWEST])[1] == days(3)[1]
    assert rmse(decided[NEWEST], movies) > rmse(decided[LOOP], movies)


def test_equals_refresh_the_loop_and_nothing_else() -> None:
    movies = made_up()
    decided = decide_all([version(movies, day, seed=n) for n, day in enumerate(days(6))], movies, GATE)
    assert {d.verdict.outcome for d in decided[LOOP][1:]} == {"refreshed"}
    assert champions(decided[BETTER]) == champions(decided[FIRST]) == [FIRST_DAY] * 6


def test_each_refused_day_is_a_look_at_the_champion_and_a_new_champion_is_looked_at_anew() -> None:
    movies = made_up()
    noises = [0.6, 0.9, 0.9, 0.3, 0.9]
    versions = [version(movies, day, noise, seed=n) for n, (day, noise) in enumerate(zip(days(5), noises, strict=True))]
    loop = decide_all(versions, movies, GATE)[BETTER]
    assert [d.verdict.outcome for d in loop] == ["better", "kept", "kept", "better", "kept"]
    assert [d.verdict.figures.get(LOOK) for d in loop] == [None, 1, 2, 3, 1]


def test_a_movie_is_predicted_by_the_champion_of_the_day_before_its_release() -> None:
    movies = made_up()
    one, two = (version(movies, day, seed=n) for n, day in enumerate(days(2)))
    turn = pd.Timestamp(days(2)[1])
    movies.loc[movies["release_date"].searchsorted(turn), "release_date"] = turn  # comes out on the very day
    movies = movies.sort_values(["release_date", "id"], ignore_index=True)
    movies.loc[movies.index[-1], "vote_count"] = MIN_VOTES - 1
    decided = follow(lambda *_: policies.Verdict("better", "a test"), [one, two])
    live = predict_live(decided, movies).assign(id=lambda table: table.index)
    assert set(live["id"]) == set(movies[movies["release_date"] > pd.Timestamp(FIRST_DAY)]["id"][:-1])
    assert (live["champion"] < live["released"]).all()
    assert (live[live["released"] <= turn]["champion"] == pd.Timestamp(FIRST_DAY)).all()
    assert (live[live["released"] > turn]["champion"] == turn).all()
    assert (live["released"] == turn).any()
    rated = two.shipped(movies[movies["release_date"] > turn][:-1])
    np.testing.assert_array_equal(live[live["released"] > turn]["rating"], rated["rating"])


def test_where_no_version_passes_the_reason_is_told() -> None:
    movies = made_up()
    decided = decide_all([version(movies, FIRST_DAY, noise=3.0)], movies, GATE)
    with pytest.raises(ValueError, match=r"no version became champion .*baseline .*Begin later"):
        predict_live(decided[LOOP], movies)


# -- the whole of it, on the sample -----------------------------------------------------------------------------------


def test_the_gate_of_a_replay_is_the_gate_of_a_promotion(world: World) -> None:
    """What was trained and promoted as of a day is that day's version of a replay, judged with the same figures."""
    judged = load_fit(registry.find(str(world.trained["version"])), "judged")
    recipe = Tuned(judged.family, judged.params, judged.linear_share, float("nan"), [])
    movies = load_history("sample", date.today(), TODAY)

    @flow
    def replayed() -> Any:
        return replaying.learn(TODAY, replaying.FeatureTable.of(movies), recipe, 0)

    verdict = decide_all([replayed()], movies, GATE)[LOOP][0].verdict
    (promoted,) = [record for record in ledger.read() if record.event == "promoted"]
    assert verdict.reason == promoted.reason
    assert verdict.figures == pytest.approx(promoted.figures, abs=1e-9)


def test_a_replay_that_is_killed_goes_on_and_tells_what_an_operator_would_have_seen(
    environment: Path, prefect_api: None, bodies: list[dict[str, Any]]
) -> None:
    store = open_store(get_settings().store_uri)
    table = movie_table([record(body, now()) for body in bodies if body["release_date"] >= "2018"])
    facts: dict[str, Any] = {"source": "sample", "logical_date": date.today(), "slice": "all", "requests": 1}
    write_partition(store, table, start=date(2018, 1, 1), end=TODAY, expected=len(table), **facts)
    options: dict[str, Any] = {"start": date(2025, 11, 1), "end": TODAY, "every": 150}
    command = [sys.executable, "-m", "flows.replay", *(f"--{name}={value}" for name, value in options.items())]
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    alone |= {"PREFECT_HOME": str(environment / "prefect")}
    process = subprocess.Popen(command, cwd=PROJECT, env=alone, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not kept(environment):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (there,) = kept(environment)
    written = there.stat().st_mtime_ns
    text = replay_policy(**options)
    assert [path.stem for path in kept(environment)] == ["2025-11-01", "2026-03-31"]
    assert there.stat().st_mtime_ns == written
    told = json.loads(store.read(replay_key("sample")))
    assert text == render_text(told)
    assert b"<svg" in store.read("sample/replay.svg")
    assert store.read("sample/replay.md").decode() == render_page(told)
    assert told["trainings"] == 2
    loop = told["policies"][LOOP]
    assert sum(quarter["movies"] for quarter in loop["quarters"]) == told["movies"] == loop["whole"]["movies"]
    assert [d["day"] for d in loop["decisions"]] == ["2025-11-01", "2026-03-31"]
    assert 0.5 < loop["whole"]["rmse"] < 0.9  # the sample's smallest possible error is 0.5
    assert 0.2 < loop["whole"]["skill"] < 0.8
    for name in (LOOP, FIRST, NEWEST, BETTER):
        assert re.search(rf"^{name} +\d", text, re.MULTILINE)
    assert "one snapshot" in " ".join(text.split())
    stamps = store.stamps("sample/replay/")
    assert replay_policy(**options).split("Recipe: ")[0] == text.split("Recipe: ")[0]
    assert store.stamps("sample/replay/") == stamps
