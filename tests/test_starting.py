"""How starts are waited for."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from settings import PROJECT, get_settings
from tasks.foundation import starting
from tasks.foundation.starting import wait_for
from tasks.release.targets.images import HEALTHCHECK


def within(monkeypatch: pytest.MonkeyPatch, seconds: str) -> None:
    monkeypatch.setenv("START_SECONDS", seconds)
    get_settings.cache_clear()


def test_what_takes_long_is_waited_for_and_named_with_its_last_words(
    environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "LOOK", 0.01)
    monkeypatch.setattr(starting, "SPEAK", 0.05)
    looks, said = iter([False] * 30 + [True]), list[str]()
    wait_for("the service", lambda: next(looks), lambda: "one\nmigrating step 7\n", said.append)
    assert said
    assert all(words.startswith("Still waiting for the service, 0 s of 300 so far") for words in said)
    assert all(words.endswith("migrating step 7") for words in said)


def test_what_is_quick_is_waited_for_in_silence(environment: Path) -> None:
    wait_for("the service", lambda: True, say=lambda words: pytest.fail(words))


def test_what_takes_longer_than_the_setting_allows_is_told_with_the_setting(
    environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    within(monkeypatch, "0.2")
    with pytest.raises(RuntimeError, match=r"the service did not start within 0\.2 s.*START_SECONDS") as error:
        wait_for("the service", lambda: False, lambda: "loading the model")
    assert str(error.value).endswith("its last words:\nloading the model")


def test_what_ended_is_not_waited_for(environment: Path) -> None:
    def ready() -> bool:
        raise RuntimeError("it ended")

    with pytest.raises(RuntimeError, match="it ended"):
        wait_for("the service", ready)


def test_compose_gives_its_servers_as_long_to_start() -> None:
    services = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())["services"]
    assert {"prefect", "mlflow", "worker", "service"} <= services.keys()
    assert {service["healthcheck"]["start_period"] for service in services.values()} == {"300s"}
    assert "--start-period=300s" in HEALTHCHECK
    assert "python -m tasks.registry.mlflow_database" in services["mlflow"]["command"]
