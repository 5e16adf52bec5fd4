"""The warehouse's tables through its revisions, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from serving import migrating, recorder
from serving.migrating import migrate, revisions
from serving.recorder import Recorder
from serving.schema import ModelInfo, Prediction
from serving.tables import FEEDBACK, METADATA, MOVIES, PREDICTIONS, UPCOMING
from serving.upcoming import read_upcoming
from settings import PROJECT

# The tables as version 0.1.0 made them, before there were revisions.
BEFORE = {
    "movies": """
        CREATE TABLE movies (source VARCHAR(16) NOT NULL, id BIGINT NOT NULL, imdb_id VARCHAR(16), title TEXT NOT NULL,
            original_title TEXT, overview TEXT, tagline TEXT, genres {json}, release_date DATE,
            original_language VARCHAR(8), spoken_languages {json}, runtime FLOAT, budget FLOAT,
            production_companies {json}, production_countries {json}, belongs_to_collection {json}, "cast" {json},
            directors {json}, writers {json}, producers {json}, cinematographers {json}, composers {json},
            editors {json}, vote_average FLOAT, vote_count BIGINT, popularity FLOAT, revenue FLOAT, status VARCHAR(32),
            fetched_at {time} NOT NULL, PRIMARY KEY (source, id));
        CREATE INDEX ix_movies_imdb_id ON movies (imdb_id);
        CREATE INDEX ix_movies_release_date ON movies (release_date)""",
    "service": """
        CREATE TABLE predictions (id VARCHAR(32) NOT NULL, at {time} NOT NULL, route VARCHAR(32) NOT NULL,
            model VARCHAR(64) NOT NULL, version VARCHAR(32) NOT NULL, sha256 VARCHAR(64) NOT NULL,
            rating FLOAT NOT NULL, low FLOAT NOT NULL, high FLOAT NOT NULL, level FLOAT NOT NULL, movie TEXT NOT NULL,
            PRIMARY KEY (id));
        CREATE INDEX ix_predictions_at ON predictions (at);
        CREATE TABLE feedback (number {number} NOT NULL, prediction VARCHAR(32) NOT NULL, at {time} NOT NULL,
            rating FLOAT NOT NULL, PRIMARY KEY (number));
        CREATE INDEX ix_feedback_prediction ON feedback (prediction)""",
    "upcoming": """
        CREATE TABLE upcoming (source VARCHAR(16) NOT NULL, as_of DATE NOT NULL, id BIGINT NOT NULL,
            title TEXT NOT NULL, release_date DATE NOT NULL, genres {json} NOT NULL, original_language VARCHAR(8),
            poster_path TEXT, rating FLOAT NOT NULL, low FLOAT NOT NULL, high FLOAT NOT NULL, reasons {json} NOT NULL,
            model {json} NOT NULL, PRIMARY KEY (source, as_of, id));
        CREATE INDEX ix_upcoming_release_date ON upcoming (release_date)""",
}
TYPES = {
    "sqlite": {"json": "JSON", "time": "DATETIME", "number": "INTEGER"},
    "postgresql": {"json": "JSONB", "time": "TIMESTAMP WITH TIME ZONE", "number": "SERIAL"},
}
DAY, AT = date(2026, 6, 1), datetime(2026, 6, 1, 12, tzinfo=UTC)
MODEL = {"model": "movie-rating", "version": "v1", "sha256": "0" * 64}
RATED = {"rating": 6.0, "low": 5.0, "high": 7.0}
ROWS: list[tuple[sa.Table, dict[str, Any]]] = [
    (MOVIES, {"source": "sample", "id": 1, "title": "A", "cast": [{"id": 1}], "release_date": DAY, "fetched_at": AT}),
    (PREDICTIONS, {"id": "p", "at": AT, "route": "predict", "level": 0.9, "movie": "{}"} | MODEL | RATED),
    (FEEDBACK, {"number": 1, "prediction": "p", "at": AT, "rating": 5.0}),
    (UPCOMING, {"source": "sample", "as_of": DAY, "id": 1, "title": "A", "release_date": DAY, "genres": ["Drama"]}
     | {"reasons": [], "model": {"version": "v1"}} | RATED),
]  # fmt: skip
SECOND = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "0002", "0001"
def upgrade():
    with op.batch_alter_table("movies") as table:
        table.add_column(sa.Column("country", sa.String(2)))
        table.alter_column("title", type_=sa.String(500), nullable=True)
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/100% w.db"
    address = sa.make_url(request.getfixturevalue("postgres")).set(drivername="postgresql+psycopg")
    name = f"w{uuid.uuid4().hex}"
    with sa.create_engine(address, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    return address.set(database=name).render_as_string()


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    engine = sa.create_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What the service's log says; nothing was said before."""
    monkeypatch.setattr(migrating, "_told", set())
    return caplog


@pytest.fixture
def second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Code with a second revision, which changes a column and adds one; the file of it."""
    folder = tmp_path / "newer % code"
    shutil.copytree(migrating.MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    file = folder / "versions" / "0002_country.py"
    file.write_text(SECOND)
    monkeypatch.setattr(migrating, "MIGRATIONS", folder)
    return file


def make_before(engine: sa.Engine, *parts: str) -> None:
    """Make the tables of before, all of them or some."""
    with engine.begin() as connection:
        for part in parts or BEFORE:
            for statement in BEFORE[part].format(**TYPES[engine.dialect.name]).split(";"):
                connection.exec_driver_sql(statement)


def fill(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        for table, row in ROWS:
            connection.execute(table.insert(), row)


def contents(engine: sa.Engine) -> list[Any]:
    """Return the rows, without what a newer revision knows more of them."""
    with engine.connect() as connection:
        return [connection.execute(sa.select(*(table.c[name] for name in row))).all() for table, row in ROWS]


def shape(engine: sa.Engine) -> dict[str, Any]:
    """Return what a database says of its tables."""
    inspector = sa.inspect(engine)
    return {
        name: (
            [column | {"type": str(column["type"])} for column in inspector.get_columns(name)],
            inspector.get_pk_constraint(name),
            sorted(inspector.get_indexes(name), key=lambda index: str(index["name"])),
        )
        for name in METADATA.tables
    }


def is_ours(name: str | None, kind: str, _: Any) -> bool:
    return kind != "table" or name in METADATA.tables


def differences(engine: sa.Engine) -> list[Any]:
    with engine.connect() as connection:
        options = {
            "compare_type": True,
            "include_name": lambda name, kind, _: kind != "table" or name in METADATA.tables,
        }
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), METADATA))


def revision(engine: sa.Engine) -> Any:
    with engine.connect() as connection:
        return connection.execute(sa.select(migrating.REVISION.c.version_num)).scalar_one()


def test_a_database_of_before_is_taken_over_as_it_is_with_its_rows(engine: sa.Engine) -> None:
    make_before(engine)
    fill(engine)
    before = shape(engine), contents(engine)
    migrate(engine)
    assert (shape(engine), contents(engine)) == before
    assert revision(engine) == revisions()[-1]
    assert differences(engine) == []


@pytest.mark.parametrize("parts", [("movies",), ("service",), ("service", "upcoming"), ("movies", "upcoming")])
def test_what_the_flows_or_the_service_alone_have_made_is_completed(engine: sa.Engine, parts: tuple[str, ...]) -> None:
    make_before(engine, *parts)
    migrate(engine)
    assert differences(engine) == []
    fill(engine)
    assert [len(rows) for rows in contents(engine)] == [1, 1, 1, 1]


def test_an_empty_database_gets_the_tables_once_without_a_word(
    engine: sa.Engine, told: pytest.LogCaptureFixture
) -> None:
    migrate(engine)
    assert differences(engine) == []
    asked: list[str] = []
    sa.event.listen(engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    migrate(engine)
    assert len(asked) == 1, asked
    assert told.messages == []


def test_a_current_database_costs_the_service_no_alembic(engine: sa.Engine, url: str) -> None:
    migrate(engine)
    code = (
        "import sys, sqlalchemy; from serving.migrating import migrate; migrate(sqlalchemy.create_engine(sys.argv[1]))"
    )
    code += "; print(sorted({name.partition('.')[0] for name in sys.modules} & {'alembic', 'mako'}))"
    done = subprocess.run([sys.executable, "-c", code, url], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("before", [True, False])
def test_of_several_processes_at_once_one_changes_the_tables_and_all_go_on(
    engine: sa.Engine, url: str, before: bool, tmp_path: Path
) -> None:
    if before:
        make_before(engine)
        fill(engine)
    code = (
        "import pathlib, sys, time, sqlalchemy; from serving.migrating import migrate; import alembic.command\n"
        "print('ready', flush=True)\n"
        "while not pathlib.Path(sys.argv[2]).exists(): time.sleep(0.001)\n"
        "migrate(sqlalchemy.create_engine(sys.argv[1]))"
    )
    pipe, start = subprocess.PIPE, tmp_path / "start"
    command = [sys.executable, "-c", code, url, str(start)]
    all_of_them = [subprocess.Popen(command, cwd=PROJECT, stdout=pipe, stderr=pipe, text=True) for _ in range(4)]
    for process in all_of_them:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    start.touch()
    said = [process.communicate(timeout=120)[1] for process in all_of_them]
    assert [process.returncode for process in all_of_them] == [0] * 4, said
    # A new database is nothing that anybody has to be told of.
    assert sum("was brought from revision none" in text for text in said) == before, said
    assert differences(engine) == []
    assert [len(rows) for rows in contents(engine)] == [before] * 4


def test_threads_of_one_process_do_not_get_into_each_others_way(engine: sa.Engine) -> None:
    failed: list[BaseException] = []

    def go() -> None:
        try:
            migrate(engine)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=go) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert differences(engine) == []


@pytest.mark.parametrize("start", ["before", "first"])
def test_a_second_revision_keeps_the_rows(
    engine: sa.Engine, start: str, second: Path, told: pytest.LogCaptureFixture
) -> None:
    if start == "before":
        make_before(engine)
    else:
        aside = second.rename(second.with_suffix(".aside"))
        migrate(engine)
        aside.rename(second)
    fill(engine)
    rows = contents(engine)
    migrate(engine)
    assert contents(engine) == rows
    assert revision(engine) == "0002"
    assert "country" in [column["name"] for column in sa.inspect(engine).get_columns("movies")]
    assert f"from revision {'none' if start == 'before' else '0001'} to 0002" in told.messages[-1]


def test_a_revision_that_fails_changes_nothing(engine: sa.Engine, second: Path) -> None:
    make_before(engine)
    fill(engine)
    second.write_text(f"{SECOND}    raise RuntimeError('in the middle')\n")
    before = shape(engine), contents(engine)
    with pytest.raises(RuntimeError, match="in the middle"):
        migrate(engine)
    assert (shape(engine), contents(engine)) == before
    assert not sa.inspect(engine).has_table(migrating.REVISION.name)
    second.write_text(SECOND)
    migrate(engine)
    assert revision(engine) == "0002"


def answer(name: str) -> Prediction:
    info = ModelInfo.model_construct(name="movie-rating", version="v1", sha256="0" * 64)
    return Prediction.model_construct(id=name, rating=6.0, low=5.0, high=7.0, confidence=0.9, model=info)


def test_a_newer_database_is_used_as_it_is_and_told_of_once(
    engine: sa.Engine, url: str, second: Path, told: pytest.LogCaptureFixture
) -> None:
    migrate(engine)
    second.unlink()
    told.clear()
    kept = Recorder(url)
    for n in range(2):
        kept.predicted("predict", [{"title": "x"}], [answer(f"{n}")])
        kept.flush(20)
        assert kept.voted(f"{n}", 5.0)
    migrate(engine)
    assert revision(engine) == "0002"
    assert len(contents(engine)[1]) == len(contents(engine)[2]) == 2
    assert len(told.messages) == 1
    assert "its revision 0002 is newer than this code's" in told.messages[0]


def test_a_table_that_somebody_dropped_is_made_anew(engine: sa.Engine, told: pytest.LogCaptureFixture) -> None:
    migrate(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("drop table feedback")
    migrate(engine)
    assert differences(engine) == []
    assert "lacked tables that are made anew: feedback" in told.messages[-1]


def test_others_revisions_in_the_same_database_are_left_alone(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("create table alembic_version (version_num varchar(32) not null)")
        connection.exec_driver_sql("insert into alembic_version values ('of MLflow')")
    migrate(engine)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("select * from alembic_version").fetchall() == [("of MLflow",)]
    assert differences(engine) == []


def test_while_another_changes_the_tables_predictions_wait_and_are_kept(
    engine: sa.Engine, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.tables.SECONDS", 1)
    monkeypatch.setattr(migrating, "SECONDS", 1)
    monkeypatch.setattr(recorder, "PAUSES", (0.1,) * 100)
    with migrating.alone(engine):
        kept = Recorder(url)
        kept.predicted("predict", [{"title": "x"}], [answer("1")])
        with pytest.raises(sa.exc.OperationalError, match=r"locked|lock timeout"):
            kept.voted("1", 5.0)
        assert kept.thread.up
    kept.flush(30)
    assert kept.voted("1", 5.0)
    assert len(contents(engine)[1]) == len(contents(engine)[2]) == 1


def test_a_service_whose_user_may_not_change_tables_records_all_the_same(
    postgres: str, told: pytest.LogCaptureFixture
) -> None:
    owner = sa.make_url(postgres).set(drivername="postgresql+psycopg")
    name = f"w{uuid.uuid4().hex}"
    with sa.create_engine(owner, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
        connection.exec_driver_sql(f"CREATE ROLE {name} LOGIN")
    engine = sa.create_engine(owner.set(database=name))
    make_before(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"GRANT SELECT, INSERT, UPDATE ON predictions TO {name}")
    kept = Recorder(owner.set(database=name, username=name).render_as_string())
    for n in range(2):
        kept.predicted("predict", [{"title": "x"}], [answer(f"{n}")])
        kept.flush(20)
    assert len(contents(engine)[1]) == 2
    assert [message.partition(": ")[2] for message in told.messages if "as it is" in message] == [
        f"its user may not bring it to revision {revisions()[-1]}; let its owner do it"
    ]
    engine.dispose()


def test_a_database_that_is_away_is_an_error_of_the_database() -> None:
    with pytest.raises(sa.exc.OperationalError):
        migrate(sa.create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none"))


def test_revisions_are_numbered_and_alembic_sees_them_in_that_order() -> None:
    config = Config(toml_file=str(PROJECT / "pyproject.toml"))
    found = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert found[::-1] == revisions() == [f"{n:04}" for n in range(1, len(found) + 1)]


def test_alembics_own_command_makes_and_checks_the_tables(engine: sa.Engine, url: str, environment: Path) -> None:
    def alembic(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "alembic", *command],
            cwd=PROJECT, env=os.environ | {"WAREHOUSE_URL": url}, capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout + done.stderr

    assert "not up to date" in alembic("check")
    alembic("upgrade", "head")
    assert revision(engine) == revisions()[-1]
    with engine.begin() as connection:
        connection.exec_driver_sql("create table of_mlflow (id int)")
    assert "No new upgrade operations detected" in alembic("check")


def test_the_list_of_upcoming_movies_is_read_before_and_after(engine: sa.Engine, url: str) -> None:
    make_before(engine)
    fill(engine)
    before = read_upcoming(url, "sample", DAY)
    migrate(engine)
    assert read_upcoming(url, "sample", DAY) == before
    assert before["as_of"] == str(DAY)
