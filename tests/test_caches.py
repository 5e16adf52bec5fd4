"""Every cache of the project, and what its key is made of: change one input, and the cache must miss.

A cache whose key lacks an input answers yesterday's question. Whoever adds a cache adds it here.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
import shutil
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bentoml
import pandas as pd
import pytest
from conftest import World
from prefect import flow

from models.body import record
from models.sentiment import Sentiments, read_sentiment
from serving.upcoming import _engine
from settings import PROJECT, get_settings
from tasks.data import catalogue, imdb
from tasks.data.catalogue import fingerprint, fold
from tasks.data.collecting import fresh_partitions, is_settled
from tasks.data.partitions import Partition, movie_table, write_partition
from tasks.data.windows import Window
from tasks.foundation.clock import now
from tasks.foundation.store import FolderStore, open_store
from tasks.learning import identity
from tasks.learning.identity import code_hash, identify, study_facts, study_name
from tasks.registry import versions as registry
from tasks.registry.versions import CHALLENGER, Version, find, find_trained
from tasks.release.ledger import Entry, shipments
from tasks.release.targets import bento, images
from tasks.release.targets.shipment import Shipment

# What is kept: what its key is made of, and the test that changes each input.
CACHES: dict[str, tuple[str, str]] = {
    "Optuna's study": ("MODEL_NAME, movies, code, seed", "test_a_study_is_of_one_model_name_data_code_and_seed"),
    "code of a model": (
        "each file that makes a model, and its name",
        "test_any_file_that_makes_a_model_is_in_its_code",
    ),
    "data of a model": ("every fact learned from", "test_any_fact_that_is_learned_from_is_in_the_fingerprint"),
    "trained version": (
        "MODEL_NAME, source, movies, code, seed, answered trials, its files",
        "test_a_trained_version_answers_its_own_question_only",
    ),
    "files of a trained version": ("their presence", "test_a_version_whose_files_are_gone_answers_no_question"),
    "registration": (
        "the training's id",
        "test_a_registration_that_failed_and_is_tried_again_makes_one_version_and_one_run",
    ),
    "sentiments": ("a digest of the text", "test_another_text_is_read_anew"),
    "windows of TMDB": (
        "release dates, floor of votes, genres, age, wholeness, presence",
        "test_a_window_is_fresh_for_its_own_name_and_days_and_while_it_is_whole_and_there",
    ),
    "feature table": (
        "source, movies, split, code, store, its files",
        "test_a_table_is_of_its_movies_their_split_the_code_and_the_store",
    ),
    "versions of past days": (
        "source, movies, recipe, seed, code, the day, the file's content",
        "test_what_is_kept_is_of_its_movies_recipe_seed_and_code",
    ),
    "IMDb's partition": ("the logical date", "test_imdb_of_another_day_is_read_anew"),
    "model in BentoML's store": ("version, SHA-256", "test_a_model_of_another_version_or_content_is_imported_anew"),
    "bento": (
        "version, its model's SHA-256, the code",
        "test_a_bento_of_another_model_is_built_anew",
    ),
    "snapshot of the catalogue": (
        "each manifest's stamp, the code that folds",
        "test_a_snapshot_is_of_its_partitions_and_of_the_code_that_made_it",
    ),
    "tasks.data.catalogue._code": ("the process", "test_a_snapshot_is_of_its_partitions_and_of_the_code_that_made_it"),
    "bento in S3": (
        "version, its model's SHA-256, the code",
        "test_a_bento_lies_in_s3_with_its_manifest_and_damage_is_seen",
    ),
    "image, here and in a registry": (
        "repository, version, its model's SHA-256, the code",
        "test_an_image_is_of_one_repository_version_and_content",
    ),
    "shipments": ("version, target", "test_a_shipment_is_of_one_version_and_target"),
    "champion that a service follows": (
        "its version",
        "test_a_new_champion_is_taken_over_without_a_failed_or_mixed_answer",
    ),
    "tasks.registry.mlflow_database.make_ready": (
        "MLflow's address",
        "test_each_database_is_made_and_one_that_failed_is_met_again",
    ),
    "settings.get_settings": ("the process, or cache_clear", "test_settings_are_read_once_and_anew_when_cleared"),
    "serving.champion.arguments": ("the process: a bento has one model", "test_a_bento_of_another_model_is_built_anew"),
    "serving.champion.champion": ("the process: a bento has one model", "test_a_bento_of_another_model_is_built_anew"),
    "serving.recording.recorder": ("the process", "test_settings_are_read_once_and_anew_when_cleared"),
    "serving.upcoming._engine": ("the warehouse's address", "test_another_warehouse_has_another_engine"),
}


def test_each_cache_is_in_the_table_with_a_test_that_is_there() -> None:
    written = "\n".join(path.read_text() for path in (PROJECT / "tests").glob("test_*.py"))
    missing = {test for _, test in CACHES.values() if f"def {test}(" not in written}
    assert not missing
    sources = [
        path
        for pattern in ("*.py", "flows/*.py", "models/*.py", "serving/*.py", "tasks/**/*.py")
        for path in PROJECT.glob(pattern)
    ]
    remembered = {
        f"{'.'.join(path.relative_to(PROJECT).with_suffix('').parts)}.{name}"
        for path in sources
        for name in re.findall(r"@(?:functools\.)?(?:lru_)?cache\b.*\n(?:@.*\n)*(?:async )?def (\w+)", path.read_text())
    }
    assert remembered == {name for name in CACHES if "." in name}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the code that makes a model, to change."""
    for name in ("models", "tasks"):
        shutil.copytree(PROJECT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "requirements.txt", tmp_path)
    monkeypatch.setattr(identity, "PROJECT", tmp_path)
    return tmp_path


def test_any_file_that_makes_a_model_is_in_its_code(checkout: Path) -> None:
    seen = {code_hash()}
    made_of = ["models/evaluation.py", "models/folds.py", "models/linear.py", "models/questions.py"]
    made_of += [
        "tasks/learning/tuning.py",
        "tasks/learning/studies.py",
        "tasks/learning/fitting.py",
        "requirements.txt",
    ]
    for n, name in enumerate(made_of, 2):
        with (checkout / name).open("a") as file:
            file.write("# changed\n")
        seen.add(code_hash())
        assert len(seen) == n, name
    (checkout / "models/questions.py").rename(checkout / "models/answers.py")
    assert code_hash() not in seen


def test_any_fact_that_is_learned_from_is_in_the_fingerprint(rated: pd.DataFrame) -> None:
    movies = rated.head(20)
    for name in movies.columns:
        changed = movies.copy()
        changed[name] = [*movies[name][1:], movies[name][0]]
        if changed[name].tolist() == movies[name].tolist():
            continue  # nothing differs in these movies
        ignored = name in ("fetched_at", "popularity")  # never learned from
        assert (fingerprint(changed) == fingerprint(movies)) == ignored, name


def test_a_study_is_of_one_model_name_data_code_and_seed(
    checkout: Path, environment: Path, rated: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    def named(movies: pd.DataFrame, seed: int = 0, source: str = "sample") -> str:
        return study_name(study_facts(movies, source, seed))

    names = {named(rated), named(rated, 1), named(rated.head(900)), named(rated, source="tmdb")}
    assert named(rated) in names
    with (checkout / "tasks/learning/tuning.py").open("a") as file:
        file.write("# changed\n")
    names.add(named(rated))
    monkeypatch.setenv("MODEL_NAME", "another")
    get_settings.cache_clear()
    names.add(named(rated))
    assert len(names) == 6
    assert all(name.startswith(("movie-rating-", "another-")) for name in names)


def test_a_trained_version_answers_its_own_question_only(
    world: World, rated: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = find(CHALLENGER)
    question = {name: version.tags[name] for name in identify(rated, "sample", 4, 0)}
    assert find_trained(question) == version
    for name in question:
        assert find_trained(question | {name: "another"}) is None, name
    assert set(question) == {"source", "seed", "data", "code", "tuned_trials"}
    monkeypatch.setenv("MODEL_NAME", "another")
    get_settings.cache_clear()
    assert find_trained(question) is None


def test_another_text_is_read_anew() -> None:
    sentiments = Sentiments()
    assert sentiments("A wonderful story") == read_sentiment("A wonderful story")
    assert sentiments("A horrible story") == read_sentiment("A horrible story")
    assert len(sentiments.known) == 2


def test_a_window_is_fresh_for_its_own_name_and_days_and_while_it_is_whole_and_there(
    environment: Path, bodies: list[dict[str, Any]]
) -> None:
    store, day = open_store(get_settings().store_uri), date(2026, 6, 15)
    piece = Window(date(2026, 1, 1), date(2026, 1, 31), 20)  # fresh for a week
    data = movie_table([record(body, now()) for body in bodies[:2]])
    source: dict[str, Any] = {"source": "tmdb", "logical_date": day, "requests": 1}
    part = write_partition(store, data, slice=piece.name, start=piece.start, end=piece.end, expected=2, **source)

    def is_fresh(piece: Window, part: Partition, day: date) -> bool:
        found = fresh_partitions(store, [part], day).get(piece.name)
        return found is not None and is_settled(found)

    assert is_fresh(piece, part, day + timedelta(days=6))
    assert not is_fresh(piece, part, day + timedelta(days=7))
    assert not is_fresh(piece, part, day - timedelta(days=1))
    others: list[dict[str, Any]] = [{"start": date(2026, 1, 2)}, {"end": date(2026, 1, 30)}, {"min_votes": 0}]
    others += [{"genres": (18,)}, {"without": (18,)}]
    for other in others:
        assert not is_fresh(dataclasses.replace(piece, **other), part, day), other
    assert not is_fresh(piece, dataclasses.replace(part, expected=3), day)
    store.delete(part.data_key)
    assert not is_fresh(piece, part, day)


def test_imdb_of_another_day_is_read_anew(
    environment: Path, prefect_api: None, bodies: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, reads = movie_table([record(body, now()) for body in bodies[:2]]), []
    monkeypatch.setattr(imdb, "read_movies", lambda *_: (reads.append(1), (data, {}))[1])
    monkeypatch.setenv("IMDB_BASE_URL", str(environment))
    get_settings.cache_clear()

    @flow
    def read(day: date) -> Any:
        return imdb.read_imdb(day)

    for day in (date(2026, 6, 1), date(2026, 6, 1), date(2026, 6, 2)):
        read(day)
    assert len(reads) == 2


VERSION = Version(7, "run", dict.fromkeys(("family", "source", "trained_at", "synthetic"), "") | {"sha256": "a" * 64})
OTHER_CONTENT = dataclasses.replace(VERSION, tags=VERSION.tags | {"sha256": "b" * 64})
OTHER_VERSION = dataclasses.replace(VERSION, number=8)


def test_a_model_of_another_version_or_content_is_imported_anew(
    environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored: dict[str, str] = {}
    for name in ("bentoml.models", "bentoml.mlflow"):  # until then, stand-ins that the modules take the place of
        importlib.import_module(name)

    def get(tag: str) -> Any:
        if tag not in stored:
            raise bentoml.exceptions.NotFound(tag)
        return SimpleNamespace(info=SimpleNamespace(metadata={"sha256": stored[tag]}))

    monkeypatch.setattr(registry, "run_metrics", lambda _: {})
    monkeypatch.setattr(bentoml.models, "get", get)
    monkeypatch.setattr(bentoml.models, "delete", stored.pop)
    monkeypatch.setattr(
        bentoml.mlflow, "import_model", lambda tag, _, metadata: stored.update({tag: metadata["sha256"]})
    )
    asked = (VERSION, VERSION, OTHER_CONTENT, OTHER_CONTENT, OTHER_VERSION)
    assert [bento.import_model(version) for version in asked] == [True, False, True, False, True]


def test_a_bento_of_another_model_is_built_anew(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there, done = {"premiere:v7"}, []

    def run(command: str, *arguments: str, **_: Any) -> Any:
        done.append(command)
        if command == "delete":
            there.discard(arguments[0])
        return SimpleNamespace(returncode=int(command == "get" and arguments[0] not in there), stdout='{"labels": {}}')

    monkeypatch.setattr(bento, "_bentoml", run)
    monkeypatch.setattr(bento, "import_model", lambda _: True)
    monkeypatch.setattr(bento, "require_todays_code", lambda _: None)
    bento.store_bento(VERSION)
    assert "delete" in done
    assert done[-1] == "build"


def test_an_image_is_of_one_repository_version_and_content(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = {images.reference(version) for version in (VERSION, OTHER_CONTENT, OTHER_VERSION)}
    monkeypatch.setenv("IMAGE_REPOSITORY", "registry.example/premiere")
    get_settings.cache_clear()
    addresses.add(images.reference(VERSION))
    monkeypatch.setattr(bento, "code_digest", lambda _: "c" * 64)
    addresses.add(images.reference(VERSION))
    assert len(addresses) == 5


def test_a_snapshot_is_of_its_partitions_and_of_the_code_that_made_it(
    tmp_path: Path, bodies: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FolderStore(tmp_path)
    facts: dict[str, Any] = {"source": "tmdb", "logical_date": date(2026, 1, 1), "slice": "a", "requests": 1}
    facts |= {"start": date(2005, 1, 1), "end": date(2005, 12, 31), "expected": 1}

    def folded(made_by: str) -> bytes:
        monkeypatch.setattr(catalogue, "_code", lambda: made_by)
        fold(store, "tmdb")
        return store.read("tmdb/snapshot.json")

    write_partition(store, movie_table([record(bodies[0], now())]), **facts)
    snapshots = [folded("one"), folded("one"), folded("two")]
    write_partition(store, movie_table([record(bodies[1], now())]), **facts)
    snapshots.append(folded("two"))
    assert snapshots[0] == snapshots[1]
    assert len(set(snapshots)) == 3


def test_a_shipment_is_of_one_version_and_target() -> None:
    shipment = Shipment(target="bento", where="premiere:v7", digest="a")
    shipped = Entry(event="shipped", at=now(), by="a test", model="movie-rating", to=7, shipments=[shipment])
    assert shipments([shipped], 7) == {"bento": shipment}
    assert shipments([shipped], 8) == {}


def test_settings_are_read_once_and_anew_when_cleared(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = get_settings()
    monkeypatch.setenv("MODEL_NAME", "another")
    assert get_settings() is before
    get_settings.cache_clear()
    assert get_settings().model_name == "another"


def test_another_warehouse_has_another_engine(tmp_path: Path) -> None:
    one, same, other = (_engine(f"sqlite:///{tmp_path}/{name}.db") for name in ("a", "a", "b"))
    assert one is same
    assert other is not one
