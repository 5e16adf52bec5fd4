from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
import yaml
from conftest import RECORDED
from pydantic import ValidationError

from settings import PROJECT, Settings, get_settings, make_folder, make_room, read_env_file, without_secrets
from tasks.foundation.retrying import worth_another_try
from tasks.foundation.store import open_store

MARK = "hunter2secret"
# A wrong value of each setting, as a slip of the hand or of the clipboard makes it.
WRONG = {
    "data_home": f"s3://{MARK}",
    "tmdb_api_token": f"Bearer {MARK}",
    "tmdb_base_url": f"http://user:{MARK}@127.0.0.1/3",
    "tmdb_rate": MARK,
    "tmdb_max_age_days": MARK,
    "sample_options": f"--token 'it is {MARK}",
    "alert_block": f"https://hooks.example/{MARK}",
    "imdb_base_url": f"https://user:{MARK}@mirror.example",
    "store_uri": f"s3://KEY:{MARK}@bucket/prefix",
    "warehouse_url": f"mysql://premiere:{MARK}@db.example/movies",
    "mlflow_tracking_uri": f"ftp://user:{MARK}@mlflow.example",
    "optuna_storage": f"postgresql+psycopg2://premiere:{MARK}@db.example/movies",
    "model_name": f"Movie {MARK}",
    "bentoml_home": f"postgresql://u:{MARK}@host/x",
    "image_repository": f"user:{MARK}@registry.example/premiere",
    "alert_webhook_url": f"hooks.example/{MARK}",
    "ecs_cluster": f"my cluster {MARK}",
    "ecs_service": f"my service {MARK}",
    "service_api_token": f"“{MARK}”",
    "service_per_minute": MARK,
    "service_proxies": f"10.0.0.7,{MARK}",
    "follow_registry": MARK,
    "project_home": f"https://{MARK}",
    "record_predictions": MARK,
    "source_commit": f"commit {MARK}",
    "start_seconds": MARK,
    "service_port": MARK,
    "recorded_data": f"https://{MARK}",
}
WRONG_DATABASES = [
    f" postgresql://u:{MARK}@h/x",
    f"'postgresql://u:{MARK}@h/x'",
    f"postgresql://u:{MARK}@h/x\n",
    f"postgres:/u:{MARK}@h/x",
    f"postgresql://u:x@{MARK}@h/x",
    f"postgresql://u:{MARK}@h:5432x/x",
    f"postgresql://u:{MARK}@h:99999/x",
    f"postgresql://u@h/x?password={MARK}",
]
# Set where a process starts, not handed over: by the image, by make serve, for make serve, and for tests.
NOT_HANDED_OVER = {"DATA_HOME", "SOURCE_COMMIT", "PROJECT_HOME", "SERVICE_PORT", "RECORDED_DATA"}
STACK = {"POSTGRES_PASSWORD", "S3_SECRET_KEY", "WORKER_MEMORY", "FIRST_TRIALS"}  # compose's alone
AWS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"}
# On Fargate the task's role says what a flow may do, and what may be a secret comes from Secrets Manager: a name may
# not stand in both places, and the environment of a task is there for all to read.
FROM_AMAZON = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
FROM_AMAZON |= {name.upper() for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}


def set_to(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    get_settings.cache_clear()


def error_of(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> str:
    """Return all that can be printed of the error that a value of a setting makes."""
    set_to(monkeypatch, name, value)
    with pytest.raises(ValidationError) as caught:
        get_settings()
    error = caught.value
    return f"{error} {error!r} {error.errors()} {''.join(traceback.format_exception(error))}"


def handed_over(name: str) -> dict[str, str]:
    if name == "docker-compose.yml":
        found = yaml.safe_load((PROJECT / name).read_text())["services"]["worker"]["environment"]
        found.pop("HOME")
    else:
        found = json.loads((PROJECT / name).read_text())["variables"]["properties"]["env"]["default"]
    return dict(found)


def test_the_example_names_every_variable_and_no_other() -> None:
    named = re.findall(r"^#?\s*([A-Z][A-Z0-9_]+)=", (PROJECT / ".env.example").read_text(), re.MULTILINE)
    aws = {name for name in named if name.startswith("AWS_")}
    assert set(named) - aws - STACK == {name.upper() for name in Settings.model_fields}
    assert aws == AWS


@pytest.mark.parametrize("name", ["docker-compose.yml", "deploy/docker-pool.json", "deploy/ecs-pool.json"])
def test_every_setting_is_handed_over_to_where_flows_run(name: str) -> None:
    environment = handed_over(name)
    wanted = {field.upper() for field in Settings.model_fields} - NOT_HANDED_OVER
    wanted |= AWS
    if name == "deploy/ecs-pool.json":
        wanted -= FROM_AMAZON
        assert all(secret in (PROJECT / name).read_text() for secret in FROM_AMAZON if "AWS" not in secret)
    assert {key for key in environment if not key.startswith(("PREFECT", "PREMIERE"))} - {"DATA_HOME"} == wanted
    its_own = {"MLFLOW_TRACKING_URI"} | (AWS if name == "docker-compose.yml" else set())  # compose has these servers
    for key in wanted - its_own:
        assert re.fullmatch(rf"{{{{ \${key} }}}}|\${{{key}:-.*}}", environment[key])


def test_nothing_is_read_at_import_and_an_empty_variable_is_unset(environment: Path) -> None:
    assert get_settings().tmdb_api_token is None
    assert get_settings().tmdb_base_url == "https://api.themoviedb.org/3"
    assert get_settings() is get_settings()


def test_the_token_is_never_shown(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMDB_API_TOKEN", "very-secret")
    get_settings.cache_clear()
    assert "very-secret" not in repr(get_settings()) + str(get_settings().model_dump())


def test_relative_folders_belong_to_the_project(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORE_URI", "data")
    get_settings.cache_clear()
    assert get_settings().store_uri == str(PROJECT / "data")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STORE_URI", "ftp://x"),
        ("TMDB_BASE_URL", "tmdb"),
        ("TMDB_RATE", "0"),
        ("SERVICE_PORT", "x"),
        ("MODEL_NAME", "A B"),
    ],
)
def test_a_bad_value_is_named(environment: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    with pytest.raises(ValidationError, match=name.lower()):
        get_settings()


def test_a_wrong_value_is_named_with_rule_and_remedy_and_never_shown(
    environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(WRONG) == set(Settings.model_fields)  # a new setting needs a wrong value of its own
    for name, value in WRONG.items():
        shown = error_of(monkeypatch, name.upper(), value)
        assert MARK not in shown, name
        assert name.upper() in shown
        assert "Correct it" in shown
        monkeypatch.setenv(name.upper(), "")


@pytest.mark.parametrize("name", ["WAREHOUSE_URL", "OPTUNA_STORAGE", "MLFLOW_TRACKING_URI"])
@pytest.mark.parametrize("value", WRONG_DATABASES)
def test_a_wrong_address_of_a_database_is_never_shown(
    environment: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    shown = error_of(monkeypatch, name, value)
    assert MARK not in shown
    assert f"{name} must" in shown


@pytest.mark.recorded
def test_the_recorded_addresses_are_refused_without_their_password(
    environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for values in json.loads((RECORDED / "cases" / "17-settings-print-secret.json").read_text())["env"].values():
        for value in values:
            assert MARK not in error_of(monkeypatch, "WAREHOUSE_URL", value)


@pytest.mark.parametrize("name", ["TMDB_API_TOKEN", "SERVICE_API_TOKEN"])
@pytest.mark.parametrize("token", ["“abc”", "ab\nc", "tök", "Bearer abc", "ab\xa0c", "토큰"])
def test_a_token_that_no_header_can_carry_is_refused_before_any_request(
    environment: Path, monkeypatch: pytest.MonkeyPatch, name: str, token: str
) -> None:
    assert f"{name} must be one word" in error_of(monkeypatch, name, token)


def test_what_stands_around_a_value_by_accident_is_cut_off(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_to(monkeypatch, "TMDB_API_TOKEN", ' "abc"\r\n')
    monkeypatch.setenv("TMDB_BASE_URL", " http://127.0.0.1:8400/3/ ")
    monkeypatch.setenv("SERVICE_API_TOKEN", "  ")
    settings = get_settings()
    assert settings.tmdb_api_token
    assert settings.tmdb_api_token.get_secret_value() == "abc"
    assert settings.tmdb_base_url == "http://127.0.0.1:8400/3"
    assert settings.service_api_token is None


def test_all_that_is_kept_lies_in_data_home_unless_it_is_said_otherwise(
    environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("STORE_URI", "WAREHOUSE_URL", "MLFLOW_TRACKING_URI", "OPTUNA_STORAGE", "BENTOML_HOME"):
        monkeypatch.setenv(name, "")
    set_to(monkeypatch, "DATA_HOME", "/somewhere")
    settings = get_settings()
    assert (settings.store_uri, str(settings.bentoml_home)) == ("/somewhere/data", "/somewhere/bentos")
    databases = (settings.warehouse_url, settings.mlflow_tracking_uri, settings.optuna_storage)
    files = [f"sqlite:////somewhere/{name}.db" for name in ("warehouse", "mlflow", "optuna")]
    assert [database.get_secret_value() for database in databases] == files
    set_to(monkeypatch, "WAREHOUSE_URL", "sqlite:///other.db?timeout=5")
    assert get_settings().warehouse_url.get_secret_value() == "sqlite:////somewhere/other.db?timeout=5"
    set_to(monkeypatch, "WAREHOUSE_URL", "postgres://u:p@h/x")
    assert get_settings().warehouse_url.get_secret_value() == "postgresql+psycopg://u:p@h/x"


def test_an_empty_variable_of_aws_is_unset(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in AWS:
        monkeypatch.setenv(name, "")
    get_settings()
    assert not AWS & set(os.environ)
    assert open_store("s3://bucket").uri == "s3://bucket"


def test_a_folder_that_cannot_be_written_is_named_and_not_tried_again(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "store"
    for write, setting in (
        (lambda: open_store(str(folder)).write("key", b""), "STORE_URI"),
        (lambda: make_room(f"sqlite:///{folder}/x.db", "WAREHOUSE_URL"), "WAREHOUSE_URL"),
    ):
        with pytest.raises(OSError, match=rf"{folder}.*{setting}.*: (let|make)|{folder}.* let {setting}") as caught:
            write()

        class Failed:
            def result(self, raise_on_failure: bool, error: Exception = caught.value) -> Exception:
                return error

        assert not worth_another_try(None, None, Failed())


def test_the_address_of_a_server_is_no_folder() -> None:
    for url in ("postgresql+psycopg://u:hunter2@h/x?sslmode=require", "http://h:5000/?x=1", "sqlite:///:memory:"):
        assert make_room(url, "OPTUNA_STORAGE") == url


def test_a_folder_of_another_user_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("settings.os.access", lambda *_: False)  # root, who may run this, may write everywhere
    with pytest.raises(PermissionError, match="cannot be written to: let BENTOML_HOME or DATA_HOME"):
        make_folder(tmp_path, "BENTOML_HOME")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_an_env_file_is_read_as_windows_writes_it(tmp_path: Path, encoding: str) -> None:
    marks = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}
    text = '# café\r\n\r\nTMDB_API_TOKEN=abc\r\nexport MODEL_NAME="x"\r\nSTORE_URI=\r\n'
    (tmp_path / ".env").write_bytes(marks.get(encoding, b"") + text.encode(encoding))
    assert read_env_file(tmp_path / ".env") == text
    assert read_env_file(tmp_path / "none") == ""


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (f"A=1\nB=caf\xe9 {MARK}".encode("latin-1"), "line 2, is not UTF-8"),
        (f"A={MARK}".encode("utf-16-le"), "is not UTF-8"),
        (f"A={MARK}".encode("utf-32"), "is not UTF-8"),
        (b"\xff\xfeA", "is not UTF-8"),
        (f"A=1\n\n{MARK}\nB=2".encode(), "line 3, is not NAME=value"),
        (f"A=1\nmy token {MARK}\n".encode(), "line 2, is not NAME=value"),
        (f"A=1\r\nMY-TOKEN={MARK}\r\n".encode(), "line 2, is not NAME=value"),
        (f'A=1\nB="{MARK}\n'.encode(), "line 2, is not NAME=value"),
    ],
)
def test_an_env_file_that_cannot_be_read_is_named_by_line_and_not_by_content(
    tmp_path: Path, data: bytes, said: str
) -> None:
    (tmp_path / ".env").write_bytes(data)
    with pytest.raises(ValueError, match=said) as caught:
        read_env_file(tmp_path / ".env")
    shown = "".join(traceback.format_exception(caught.value))
    assert MARK not in shown
    assert ".env" in str(caught.value)
    assert "UnicodeDecodeError" not in shown


@pytest.mark.recorded
def test_the_recorded_env_file_is_read(tmp_path: Path) -> None:
    case = json.loads((RECORDED / "cases" / "22-env-utf16.json").read_text())
    (tmp_path / ".env").write_bytes(bytes.fromhex(case["bytes_hex"]))
    assert read_env_file(tmp_path / ".env") == "TMDB_API_TOKEN=abc\r\n"


def test_an_address_is_shown_without_its_secrets() -> None:
    assert without_secrets(f"postgresql://u:{MARK}@h:1/x?sslpassword={MARK}") == "postgresql://h:1/x"
    assert without_secrets(f"https://{MARK}@mlflow.example/a#b") == "https://mlflow.example/a"
    assert without_secrets("sqlite:////data/x.db") == "sqlite:////data/x.db"


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        (
            "WAREHOUSE_URL",
            f"postgresql://u:{MARK}@127.0.0.1:1/x",
            "from tasks.data.warehouse import connect; connect()",
        ),
        (
            "OPTUNA_STORAGE",
            f"postgresql://u:{MARK}@127.0.0.1:1/x",
            "from settings import get_settings; from tasks.learning import studies; import time; "
            "time.sleep = print; studies.open_study('s', get_settings().optuna_storage.get_secret_value(), 1, str, [])",
        ),
        (
            "MLFLOW_TRACKING_URI",
            f"http://u:{MARK}@127.0.0.1:1",
            "from tasks.registry import versions as registry; client = registry.client(); import os; "
            "assert os.environ['MLFLOW_TRACKING_USERNAME'] == 'u'; registry.find('champion')",
        ),
    ],
)
def test_a_server_that_does_not_answer_is_told_without_the_password(
    environment: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, code: str
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv(name, value)
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, timeout=120)
    assert done.returncode
    assert "127.0.0.1" in done.stderr
    assert MARK not in done.stdout + done.stderr
