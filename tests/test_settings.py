from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from settings import PROJECT, Settings, get_settings


def test_the_example_names_every_variable_and_no_other() -> None:
    named = re.findall(r"^#?\s*([A-Z][A-Z0-9_]+)=", (PROJECT / ".env.example").read_text(), re.MULTILINE)
    aws = {name for name in named if name.startswith("AWS_")}
    assert set(named) - aws == {name.upper() for name in Settings.model_fields}


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
