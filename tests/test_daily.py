"""The living run: its steps, who may run, what is refitted, what is told and what is retired."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Iterator
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
from conftest import TODAY, World, another_version
from prefect import flow, get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.states import Completed, Running, Scheduled, State

from settings import get_settings
from tasks.foundation.alerts import alert
from tasks.foundation.clock import now
from tasks.foundation.lease import Taken, lease
from tasks.foundation.store import open_store
from tasks.learning.tuning import known_recipes, search
from tasks.operations import daily, retention
from tasks.operations.daily import Steps
from tasks.registry import versions as registry
from tasks.registry.versions import CHALLENGER
from tasks.release import ledger
from tasks.release.targets.shipment import Shipment


def fails() -> None:
    raise ValueError("no room")


def test_a_step_that_fails_is_told_and_the_others_are_taken(caplog: pytest.LogCaptureFixture) -> None:
    steps = Steps()
    assert steps.take("collect", fails) is None
    assert steps.take("train", lambda a, b: a + b, 1, b=2) == 3
    assert [(step.name, step.outcome) for step in steps.taken] == [("collect", "failed"), ("train", "done")]
    assert steps.failures == "collect: ValueError: no room"
    assert "collect failed" in caplog.text


def test_what_a_later_day_brings_is_no_failure() -> None:
    steps = Steps()
    steps.may_wait = (ValueError,)
    steps.take("train", fails)
    assert not steps.failures
    assert steps.left_out == "train was left out: no room"


def test_one_run_at_a_time(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daily, "WAITED", 0.05)
    store, took = open_store(get_settings().store_uri), threading.Event()

    def other() -> None:
        with lease(store, "daily-movie-rating", "premiere/the other"):
            took.set()
            threading.Event().wait(1.5)

    thread = threading.Thread(target=other)
    thread.start()
    took.wait()
    with pytest.raises(Taken, match=r"premiere/the other .* is still at work after 0 minutes"), daily.daily_lock(0):
        pass
    with daily.daily_lock(1):  # waits for its end
        assert not thread.is_alive() or thread.join(1) is None
    with daily.daily_lock(0):
        pass


@pytest.fixture
def hook(environment: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What a webhook in Slack's format hears; it fails at its first call."""
    heard: list[str] = []
    calls = iter([500])

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status = next(calls, 200)
            if status == 200:
                heard.append(told["text"])
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("ALERT_WEBHOOK_URL", f"http://127.0.0.1:{server.server_port}/services/T/secret")
    get_settings.cache_clear()
    yield heard
    server.shutdown()


def test_what_becomes_of_the_champion_is_told_to_a_webhook(hook: list[str]) -> None:
    ledger.add("moving", to=2, previous=1, ends_as="promoted")
    ledger.add("promoted", to=2, previous=1, reason="it is better")
    ledger.add("rejected", to=3, reason="a person declined: too soon")
    assert hook == [
        "movie-rating v2 was promoted (champion before: v1): it is better",
        "movie-rating v3 was rejected: a person declined: too soon",
    ]


def test_a_webhook_that_is_away_stops_nothing_and_its_address_stays_secret(
    environment: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ALERT_WEBHOOK_URL", "http://127.0.0.1:9/services/T/secret")
    monkeypatch.setenv("ALERT_BLOCK", "slack-webhook/nobody-made-it")
    get_settings.cache_clear()
    with caplog.at_level(logging.WARNING):
        alert("v2 was promoted")
    assert "ALERT_WEBHOOK_URL was not told 'v2 was promoted': ConnectError" in caplog.text
    assert "slack-webhook/nobody-made-it was not told" in caplog.text
    assert "secret" not in caplog.text


def facts(day: str, data: str) -> dict[str, str]:
    known = {"model": "movie-rating", "source": "sample", "as_of": day, "movies": "1", "seed": "0"}
    return known | {"code": "c", "data": data, "searched_on": day}


def test_a_search_a_week_and_its_best_recipes_in_between(environment: Path, rated: pd.DataFrame) -> None:
    storage, few = get_settings().optuna_storage.get_secret_value(), rated.iloc[-300:].reset_index(drop=True)
    first = facts("2026-06-01", "one")
    assert known_recipes(first, storage, 7, None) is None
    best = search(few, 1, 0, "first", storage, lambda *_: None, facts=first)
    assert known_recipes(first, storage, 7, None) is None  # of the same data: it is the search itself
    for day, due in (("2026-06-02", False), ("2026-06-07", False), ("2026-06-08", True)):
        found = known_recipes(facts(day, "two"), storage, 7, None)
        assert (found is None) == due
    assert known_recipes(facts("2026-06-02", "two"), storage, 0, None) is None
    found = known_recipes(facts("2026-06-02", "two"), storage, 7, json.dumps(best.recipe | {"linear_share": 0.123}))
    assert found
    name, recipes = found
    assert name == "first"
    assert recipes[0] == best.recipe
    assert recipes[-1]["linear_share"] == 0.123
    refitted = search(few, len(recipes), 0, "second-refit", storage, lambda *_: None, recipes=recipes)
    assert refitted.recipe in recipes
    trials = optuna.load_study(study_name="second-refit", storage=storage).trials
    assert [trial.params for trial in trials] == recipes


def test_a_search_that_did_not_come_to_its_end_is_made_again(environment: Path, rated: pd.DataFrame) -> None:
    storage, few = get_settings().optuna_storage.get_secret_value(), rated.iloc[-300:].reset_index(drop=True)
    search(few, 1, 0, "killed", storage, lambda *_: None, facts=facts("2026-06-01", "one"))
    study = optuna.load_study(study_name="killed", storage=storage)
    assert known_recipes(facts("2026-06-02", "two"), storage, 7, None)
    optuna.delete_study(study_name="killed", storage=storage)
    unfinished = optuna.create_study(study_name="killed", storage=storage)
    for key, value in study.user_attrs.items():
        if key != "answered":
            unfinished.set_user_attr(key, value)
    unfinished.add_trials(study.trials)
    assert known_recipes(facts("2026-06-02", "two"), storage, 7, None) is None


def test_old_versions_are_retired_and_what_a_rollback_needs_stays(copied_world: World) -> None:
    old, newest = another_version(), another_version()
    registry.set_alias(CHALLENGER, newest)
    day = TODAY + timedelta(days=200)
    for version in (old, newest):
        registry.tag_version(version, {"made_for": str(TODAY)})
    of_yore = another_version()  # made on the day itself, as of an earlier one
    registry.tag_version(of_yore, {"known_on": "2024-01-01", "made_for": str(day)})
    assert [v.number for v in retention.retired_versions(TODAY)] == []
    champion = registry.current_champion()
    assert champion
    assert champion.number == 1
    assert [v.number for v in retention.retired_versions(day)] == [old.number]


def test_the_files_of_a_retired_version_go_and_its_row_stays(copied_world: World) -> None:
    champion = registry.current_champion()
    assert champion
    assert registry.has_files(champion)
    registry.delete_files(champion)
    assert not registry.has_files(champion)
    assert registry.run_metrics(champion)["holdout_rmse"] > 0
    assert registry.find_trained({"source": "sample"}) is None
    registry.delete_files(champion)  # again, it finds nothing


def test_what_a_person_deleted_in_mlflow_keeps_nothing_else_from_being_retired(
    copied_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, first, second = registry.client(), another_version(), another_version()
    fits = client.get_run(first.run_id).outputs.model_outputs
    client.delete_logged_model(fits[0].model_id)
    monkeypatch.setattr(retention, "retired_versions", lambda _: [first, second])
    assert retention.PLACES["versions"](TODAY) == 2
    assert not registry.has_files(second)
    delete, asked = registry.delete_files, []

    def fail_first(version: registry.Version) -> None:
        asked.append(version.number)
        if version == first:
            raise OSError("no right to")
        delete(version)

    monkeypatch.setattr(registry, "delete_files", fail_first)
    with pytest.raises(RuntimeError, match=f"{first.label}: no right to"):
        retention.PLACES["versions"](TODAY)
    assert asked == [first.number, second.number]


def test_what_a_training_left_that_died_before_its_version_goes_a_day_later(copied_world: World) -> None:
    client, champion = registry.client(), registry.current_champion()
    assert champion
    experiment = client.get_run(champion.run_id).info.experiment_id
    stamp = int((now() - timedelta(days=2)).timestamp() * 1000)
    tags = {"training": "of a run that died", "family": "xgboost"}
    old = client.create_run(experiment, start_time=stamp, tags=tags)
    client.log_text(old.info.run_id, "half", "model_card.md")
    under_way = client.create_run(experiment, tags=tags)
    theirs, finished = (client.create_run(experiment, start_time=stamp, tags=tags) for _ in range(2))
    client.create_registered_model("of another name")
    client.create_model_version("of another name", source=theirs.info.artifact_uri, run_id=theirs.info.run_id)
    client.set_terminated(finished.info.run_id)  # its version may be one that a person deleted
    assert retention.PLACES["trainings"](TODAY) == 1
    assert client.get_run(old.info.run_id).info.lifecycle_stage == "deleted"
    assert not Path(old.info.artifact_uri.removeprefix("file://")).exists()
    for run in (under_way, theirs, finished):
        assert client.get_run(run.info.run_id).info.lifecycle_stage == "active"
    assert registry.has_files(champion)
    assert retention.PLACES["trainings"](TODAY) == 0


def test_a_host_without_docker_has_no_images_to_retire(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    champion = registry.current_champion()
    assert champion
    shipped = {"image": Shipment(target="image", where="premiere:v1-of-another-host", digest="sha256:0")}
    monkeypatch.setattr(ledger, "shipments", lambda *_: shipped)
    monkeypatch.setattr(retention, "retired_versions", lambda _: [champion])
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    assert retention.PLACES["images"](TODAY) == 0


def test_a_study_is_as_old_as_the_day_that_it_was_made_for(environment: Path) -> None:
    storage = get_settings().optuna_storage.get_secret_value()
    notes = {
        "of a replay": {"as_of": "2019-01-01"},
        "as of then": {"as_of": "2020-01-01", "searched_on": "2020-01-01", "made_for": str(now().date())},
        "of a late day": {"as_of": "2026-01-01", "searched_on": "2026-01-01", "made_for": "2026-01-01"},
    }
    for name, told in notes.items():
        study = optuna.create_study(study_name=name, storage=storage)
        for key, value in (told | {"model": get_settings().model_name}).items():
            study.set_user_attr(key, value)
        study.add_trial(optuna.trial.create_trial(value=1.0))
    assert retention.PLACES["studies"](now().date()) == 1
    assert set(optuna.get_all_study_names(storage)) == {"of a replay", "as of then"}


def test_housekeeping_of_a_day_to_come_is_that_of_today(
    copied_world: World, prefect_api: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.housekeeping import keep_house

    taken: list[date] = []
    for place in retention.PLACES:
        monkeypatch.setitem(retention.PLACES, place, lambda day: taken.append(day) or 0)
    keep_house(now().date() + timedelta(days=500))
    assert set(taken) == {now().date()}


def test_housekeeping_is_done_twice_and_one_place_that_fails_keeps_no_other(
    copied_world: World, prefect_api: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.housekeeping import keep_house

    assert set(keep_house(TODAY)) == set(retention.PLACES)
    taken: list[date] = []
    monkeypatch.setitem(retention.PLACES, "bentos", lambda day: 1 // 0)
    monkeypatch.setitem(retention.PLACES, "studies", lambda day: taken.append(day) or 0)
    with pytest.raises(RuntimeError, match="bentos: integer division"):
        keep_house(TODAY)
    assert taken == [TODAY]


def test_ended_runs_of_two_months_ago_go_with_what_they_showed(prefect_api: None) -> None:
    @flow(name="housekeeping")
    def shows() -> None: ...

    @flow(name="of another team")
    def foreign() -> None: ...

    async def runs() -> dict[str, str]:
        """Names of what is left."""
        async with get_client() as client:
            found = await client.read_flow_runs()
            shown = await client.read_artifacts(
                artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["retention-test"]))
            )
            return {run.name: "" for run in found} | {str(artifact.flow_run_id): "shown" for artifact in shown}

    async def begin(name: str, days: int, state: State[Any], shows: Any = shows) -> Any:
        async with get_client() as client:
            due = Scheduled(scheduled_time=now() - timedelta(days=days))
            run = await client.create_flow_run(shows, name=name, state=due)
            await client.set_flow_run_state(run.id, state, force=True)
            await client.create_artifact(ArtifactCreate(key="retention-test", type="markdown", flow_run_id=run.id))
            return run.id

    old = asyncio.run(begin("old", 61, Completed()))
    recent = asyncio.run(begin("recent", 59, Completed()))
    lasting = asyncio.run(begin("lasting", 61, Running()))
    asyncio.run(begin("not ours", 61, Completed(), foreign))
    assert retention.PLACES["runs"](now().date()) == 1
    left = asyncio.run(runs())
    assert "old" not in left
    assert {"recent", "lasting", "not ours"} <= left.keys()
    assert str(old) not in left
    assert left[str(recent)] == left[str(lasting)] == "shown"
