"""The champion is moved once and for all: killed at any step, by two at once, to what fails or is gone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import World, another_version

from flows.promote import promote_model
from flows.rollback import rollback_model
from settings import PROJECT, get_settings
from tasks.foundation.lease import Lost, Taken, lease
from tasks.foundation.store import open_store
from tasks.registry import versions as registry
from tasks.registry.versions import CHAMPION
from tasks.release import ledger, moving, promoting


def test_a_target_that_fails_takes_the_others_back(
    copied_world: World, lenient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    second, activated = another_version(), []

    def activate(shipment: ledger.Shipment) -> None:
        activated.append((shipment.target, shipment.where))
        if (shipment.target, shipment.where) == ("image", "new"):
            raise RuntimeError("the engine is out of disk")

    shipped = {"bento": "premiere:v2", "image": "new"}
    monkeypatch.setattr(moving, "activate", activate)
    monkeypatch.setattr(
        moving,
        "prepare",
        lambda version, target, _: ledger.Shipment(target=target, where=shipped[target], digest="x"),
    )
    with pytest.raises(RuntimeError, match="out of disk"):
        promote_model(second.number, ship_to=["bento", "image"])
    assert activated == [("bento", "premiere:v2"), ("image", "new"), ("bento", "premiere:v1")]
    assert registry.find(CHAMPION).number == copied_world.promoted["version"]
    failed = ledger.read()[-1]
    assert failed.event == "failed"
    assert "out of disk" in failed.reason


def test_of_two_promotions_at_once_one_wins_and_the_other_says_why(copied_world: World) -> None:
    with lease(open_store(get_settings().store_uri), get_settings().model_name, "promote-model/other-run"):
        news = promote_model(another_version().number)
        assert news["promoted"] is False
        assert "promote-model/other-run on" in news["reason"]
        with pytest.raises(Taken, match="other-run"):
            rollback_model()


KILLED = """
import os, sys
from models.promotion import Verdict
from tasks.release import ledger, moving, promoting
from tasks.registry import versions as registry
import flows.promote
import flows.rollback

step, version, calls = int(sys.argv[1]), int(sys.argv[2]), 0

def counted(function):
    def call(*args, **kwargs):
        global calls
        calls += 1
        if calls == step:
            print("killed before", getattr(function, "__name__", function), flush=True)
            os._exit(9)
        return function(*args, **kwargs)
    return call

for module, name in ((ledger, "add"), (ledger, "show"), (registry, "set_alias"), (registry, "tag_version"),
                     (moving, "prepare"), (moving, "activate")):
    setattr(module, name, counted(getattr(module, name)))
promoting._compare = lambda *_: (Verdict("better", "a test"), None)
flows.promote.try_bento = lambda *_: None
if version:
    flows.promote.promote_model(version)
else:
    flows.rollback.rollback_model("killed")
"""


def killed_at(step: int, version: int, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run a promotion, or a rollback where the version is 0, in a process that is killed before a step."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(step), str(version)],
        cwd=PROJECT, env=os.environ | {"PREFECT_HOME": str(tmp_path / "prefect")}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode in (0, 9), done.stderr[-3000:]
    return done


@pytest.mark.timeout(900)
def test_a_rollback_that_was_killed_and_is_repeated_goes_one_step(
    copied_world: World, lenient: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = registry.find(CHAMPION), another_version(), another_version()
    promote_model(second.number)
    promote_model(third.number)
    for step in (2, 6, 7):  # after its intent is on record, after the alias has moved, and after all is on record
        killed_at(step, 0, tmp_path)
        assert bool(ledger.unfinished(ledger.read())) == (step < 7)
        with monkeypatch.context() as patch:
            patch.setattr(promoting, "was_completed", lambda run: False)  # the killed run had a Prefect of its own
            assert rollback_model("again")["version"] == second.number
        assert registry.find(CHAMPION).number == second.number
        assert "rolled_back" not in registry.find(str(second.number)).tags
        registry.client().delete_model_version_tag(get_settings().model_name, str(third.number), "rolled_back")
        promote_model(third.number)
    assert rollback_model(leave=third.number)["version"] == second.number
    assert rollback_model(leave=third.number)["version"] == second.number  # it is left already
    assert registry.find(CHAMPION).number == second.number
    with pytest.raises(LookupError, match=f"v{first.number} is not champion"):
        rollback_model(leave=first.number)


def test_who_lost_the_lease_moves_nothing_more(
    copied_world: World, lenient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    champion, second = registry.find(CHAMPION), another_version()
    activate = moving.activate

    def slow(shipment: ledger.Shipment) -> None:
        activate(shipment)
        store, name = open_store(get_settings().store_uri), get_settings().model_name
        store.write(f"locks/{name}/{10**6:012}.json", b"{}")  # somebody took it meanwhile

    monkeypatch.setattr(moving, "activate", slow)
    with pytest.raises(Lost, match="no longer holds"):
        promote_model(second.number)
    assert registry.find(CHAMPION).number == champion.number
    monkeypatch.setattr(moving, "activate", activate)
    assert promote_model(second.number)["promoted"]  # it goes on from there
    assert registry.find(CHAMPION).number == second.number


def test_a_move_to_a_version_that_is_gone_is_given_up_and_blocks_nothing(copied_world: World, lenient: None) -> None:
    gone, next_one = another_version(), another_version()
    ledger.add("moving", to=gone.number, previous=1, reason="a test", sha256=gone.tags["sha256"], ends_as="promoted")
    registry.client().delete_model_version(get_settings().model_name, str(gone.number))
    with pytest.raises(LookupError):
        promote_model(next_one.number)
    assert ledger.read()[-1].event == "failed"
    assert promote_model(next_one.number)["promoted"]


@pytest.mark.timeout(900)
def test_killed_before_any_step_and_run_again_it_completes(copied_world: World, lenient: None, tmp_path: Path) -> None:
    versions, champion, killed = (another_version(), another_version()), registry.find(CHAMPION), []
    for step in range(1, 20):
        version = versions[step % 2]
        done = killed_at(step, version.number, tmp_path)
        if done.returncode == 0:
            break
        killed += [line for line in done.stdout.splitlines() if line.startswith("killed before")]
        found = registry.find(CHAMPION).number
        assert found in (champion.number, version.number)
        if found == version.number:  # moved: only after all that was prepared, and with its intent on record
            assert ledger.unfinished(ledger.read()) or ledger.read()[-1].event == "promoted"
        promote_model(version.number)
        records = ledger.read()
        assert registry.find(CHAMPION).number == version.number
        assert ledger.unfinished(records) is None
        assert ledger.champions(records)[-1] == version.number
        assert ledger.shipments(records, version.number)["bento"].where == f"premiere:{version.label}"
        champion = version
    names = [line.split()[-1] for line in killed]
    assert names[0] == "tag_version"
    assert {"add", "set_alias", "show"} <= set(names)
    assert len(killed) >= 7


def test_a_registry_that_is_away_gives_no_move_up(
    copied_world: World, lenient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = another_version()
    ledger.add("moving", to=second.number, previous=1, reason="a test", sha256="", ends_as="promoted")

    def away(_: str) -> None:
        raise ConnectionError("the registry does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(registry, "find", away)
        with pytest.raises(ConnectionError):
            promote_model(second.number)
    assert ledger.unfinished(ledger.read())
    assert promote_model(second.number)["reason"].startswith("promoted: ")
    assert registry.find(CHAMPION).number == second.number
