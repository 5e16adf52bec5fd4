"""Where things are: the one reader of the environment.

Every variable stands in `.env.example`, which a test holds to this file. Nothing is read at import; `get_settings()`
reads once. A value may be a secret, whatever it was meant to be: no error shows one. What to do this time is a flow
parameter, what the model is stands in `models/`.
"""

from __future__ import annotations

import io
import os
import re
import shlex
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dotenv import load_dotenv
from dotenv.parser import parse_stream
from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

PROJECT = Path(__file__).resolve().parent
WEB = ("http://", "https://")
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
DATABASES = ("sqlite:///", "postgresql+psycopg://")
AROUND = " \t\r\n\"'"  # what an editor, a shell or a secret's file leaves around a value
LITERAL = ("warehouse_url", "mlflow_tracking_uri", "optuna_storage")  # what may hold a password is never trimmed
SCHEME = re.compile(r"[A-Za-z][\w+.-]+:/")  # also in a path, which makes one slash of two
AMAZON = r"^[A-Za-z0-9:/_-]+$"  # a name or an ARN


def home() -> Path:
    """Return the folder of all that is kept: a checkout; for a bento, which is deleted one day, one of its user's."""
    return Path("~/.premiere") if PROJECT.with_name("bento.yaml").is_file() else PROJECT


def with_driver(url: str) -> str:
    """Return a database's address for SQLAlchemy: PostgreSQL's driver that is installed is psycopg 3."""
    for prefix in ("postgres://", "postgresql://"):
        if url.startswith(prefix):
            return f"postgresql+psycopg://{url.removeprefix(prefix)}"
    return url


def without_secrets(url: str) -> str:
    """Return an address as it may be shown: without user, password and query."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{re.split('[?#]', rest.rpartition('@')[2])[0]}"


def without_passwords(text: str) -> str:
    """Return a text with its addresses as they may be shown: without their users and passwords."""
    return re.sub(r"(?<=://)[^/\s]*(?=@)|(?<=password=)[^&\s]+", "***", text)


def make_folder(folder: Path, setting: str) -> Path:
    """Make a folder that a setting names, if it is not there; raises PermissionError where nothing can be written."""
    remedy = f"let {setting} or DATA_HOME name a folder that this user may write to, or change its owner"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PermissionError(f"the folder {folder} cannot be made ({error.strerror}): {remedy}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"the folder {folder} cannot be written to: {remedy}")
    return folder


def make_room(url: str, setting: str) -> str:
    """Make the folder of a SQLite database, where it lies below DATA_HOME, and return the address as it is.

    Raises FileNotFoundError for another folder that is not there: it may be a slip of the pen.
    """
    file = _sqlite_file(url)
    if file and (get_settings().data_home in file.parents or file.parent.is_dir()):
        make_folder(file.parent, setting)
    elif file:
        raise FileNotFoundError(f"the folder {file.parent} of {setting} is not there: make it, or name another file")
    return url


def _sqlite_file(url: str) -> Path | None:
    if not url.startswith("sqlite:///"):
        return None
    path = url.removeprefix("sqlite:///").partition("?")[0]
    return None if path.startswith((":memory:", "file:")) else Path(path)


class Settings(BaseSettings):
    """The environment, typed. An empty variable counts as unset."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True)

    data_home: Path = Field(default_factory=home, description="folder of all that is kept, where nothing else is said")
    tmdb_api_token: SecretStr | None = Field(None, description="TMDB read access token; without it the sample is used")
    tmdb_base_url: str = Field("https://api.themoviedb.org/3", description="TMDB's address, or a stand-in's")
    tmdb_rate: float = Field(40.0, gt=0, le=1000, description="requests a second, at most")
    tmdb_max_age_days: int = Field(180, ge=91, description="TMDB's terms: no record is kept longer, in days")
    sample_options: str = Field("", description="further options of the sample's server, for trials: --faults 0.05")
    imdb_base_url: str = Field("https://datasets.imdbws.com", description="where IMDb's data sets lie; a folder works")
    store_uri: str = Field("data", description="a folder, s3://bucket/prefix or s3-bucket/block")
    warehouse_url: SecretStr = Field(
        SecretStr("sqlite:///warehouse.db"), description="database that mirrors the catalogue"
    )
    mlflow_tracking_uri: SecretStr = Field(SecretStr("sqlite:///mlflow.db"), description="MLflow server or database")
    optuna_storage: SecretStr = Field(SecretStr("sqlite:///optuna.db"), description="database of the tuning studies")
    model_name: str = Field("movie-rating", pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$", description="name in the registry")
    bentoml_home: Path = Field(Path("bentos"), description="BentoML's store of models and bentos")
    image_repository: str = Field(
        "premiere", pattern=r"^[a-z0-9][a-z0-9._:/-]*[a-z0-9]$", description="where images of the service are pushed"
    )
    alert_webhook_url: SecretStr | None = Field(
        None, description="where failures, promotions and questions are told, as JSON with a text"
    )
    alert_block: str | None = Field(
        None, pattern=r"^[a-z0-9-]+/[a-z0-9-]+$", description="Prefect block that is told the same: slack-webhook/ops"
    )
    ecs_cluster: str | None = Field(None, pattern=AMAZON, description="Amazon ECS: cluster of the service")
    ecs_service: str | None = Field(None, pattern=AMAZON, description="Amazon ECS: name of the service")
    service_api_token: SecretStr | None = Field(None, description="bearer token that the service asks for")
    service_per_minute: int = Field(0, ge=0, description="requests of one address a minute, at most; 0 is no limit")
    service_proxies: str = Field("", description="proxies before the service: addresses or networks, by commas")
    follow_registry: bool = Field(False, description="whether the service takes over a new champion without a restart")
    project_home: Path = Field(PROJECT, description="checkout whose registry a service follows, set by make serve")
    record_predictions: bool = Field(True, description="whether the service records what it predicts in the warehouse")
    source_commit: str = Field(
        "unknown", pattern=r"^[\w./+-]{1,100}$", description="commit of the code where there is no checkout"
    )
    start_seconds: float = Field(
        300.0, gt=0, le=86_400, description="how long a server, service or container may take to start, in seconds"
    )
    service_port: int = Field(3000, ge=1, le=65535, description="port of `make serve`, on loopback")
    recorded_data: Path | None = Field(
        None, description="folder of recorded movies and cases, for tests and benchmarks only"
    )

    @model_validator(mode="wrap")
    @classmethod
    def _at_the_door(cls, data: Any, handler: ModelWrapValidatorHandler[Settings]) -> Settings:
        """Trim the values, and tell of each wrong one by its variable, without the value."""
        try:
            given = {name: _trimmed(name, value) for name, value in data.items()}
            return handler({name: value for name, value in given.items() if value != ""})
        except ValidationError as error:
            faults = error.errors(include_url=False, include_context=False, include_input=False)
        details = [_told(str(fault["loc"][0]), fault["msg"].removeprefix("Value error, ")) for fault in faults]
        raise ValidationError.from_exception_data(cls.__name__, details, hide_input=True)

    @field_validator("data_home", "project_home", "bentoml_home", "recorded_data")
    @classmethod
    def _folder(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is None:
            return None
        if SCHEME.match(str(value)):
            raise ValueError("must be a folder, not an address")
        if info.field_name in ("project_home", "recorded_data"):  # nothing is kept there
            return PROJECT / value.expanduser()
        return _anchored(value, info)

    @field_validator("sample_options")
    @classmethod
    def _words(cls, value: str) -> str:
        try:
            shlex.split(value)
        except ValueError:
            raise ValueError("must be options of a command line, with each quotation mark closed") from None
        return value

    @field_validator("tmdb_base_url")
    @classmethod
    def _web_address(cls, value: str) -> str:
        return _checked_web(value).rstrip("/")

    @field_validator("imdb_base_url")
    @classmethod
    def _web_address_or_folder(cls, value: str) -> str:
        return _checked_web(value) if SCHEME.match(value) else value

    @field_validator("store_uri")
    @classmethod
    def _store(cls, value: str, info: ValidationInfo) -> str:
        """A relative folder belongs to DATA_HOME, wherever a worker was started."""
        if value.startswith("s3-bucket/"):
            return value.rstrip("/")
        if value.startswith("s3://"):
            if not re.fullmatch(r"s3://[A-Za-z0-9][A-Za-z0-9._-]{2,}(/[^?#]*)?", value):
                raise ValueError("must be s3://bucket/prefix, without credentials: those are AWS's variables")
            return value.rstrip("/")
        if SCHEME.match(value):
            raise ValueError("must be a folder, s3://bucket/prefix or s3-bucket/block")
        return str(_anchored(Path(value), info))

    @field_validator("warehouse_url", "optuna_storage", "mlflow_tracking_uri")
    @classmethod
    def _database(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        """A relative file belongs to DATA_HOME, wherever a worker was started."""
        url = with_driver(value.get_secret_value())
        if info.field_name == "mlflow_tracking_uri" and url.startswith(WEB):
            return SecretStr(_checked_web(url, credentials=True))
        if not url.startswith(DATABASES):
            also = ", http:// or https://" if info.field_name == "mlflow_tracking_uri" else ""
            raise ValueError(f"must start with sqlite:/// or postgresql://{also}, with nothing before it")
        _check_database(url)
        file = _sqlite_file(url)
        return SecretStr(url.replace(str(file), str(_anchored(file, info)), 1) if file else url)

    @field_validator("service_proxies")
    @classmethod
    def _networks(cls, value: str) -> str:
        try:
            networks(value)
        except ValueError:
            raise ValueError("must be addresses or networks, such as 10.0.0.7,172.16.0.0/12") from None
        return value

    @field_validator("alert_webhook_url")
    @classmethod
    def _secret_address(cls, value: SecretStr | None) -> SecretStr | None:
        if value:
            _checked_web(value.get_secret_value(), credentials=True)
        return value

    @field_validator("tmdb_api_token", "service_api_token")
    @classmethod
    def _fits_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not re.fullmatch(r"[!-~]+", value.get_secret_value()):
            raise ValueError(
                "must be one word of plain letters, digits and signs, as an HTTP header carries them: no space, line "
                "break, typographic quote or accent. Copy it anew, and alone"
            )
        return value


def networks(names: str) -> list[IPv4Network | IPv6Network]:
    """Return the addresses and networks that a text names, by commas; raises ValueError for what is none."""
    return [ip_network(name.strip()) for name in names.split(",") if name.strip()]


def _trimmed(name: str, value: Any) -> Any:
    """Return a value without what stands around it by accident."""
    if not isinstance(value, str):
        return value
    trimmed = value.strip(AROUND)
    return value if trimmed and name in LITERAL else trimmed


def _told(name: str, fault: str) -> InitErrorDetails:
    rule = fault if fault.startswith("must") else f"is wrong: {fault}"
    variable, meant = name.upper(), Settings.model_fields[name].description
    remedy = f"it is meant for: {meant}. Correct it in the environment or in .env, or leave it empty for the default"
    words: Any = f"{variable} {rule}; {remedy}"
    return InitErrorDetails(type=PydanticCustomError("setting", words), loc=(name,), input=None)


def _anchored(path: Path, info: ValidationInfo) -> Path:
    """Return a path below DATA_HOME, which itself lies below the checkout where it is relative."""
    home: Path = info.data.get("data_home", PROJECT)
    return home / path.expanduser()


def _checked_web(url: str, credentials: bool = False) -> str:
    """Return a web address; raises ValueError, which does not quote it."""
    if not url.startswith(WEB):
        raise ValueError("must start with http:// or https://")
    try:
        parts = urlsplit(url)
        sound = bool(parts.hostname) and parts.port != 0 and bool(re.fullmatch(r"[!-~]+", url))
    except ValueError:
        sound = False
    if not sound:
        raise ValueError(
            "must be an address such as https://host:8080/path, whose port is a number up to 65535 and whose special "
            "characters are written as %XX"
        )
    if not credentials and ("@" in parts.netloc or parts.query or parts.fragment):
        raise ValueError("must hold no user, password, ? or #: it is shown in messages")
    return url


def _check_database(url: str) -> None:
    """Raise ValueError, which does not quote it, for an address that SQLAlchemy or PostgreSQL would read otherwise."""
    from sqlalchemy.engine import make_url  # half of a service's processes need no database

    if url != url.strip(AROUND):
        raise ValueError("must have no white space and no quotes around it")
    try:
        parts = make_url(url)
        sound = parts.port is None or 0 < parts.port < 65536
    except Exception:  # SQLAlchemy's own words quote the address
        sound = False
    if not sound or "@" in (parts.host or ""):
        raise ValueError(
            "must be an address such as postgresql://user:password@host:5432/name, whose port is a number up to 65535 "
            "and where special characters of the password are written as %XX: @ is %40"
        )
    if any("password" in name for name in parts.query):
        raise ValueError("must have the password before the host, postgresql://user:password@host/name")
    if str(parts.query.get("sslmode", "prefer")) not in SSL_MODES:  # the driver would quote what it does not know
        raise ValueError(f"must have a sslmode that is one of {', '.join(SSL_MODES)}")


@lru_cache
def get_settings() -> Settings:
    """Read the environment and `.env` once; what is set in the environment, even to nothing, goes before `.env`."""
    # Into the environment: boto3 finds its AWS variables there.
    load_dotenv(stream=io.StringIO(read_env_file(PROJECT / ".env")))
    for name in [name for name, value in os.environ.items() if name.startswith("AWS_") and not value]:
        del os.environ[name]  # work pools and compose hand it over as unset; boto3 takes it for a region of no name
    return Settings()


def read_env_file(path: Path) -> str:
    """Return the text of a file of NAME=value lines, or "" where there is none; Windows' UTF-16 and marks are read.

    Raises ValueError, which quotes nothing of it, for another encoding and for a line that sets nothing.
    """
    if not path.exists():
        return ""
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not a file of NAME=value lines: remove it, or give it another name")
    data = path.read_bytes()
    try:
        text = data.decode("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
        if "\0" in text:
            raise UnicodeError("UTF-16 without its mark, or UTF-32")
    except UnicodeError as error:
        line = data.count(b"\n", 0, getattr(error, "start", 0)) + 1
        raise ValueError(f"{path}, line {line}, is not UTF-8: save it anew as UTF-8 in your editor") from None
    for binding in parse_stream(io.StringIO(text)):
        before = re.match(r"\s*", binding.original.string)
        line = binding.original.line + (before[0].count("\n") if before else 0)
        named = binding.key is not None and re.fullmatch(r"[A-Za-z_]\w*", binding.key, re.ASCII)
        if binding.error or (binding.key is not None and not (named and binding.value is not None)):
            raise ValueError(
                f"{path}, line {line}, is not NAME=value: correct it, close its quotes, or begin it with # to skip it"
            )
    return text
