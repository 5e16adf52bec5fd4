"""What was cut short, tried again or lost: studies, versions, the champion's files, the registry itself."""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
from conftest import RECORDED, TODAY, load_fit, set_environment, wait_for_port, without_project

from flows.train import train_model
from models.body import record
from models.movie import INPUTS, Movie
from models.scorer import Scorer
from settings import PROJECT, get_settings
from tasks.data.partitions import movie_table, write_partition
from tasks.foundation.clock import now
from tasks.foundation.store import open_store
from tasks.foundation.tether import tethered
from tasks.learning import report
from tasks.learning.report import shortened
from tasks.registry import publishing
from tasks.registry import versions as registry
from tasks.registry.scoring import score
from tasks.registry.versions import CHALLENGER, CHAMPION, RegistryAway, find, find_trained
from tasks.release import ledger
from tasks.release.champion import what_champion_lacks
from tasks.release.targets.bento import free_port


def collect_few(bodies: list[dict[str, Any]]) -> None:
    """Put a fifth of the sample into the store: enough to learn from, and quick."""
    few = bodies[::5]
    facts: dict[str, Any] = {"source": "sample", "logical_date": TODAY, "slice": "all", "requests": 1}
    facts |= {"start": date(2005, 1, 1), "end": date(2027, 12, 31), "expected": len(few)}
    write_partition(open_store(get_settings().store_uri), movie_table([record(b, now()) for b in few]), **facts)


def train(trials: int, minutes: float = 60) -> dict[str, Any]:
    return dict(train_model(trials=trials, as_of=TODAY, source="sample", minutes=minutes))


def versions() -> int:
    return len(registry.client().search_model_versions(f"name = '{get_settings().model_name}'"))


def runs() -> int:
    client = registry.client()
    return len(client.search_runs([client.get_experiment_by_name(registry.EXPERIMENT).experiment_id]))


@pytest.fixture
def few(environment: Path, prefect_api: None, bodies: list[dict[str, Any]]) -> Path:
    """A store with a few movies, and nothing else."""
    collect_few(bodies)
    return environment


@pytest.fixture(scope="module")
def _trained(
    prefect_api: None, bodies: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("few")
    with pytest.MonkeyPatch.context() as patch:
        set_environment(patch, folder)
        collect_few(bodies)
        trained = train(2)
        registry.set_alias(CHAMPION, find(CHALLENGER))
        ledger.add("promoted", to=find(CHAMPION).number)
    get_settings.cache_clear()
    return folder, trained


@pytest.fixture
def trained(_trained: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A registry whose first version is champion; tests leave that as it was."""
    set_environment(monkeypatch, _trained[0])
    yield _trained[1]
    get_settings.cache_clear()


@contextmanager
def lost(path: Path) -> Iterator[None]:
    """Do without a file or a folder for a while."""
    away = path.with_name("away")
    path.rename(away)
    try:
        yield
    finally:
        away.rename(path)


def files_of(version: registry.Version, fit: str) -> Path:
    """Return the folder of a fit in this local registry."""
    registry.client()
    import mlflow

    uri = registry.model_uri(version) if fit == "model" else version.tags["judged_uri"]
    return Path(mlflow.artifacts.download_artifacts(uri))


def test_a_search_that_was_cut_short_is_no_answer_and_goes_on(few: Path) -> None:
    short = train(6, minutes=0)
    assert find("1").tags["tuned_trials"] == "2"
    assert find("1").tags["trials"] == "6"
    made = runs()
    assert train(6, minutes=0) == short  # no trial more: nothing is fitted or registered again
    assert (versions(), runs()) == (1, made)
    whole = train(6)
    assert whole["version"] == 2
    assert find("2").tags["tuned_trials"] == "6"
    assert train(7)["version"] == 3
    assert train(6) == whole  # asked for less than the study holds by now
    assert train(2) == short  # and the two trials of the first are the answer to two
    assert versions() == 3
    assert find(CHALLENGER).number == 1


@pytest.mark.parametrize("step", ["set_alias", "content_hash"])  # after the version was made, and before
def test_a_registration_that_failed_and_is_tried_again_makes_one_version_and_one_run(
    few: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    once, original = iter([True]), getattr(publishing, step)

    def fail_once(*arguments: Any) -> Any:
        if next(once, False):
            raise ConnectionError("the registry went away")
        return original(*arguments)

    monkeypatch.setattr(publishing, step, fail_once)
    trained = train(2)
    assert next(once, "failed") == "failed"
    assert (versions(), runs()) == (1, 1 + 2)
    assert find(CHALLENGER).number == trained["version"] == 1


def test_a_version_whose_files_are_gone_answers_no_question(trained: dict[str, Any]) -> None:
    version = find(CHAMPION)
    question = {name: version.tags[name] for name in ("source", "seed", "data", "code", "tuned_trials")}
    assert find_trained(question) == version
    code = files_of(version, "judged").parents[2] / version.run_id / "artifacts" / "code"
    for place in (files_of(version, "model") / "model.skops", files_of(version, "judged"), code):
        with lost(place):
            assert find_trained(question) is None
    assert find_trained(question) == version


def test_a_whole_champion_is_met_by_silence(trained: dict[str, Any]) -> None:
    assert what_champion_lacks() == ""


def test_a_lost_alias_is_named_with_what_to_do(trained: dict[str, Any]) -> None:
    champion = find(CHAMPION)
    registry.client().delete_registered_model_alias(get_settings().model_name, CHAMPION)
    try:
        said = what_champion_lacks()
    finally:
        registry.set_alias(CHAMPION, champion)
    assert said.startswith("v1 is champion")
    assert "no alias champion, though it has the version" in said
    assert "python -m flows.promote --restore" in said


def test_files_of_the_champion_that_are_lost_or_damaged_are_named(trained: dict[str, Any]) -> None:
    champion = find(CHAMPION)
    for fit in ("judged", "model"):
        file = files_of(champion, fit) / "model.skops"
        with lost(file):
            said = what_champion_lacks()
            assert said.startswith("v1 is champion")
            assert f"`{fit}`" in said
            assert "from a backup" in said
            file.write_bytes(b"something else")
            assert "registered was" in what_champion_lacks()
            file.unlink()


def test_a_training_beside_a_champion_without_files_says_so_first_and_ends_well(
    trained: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with lost(files_of(find(CHAMPION), "judged")):
        later = train(3)
    assert later["version"] > trained["version"]
    assert "last_champion_rmse" not in registry.run_metrics(find(str(later["version"])))
    warned = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert ["training goes on without it" in line for line in warned] == [True, False]
    assert "v1 is not compared with" in warned[1]


def test_a_registry_that_does_not_answer_is_met_before_the_search(few: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://somebody:secret@127.0.0.1:{free_port()}")
    get_settings.cache_clear()
    with pytest.raises(RegistryAway, match="MLFLOW_TRACKING_URI") as error:
        train(2)
    assert "secret" not in str(error.value)
    assert "127.0.0.1" in str(error.value)
    assert not (few / "optuna.db").exists()


def test_a_registry_that_cannot_be_written_to_is_met_before_the_search(few: Path) -> None:
    registry.check_registry()
    (few / "mlartifacts" / "written.txt").unlink()
    (few / "mlartifacts").rmdir()
    (few / "mlartifacts").write_text("a file where the folder was")
    with pytest.raises(RegistryAway, match="mlartifacts"):
        train(2)
    (few / "mlartifacts").unlink()
    registry.check_registry()
    with sqlite3.connect(few / "mlflow.db") as database:
        database.execute(
            "CREATE TRIGGER full BEFORE UPDATE ON experiment_tags BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
        )
    with pytest.raises(RegistryAway, match="the disk is full"):
        train(2)
    assert not (few / "optuna.db").exists()


def test_the_registry_holds_no_title_and_no_text_of_a_movie(
    trained: dict[str, Any], bodies: list[dict[str, Any]]
) -> None:
    client, version = registry.client(), find(CHAMPION)
    experiment = client.get_experiment_by_name(registry.EXPERIMENT)
    folder = Path(experiment.artifact_location.removeprefix("file://"))
    texts = [text.encode() for body in bodies for text in (body["title"], body["overview"], body["tagline"]) if text]
    kept = [path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".skops", ".py")]
    assert {"input_example.json", "model_card.md", "trials.json", "segments.json"} <= {path.name for path in kept}
    for path in [*kept, folder.parent / "mlflow.db"]:
        content = path.read_bytes()
        assert not [text for text in texts if text in content], path
    assert b"An Invented Movie" in (files_of(version, "model") / "input_example.json").read_bytes()


def test_the_example_fits_the_signature_of_any_model(trained: dict[str, Any]) -> None:
    import mlflow

    version = find(CHAMPION)
    for uri in (registry.model_uri(version), version.tags["judged_uri"]):
        model = mlflow.models.Model.load(mlflow.artifacts.download_artifacts(uri))
        example = model.load_input_example()
        assert list(example.columns) == model.signature.inputs.input_names()
        assert len(mlflow.models.utils._enforce_schema(example, model.signature.inputs)) == 1


def readme_movie() -> dict[str, Any]:
    """The movie that README asks the service about."""
    asked = re.search(r"/predict .*?-d '(\{.*?\})'", (PROJECT / "README.md").read_text(), re.DOTALL)
    assert asked
    return dict(json.loads(asked[1])["movie"])


def elsewhere(folder: Path) -> dict[str, Any]:
    """How a process starts that has the environment activated, but no checkout."""
    scripts = Path(sys.executable).parent
    env = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    env |= without_project(folder / "hidden")
    return {"cwd": folder, "env": env | {"PATH": f"{scripts}{os.pathsep}{env['PATH']}"}}


def load_and_predict(code: str, folder: Path) -> Any:
    """Run an expression over the loaded champion, `model`, where there is no checkout; it must give what JSON knows."""
    uri = f"models:/{get_settings().model_name}@{CHAMPION}"
    program = f"import json, mlflow, pandas as pd; model = mlflow.pyfunc.load_model({uri!r}); print(json.dumps({code}))"
    done = subprocess.run([sys.executable, "-c", program], **elsewhere(folder), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def rows(rated: pd.DataFrame) -> list[list[float]]:
    return rated[["rating", "low", "high"]].to_numpy().tolist()


def expected(*movies: dict[str, Any], confidence: float = 0.9) -> Any:
    """What the registered model says of movies, row by row; equal to 1e-9."""
    columns = load_fit(find(CHAMPION), "model").predict_interval(
        [Movie(**movie).told() for movie in movies], confidence
    )
    return [pytest.approx(row, abs=1e-9) for row in zip(*(column.tolist() for column in columns), strict=True)]


@pytest.mark.recorded
def test_a_title_alone_is_rated_where_there_is_no_checkout(trained: dict[str, Any], tmp_path: Path) -> None:
    said = json.loads((RECORDED / "cases" / "service-12-mlflow-title-only.json").read_text())["python"]
    program = f"import mlflow, pandas as pd; print({said}.to_json(orient='records'))"
    done = subprocess.run([sys.executable, "-c", program], **elsewhere(tmp_path), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (rated,) = json.loads(done.stdout)
    assert [[rated[name] for name in ("rating", "low", "high")]] == expected({"title": "A"})


def test_a_table_is_rated_as_the_service_would_wherever_it_has_gaps(trained: dict[str, Any], tmp_path: Path) -> None:
    code = (
        f"[model.predict(pd.DataFrame(movies), params=params).values.tolist() for movies, params in "
        f"(([{readme_movie()!r}, dict(title='A'), dict(title='B', cast=['x', dict(name='y', id=7)])], None), "
        f"([dict(title='A', runtime=0, overview='', tagline=float('nan'), genres=None, release_date=None)], "
        f"dict(confidence=0.5)), ([dict(title='A')], dict(level=0.5)))]"
    )
    first, second, older = load_and_predict(code, tmp_path)
    named = {"title": "B", "cast": ["x", {"name": "y", "id": 7}]}
    assert first == expected(readme_movie(), {"title": "A"}, named)
    assert second == older == expected({"title": "A"}, confidence=0.5)


def test_what_a_loaded_model_needs_is_nothing_of_the_platforms(trained: dict[str, Any], tmp_path: Path) -> None:
    loaded = load_and_predict("[sorted(__import__('sys').modules), __import__('models').__file__]", tmp_path)
    assert not {"prefect", "settings", "tasks", "bentoml"} & set(loaded[0])
    assert Path(loaded[1]).is_relative_to(files_of(find(CHAMPION), "model"))
    files = {path.name for path in files_of(find(CHAMPION), "model").rglob("*") if path.is_file()}
    assert not {name for name in files if name.endswith((".pkl", ".pickle", ".cloudpickle"))}


def test_mlflows_own_server_answers_readmes_movie(trained: dict[str, Any], tmp_path: Path) -> None:
    said = re.search(r"^mlflow models serve .*$", (PROJECT / "README.md").read_text(), re.MULTILINE)
    assert said
    port = free_port()
    command = [*shlex.split(said[0]), "--port", str(port)]
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(
            tethered(*command), **elsewhere(tmp_path), stdin=subprocess.PIPE, stdout=log, stderr=log
        ) as server,
    ):
        try:
            wait_for_port(port)
            url = f"http://127.0.0.1:{port}/invocations"
            answer = httpx.post(url, json={"dataframe_records": [readme_movie()]}, timeout=60)
            wrong = httpx.post(url, json={"dataframe_records": [{"title": "A"}, {"title": "B", "runtime": -5}]})
        finally:
            server.terminate()
    assert answer.status_code == 200, answer.text
    (rated,) = answer.json()["predictions"]
    assert [[rated[name] for name in ("rating", "low", "high")]] == expected(readme_movie())
    assert wrong.status_code == 400
    assert "row 1, runtime: " in wrong.text


def test_the_signature_asks_for_a_title_and_names_every_field(trained: dict[str, Any]) -> None:
    import mlflow

    inputs = mlflow.models.Model.load(str(files_of(find(CHAMPION), "model"))).signature.inputs
    assert inputs.input_names() == list(INPUTS)
    assert inputs.required_input_names() == ["title"]


def test_what_is_wrong_in_a_table_is_named_by_row_field_and_rule(trained: dict[str, Any]) -> None:
    scorer = Scorer(load_fit(find(CHAMPION), "model"))
    table = [{"title": "A"}, {"title": "B", "runtime": -1.0, "release_date": "2020"}, {"title": 5, "cast": [{"id": 1}]}]
    with pytest.raises(ValueError) as error:
        scorer.predict(pd.DataFrame(table))
    for words in ("row 1, runtime: ", "row 1, release_date: must be a date", "row 2, title: ", "row 2, cast.0.name: "):
        assert words in str(error.value)
    assert "row 0" not in str(error.value)
    with pytest.raises(ValueError, match="row 0, title: Field required"):
        scorer.predict(pd.DataFrame({"title": [""]}))
    with pytest.raises(ValueError, match=r"confidence must lie between 0\.5 and 0\.99"):
        scorer.predict(pd.DataFrame({"title": ["A"]}), {"confidence": 90})
    with pytest.raises(ValueError, match="and 10 more"):
        scorer.predict(pd.DataFrame({"title": [1] * 30}))
    assert rows(scorer.predict(pd.DataFrame({"title": []}))) == []


def test_a_process_with_other_code_loads_no_model_that_it_would_rate_otherwise(
    trained: dict[str, Any], tmp_path: Path
) -> None:
    shutil.copytree(PROJECT / "models", tmp_path / "models", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "models" / "facts.py").open("a") as file:
        file.write("\n# newer\n")
    program = f"import models.facts, mlflow; mlflow.pyfunc.load_model('models:/{get_settings().model_name}@{CHAMPION}')"
    done = subprocess.run([sys.executable, "-c", program], **elsewhere(tmp_path), capture_output=True, text=True)
    assert done.returncode == 1
    assert "load each model in a process of its own" in done.stderr


def test_a_version_that_was_registered_without_code_beside_its_fits_is_still_compared(trained: dict[str, Any]) -> None:
    version = find(CHAMPION)
    for fit in ("model", "judged"):
        before = score(version, fit, [Movie(title="A")]).table().tolist()
        with lost(files_of(version, fit) / "code"):
            assert registry.has_files(version)
            assert score(version, fit, [Movie(title="A")]).table().tolist() == before


def test_the_model_card_is_what_mlflow_says_of_a_version(trained: dict[str, Any]) -> None:
    client, version = registry.client(), find(CHAMPION)
    import mlflow

    card = mlflow.artifacts.load_text(f"runs:/{version.run_id}/model_card.md")
    said = client.get_model_version(get_settings().model_name, str(version.number)).description
    assert said == shortened(card, report.DESCRIPTION, "the run's model_card.md")
    assert said.startswith("# Movie rating before the premiere")


def test_a_card_that_is_too_long_ends_after_a_whole_line_and_says_where_the_rest_is() -> None:
    card = "".join(f"| line {n} |\n" for n in range(1000))
    short = shortened(card, 200, "model_card.md")
    assert len(short) <= 200
    *lines, gap, end = short.split("\n")
    assert "\n".join(lines) + "\n" in card
    assert (gap, end) == ("", "… the rest stands in model_card.md")
    assert shortened(card, len(card), "model_card.md") == card
