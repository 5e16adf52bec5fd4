"""Where things are: the one reader of the environment.

Every variable stands in `.env.example`, which a test holds to this file. Nothing is read at import; `get_settings()`
reads once. What to do this time is a flow parameter, what the model is stands in `models/`.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from dotenv import load_dotenv
from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PROJECT = Path(__file__).resolve().parent


def with_driver(url: str) -> str:
    """Return a database's address for SQLAlchemy: PostgreSQL's driver that is installed is psycopg 3."""
    for prefix in ("postgres://", "postgresql://"):
        if url.startswith(prefix):
            return f"postgresql+psycopg://{url.removeprefix(prefix)}"
    return url


class Settings(BaseSettings):
    """The environment, typed. An empty variable counts as unset."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    tmdb_api_token: SecretStr | None = Field(None, description="TMDB read access token; without it the sample is used")
    tmdb_base_url: str = Field("https://api.themoviedb.org/3", description="TMDB's address, or a stand-in's")
    tmdb_rate: float = Field(40.0, gt=0, le=1000, description="requests a second, at most")
    tmdb_max_age_days: int = Field(180, ge=91, description="TMDB's terms: no record is kept longer, in days")
    imdb_base_url: str = Field("https://datasets.imdbws.com", description="where IMDb's data sets lie; a folder works")
    store_uri: str = Field("data", description="a folder, s3://bucket/prefix or s3-bucket/block")
    warehouse_url: SecretStr = Field(
        SecretStr(f"sqlite:///{PROJECT}/warehouse.db"), description="database that mirrors the catalogue"
    )
    mlflow_tracking_uri: str = Field(f"sqlite:///{PROJECT}/mlflow.db", description="MLflow server or database")
    optuna_storage: SecretStr = Field(
        SecretStr(f"sqlite:///{PROJECT}/optuna.db"), description="database of the tuning studies"
    )
    model_name: str = Field("movie-rating", pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$", description="name in the registry")
    bentoml_home: Path = Field(PROJECT / "bentos", description="BentoML's store of models and bentos")
    image_repository: str = Field(
        "premiere", pattern=r"^[a-z0-9][a-z0-9._:/-]*[a-z0-9]$", description="where images of the service are pushed"
    )
    alert_webhook_url: SecretStr | None = Field(None, description="where failed runs are told, as JSON with a text")
    ecs_cluster: str | None = Field(None, description="Amazon ECS: cluster of the service")
    ecs_service: str | None = Field(None, description="Amazon ECS: name of the service")
    service_api_token: SecretStr | None = Field(None, description="bearer token that the service asks for")
    service_per_minute: int = Field(0, ge=0, description="requests of one address a minute, at most; 0 is no limit")
    follow_registry: bool = Field(False, description="whether the service takes over a new champion without a restart")
    project_home: Path = Field(PROJECT, description="checkout whose registry a service follows, set by make serve")
    record_predictions: bool = Field(True, description="whether the service records what it predicts in the warehouse")
    source_commit: str = Field("unknown", description="commit of the code where there is no checkout, as in an image")
    service_port: int = Field(3000, ge=1, le=65535, description="port of `make serve`, on loopback")

    @field_validator("tmdb_base_url")
    @classmethod
    def _no_trailing_slash(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return value.rstrip("/")

    @field_validator("store_uri")
    @classmethod
    def _anchor_folder(cls, value: str) -> str:
        """A relative folder belongs to the project, wherever a worker was started."""
        if value.startswith(("s3://", "s3-bucket/")):
            return value.rstrip("/")
        if "://" in value:
            raise ValueError(f"STORE_URI {value!r} must be a folder or s3://bucket/prefix")
        return str(PROJECT / value)

    @field_validator("warehouse_url")
    @classmethod
    def _name_the_driver(cls, value: SecretStr) -> SecretStr:
        url = with_driver(value.get_secret_value())
        if not url.startswith(("sqlite:///", "postgresql+psycopg://")):
            raise ValueError("WAREHOUSE_URL must start with sqlite:/// or postgresql://")
        return SecretStr(url)

    @field_validator("bentoml_home")
    @classmethod
    def _anchor_home(cls, value: Path) -> Path:
        return PROJECT / value


@lru_cache
def get_settings() -> Settings:
    """Read the environment and `.env` once; what is set in the environment, even to nothing, goes before `.env`."""
    load_dotenv(PROJECT / ".env")  # into the environment: boto3 finds its AWS variables there
    return Settings()
