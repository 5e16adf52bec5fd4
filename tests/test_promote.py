"""The gate, the promotion, the ledger and the way back, with a real registry and real bentos."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import World, another_version, load_fit
from prefect import flow, runtime

from flows.promote import promote_model
from flows.rollback import rollback_model
from flows.ship import ship_model
from models.movie import Movie
from models.promotion import Verdict
from settings import PROJECT, get_settings
from tasks.foundation.lease import lease
from tasks.foundation.store import FolderStore, open_store
from tasks.registry import versions as registry
from tasks.registry.scoring import Scored, score
from tasks.registry.versions import CHAMPION
from tasks.release import ledger, moving, promoting, reconciling
from tasks.release.reconciling import Disagreement
from tasks.release.targets import probing
from tasks.release.targets.bento import environment
from tasks.release.targets.probing import GOLDEN_MOVIES, probe


def test_the_first_good_model_becomes_champion_and_a_bento(world: World) -> None:
    assert world.promoted["promoted"] is True
    version = registry.find(CHAMPION)
    assert version.number == world.promoted["version"]
    assert world.promoted["shipped"] == [f"premiere:{version.label}"]
    assert "beats every baseline" in version.tags["verdict"]
    assert "verdict.png" in [file.path for file in registry.client().list_artifacts(version.run_id)]
    listed = subprocess.run(
        [sys.executable, "-m", "bentoml", "list", "-o", "json"],
        env=environment(), cwd=PROJECT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f"premiere:{version.label}" in listed.stdout


def test_the_ledger_says_what_was_in_production_when(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    records = ledger.read()
    assert [record.event for record in records] == ["moving", "promoted"]
    promoted = records[-1]
    assert promoted.to == world.promoted["version"]
    assert promoted.previous is None
    assert promoted.by.startswith("promote-model/")
    assert promoted.figures["challenger rmse"] > 0
    assert promoted.sha256 == registry.find(CHAMPION).tags["sha256"]
    assert ledger.in_production(records, promoted.at) == promoted
    assert ledger.in_production(records, promoted.at - timedelta(seconds=1)) is None
    assert ledger.main(["--on", str(datetime.now(UTC).date())]) == 0
    assert "promoted  v1" in capsys.readouterr().out
    assert ledger.main(["--on", "2001-01-01"]) == 1
    assert "nothing was in production" in capsys.readouterr().out


def test_promoting_the_champion_again_changes_nothing(world: World) -> None:
    before = ledger.read()
    again = promote_model()
    assert again["promoted"] is False
    assert "champion already" in again["reason"]
    assert again["shipped"] == world.promoted["shipped"]
    assert registry.find(CHAMPION).number == world.promoted["version"]
    assert ledger.read() == before


def test_without_a_model_the_error_says_what_to_do(environment: Any, prefect_api: None) -> None:
    with pytest.raises(LookupError, match=r"python -m flows\.train"):
        promote_model()
    with pytest.raises(LookupError, match=r"python -m flows\.promote"):
        ship_model(["bento"])
    with pytest.raises(LookupError, match="no earlier champion"):
        rollback_model()


def test_the_twin_of_the_champion_is_refused_by_the_real_gate_and_the_ledger_says_so(copied_world: World) -> None:
    twin = another_version()
    news = promote_model(twin.number)
    assert news["promoted"] is False
    assert "against the champion" in news["reason"]
    record = ledger.read()[-1]
    assert (record.event, record.to, record.previous) == ("rejected", twin.number, copied_world.promoted["version"])
    assert record.figures["certainty against the champion"] == 0
    assert registry.find(str(twin.number)).tags["verdict"] == news["reason"]


def test_a_version_is_rated_by_the_code_that_it_was_fitted_with(copied_world: World, tmp_path: Path) -> None:
    champion = registry.find(CHAMPION)
    movies = [Movie(**movie).told() for movie in GOLDEN_MOVIES]
    rated = score(champion, "model", movies, [0.9])
    here = load_fit(champion, "model").predict_interval(movies, 0.9)
    np.testing.assert_allclose(np.stack([rated.ratings, *rated.intervals[0.9]]), np.stack(here), atol=1e-9)
    # The same model beside code that rates a tenth higher: an earlier release of ours.
    shutil.copytree(PROJECT / "models", tmp_path / "models", ignore=shutil.ignore_patterns("__pycache__"))
    estimator = tmp_path / "models" / "estimator.py"
    estimator.write_text(
        estimator.read_text().replace(
            "ratings = self._blend(trees, linear)", "ratings = self._blend(trees, linear) + 0.1"
        )
    )
    run = registry.client().create_run("0")
    registry.client().log_artifacts(run.info.run_id, str(tmp_path / "models"), registry.CODE)
    digest = {"code_sha256": registry.code_digest(tmp_path)}
    earlier = dataclasses.replace(champion, run_id=run.info.run_id, tags=champion.tags | digest)
    np.testing.assert_allclose(score(earlier, "model", movies, [0.9]).ratings, here[0] + 0.1, atol=1e-9)
    for name in ("code_sha256", "sha256"):
        forged = dataclasses.replace(champion, tags=champion.tags | {name: "0" * 64})
        with pytest.raises(RuntimeError, match=f"{name} is .*, registered was 000"):
            score(forged, "model", movies)


def test_the_gate_refuses_a_service_that_answers_otherwise_accepts_nonsense_or_is_slow(
    world: World, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = registry.find(CHAMPION)
    probe(version, service, latency_ms=60_000)
    with pytest.raises(RuntimeError, match="0 are allowed"):
        probe(version, service, latency_ms=0)
    expected = score(version, "model", [Movie(**movie).told() for movie in GOLDEN_MOVIES], [0.9])
    for off in (1e-4, np.nan):
        monkeypatch.setattr(probing, "score", lambda *_, off=off: Scored(expected.ratings + off, expected.intervals))
        with pytest.raises(RuntimeError, match="from the registered model"):
            probe(version, service, latency_ms=60_000)
    monkeypatch.setattr(probing, "score", lambda *_: expected)
    monkeypatch.setitem(probing.MALFORMED, "nonsense", b'{"movie": {"title": "fine"}}')
    with pytest.raises(RuntimeError, match="nonsense got 200 instead of a 4xx"):
        probe(version, service, latency_ms=60_000)
    other = dataclasses.replace(version, tags=version.tags | {"sha256": "1" * 64})
    with pytest.raises(RuntimeError, match="was answered by model"):
        probe(other, service, latency_ms=60_000)


def test_a_rollback_needs_an_earlier_champion_and_returns_to_it(copied_world: World, lenient: None) -> None:
    with pytest.raises(LookupError, match="no earlier champion"):
        rollback_model()
    first = registry.find(CHAMPION)
    second, third = another_version(), another_version()
    assert promote_model(second.number)["promoted"]
    assert promote_model(third.number)["promoted"]
    assert ledger.champions(ledger.read()) == [first.number, second.number, third.number]
    back = rollback_model("a test")
    assert (back["version"], back["from"], back["shipped"]) == (
        second.number,
        third.number,
        [f"premiere:{second.label}"],
    )
    assert registry.find(CHAMPION).number == second.number
    assert rollback_model()["version"] == first.number
    with pytest.raises(LookupError, match="no earlier champion"):
        rollback_model()
    records = ledger.read()
    assert [r.reason for r in records if r.event == "rolled back"] == ["a test", ""]
    (third_day,) = [r for r in records if r.event == "promoted" and r.to == third.number]
    now_and_then = [ledger.in_production(records, at) for at in (third_day.at, datetime.now(UTC))]
    assert [record.to for record in now_and_then if record] == [third.number, first.number]


def test_what_was_rolled_back_is_never_promoted_again(copied_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    twin = another_version()
    registry.tag_version(twin, {"rolled_back": "2026-01-01"})
    assert "was rolled back on 2026-01-01" in promote_model(twin.number)["reason"]


def test_a_rollback_to_what_is_gone_moves_nothing(copied_world: World, lenient: None) -> None:
    second, third = another_version(), another_version()
    promote_model(second.number)
    promote_model(third.number)
    shutil.rmtree(get_settings().bentoml_home / "bentos" / "premiere" / second.label)
    with pytest.raises(LookupError, match=f"premiere:{second.label} is gone"):
        rollback_model()
    assert registry.find(CHAMPION).number == third.number
    assert ledger.read()[-1].event == "failed"
    assert ledger.unfinished(ledger.read()) is None


def test_a_champion_that_changed_since_the_comparison_is_not_overwritten(copied_world: World) -> None:
    second, third = another_version(), another_version()
    champion = registry.find(CHAMPION)
    registry.set_alias(CHAMPION, second)
    with (
        lease(open_store(get_settings().store_uri), "a test", "a test") as held,
        pytest.raises(RuntimeError, match=f"{second.label} became champion after {third.label} was compared"),
    ):
        promoting.promote(third, champion, Verdict("better", "a test"), ["bento"], held)
    assert registry.find(CHAMPION).number == second.number


def test_a_run_that_failed_did_not_come_to_its_end(prefect_api: None) -> None:
    @flow
    def end(fails: bool) -> str:
        runs.append(str(runtime.flow_run.id))
        if fails:
            raise RuntimeError("killed")
        return ""

    runs: list[str] = []
    end(fails=False)
    with pytest.raises(RuntimeError):
        end(fails=True)
    assert [promoting.was_completed(run) for run in (*runs, "", str(uuid.uuid4()))] == [True, False, True, True]


def test_an_alias_that_was_moved_by_hand_is_noticed_and_nothing_is_stamped(copied_world: World, lenient: None) -> None:
    first, second, third = registry.find(CHAMPION), another_version(), another_version()
    promote_model(second.number)
    registry.set_alias(CHAMPION, third)
    before = ledger.read()
    said = f"points to {third.label}, the ledger says {second.label}.*--adopt.*--restore"
    for move in (rollback_model, promote_model, lambda: ship_model(["bento"])):
        with pytest.raises(Disagreement, match=said):
            move()
    assert ledger.read() == before
    assert "rolled_back" not in registry.find(str(second.number)).tags
    assert promote_model(restore=True)["version"] == second.number
    assert registry.find(CHAMPION).number == second.number
    assert ledger.champions(ledger.read()) == [first.number, second.number]
    registry.set_alias(CHAMPION, third)
    adopted = promote_model(adopt=True)
    assert (adopted["version"], adopted["promoted"]) == (third.number, False)
    assert ledger.champions(ledger.read()) == [first.number, second.number, third.number]
    assert adopted["shipped"] == [f"premiere:{third.label}"]
    assert rollback_model("now it is known")["version"] == second.number


def test_a_registry_that_lost_the_alias_or_is_another_is_noticed(copied_world: World, lenient: None) -> None:
    champion, second = registry.find(CHAMPION), another_version()
    registry.client().delete_registered_model_alias(get_settings().model_name, CHAMPION)
    with pytest.raises(Disagreement, match="points to nobody, the ledger says v1"):
        promote_model(second.number)
    assert promote_model(restore=True)["version"] == champion.number
    registry.tag_version(champion, {"sha256": "0" * 64})
    with pytest.raises(Disagreement, match="another model"):
        promote_model(second.number)
    with pytest.raises(LookupError, match="is not the model that the ledger calls so"):
        promote_model(restore=True)
    registry.client().delete_registered_model_alias(get_settings().model_name, CHAMPION)
    promote_model(adopt=True)
    assert ledger.champions(ledger.read()) == []
    assert promote_model(second.number)["promoted"]


def test_a_target_that_was_switched_by_hand_is_noticed(
    copied_world: World, lenient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "activate", lambda shipment: None)
    monkeypatch.setattr(
        moving,
        "prepare",
        lambda version, target, _: ledger.Shipment(target=target, where=f"{target}-{version.label}", digest="x"),
    )
    second = another_version()
    promote_model(second.number, ship_to=["bento", "s3"])
    monkeypatch.setattr(reconciling, "in_use", lambda target: "y")
    with pytest.raises(Disagreement, match=f"s3 serves y, the ledger says s3-{second.label}"):
        rollback_model()
    monkeypatch.setattr(reconciling, "in_use", lambda target: "x")
    assert reconciling.differences() == []


def test_a_ledger_whose_copy_cannot_be_written_is_read(copied_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "COPIED", 1)

    def full(*_: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(FolderStore, "write", full)
    assert ledger.read()[0].event == "moving"


def test_an_approval_is_of_one_version(copied_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, told = [], []

    def answer(key: str, **_: Any) -> promoting.Approval:
        asked.append(key)
        return promoting.Approval(approve=True)

    monkeypatch.setattr(promoting, "suspend_flow_run", answer)
    monkeypatch.setattr(promoting, "alert", told.append)
    for version in (another_version(), another_version()):
        assert promoting.approved(version, "a test")
    assert len(set(asked)) == len(told) == 2


def test_a_stray_or_torn_file_in_the_ledger_stops_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    store, records = open_store(get_settings().store_uri), ledger.read()
    folder = f"ledger/{get_settings().model_name}/"
    stray = [f"{folder}._2026-01-01T000000.000000Z-aaaaaaaa.json", f"{folder}2026-01-01T000000.000000Z-aaaaaaaa.json"]
    try:
        for key in stray:
            store.write(key, b"")
        assert ledger.read() == records
        assert all(key in caplog.text for key in stray)
    finally:
        for key in stray:
            store.delete(key)


def test_movies_of_a_frame_are_rated_as_single_ones(world: World, rated: pd.DataFrame) -> None:
    champion = registry.find(CHAMPION)
    some = rated.tail(30)
    np.testing.assert_allclose(
        score(champion, "judged", some).ratings, load_fit(champion, "judged").predict(some), atol=1e-9
    )
