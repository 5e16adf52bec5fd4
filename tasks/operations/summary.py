"""What a person reads at the end of the main job."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd
from pydantic import ValidationError

from models.facts import iterate
from models.judging import comparison
from models.movie import INPUTS, Movie
from settings import get_settings
from tasks.data.catalogue import read_catalogue
from tasks.foundation.store import open_store
from tasks.registry import versions as registry
from tasks.registry.versions import Version
from tasks.release.targets.bento import ask_service, bento_to_serve


@dataclass(frozen=True)
class Asked:
    """A movie, its rating if it has one, and what the champion's service answered."""

    movie: dict[str, Any]
    actual: float | None
    answer: dict[str, Any]


def ask_champion(champion: Version, source: str, today: date) -> Asked:
    """Start the champion's service, ask it about the next movie to come out, and stop it."""
    movie, actual = pick_movie(source, today)
    (answer,) = ask_service(bento_to_serve(champion), [movie])
    return Asked(movie, actual, answer)


def pick_movie(source: str, today: date) -> tuple[dict[str, Any], float | None]:
    """Return the next movie to come out, or else the newest one, as a request, and its rating if it has one.

    A movie that the service would not accept (TMDB has people without a name) is passed over.
    """
    movies = read_catalogue(open_store(get_settings().store_uri), source)
    movies = movies[movies["release_date"].notna()]
    upcoming = movies["release_date"].dt.date > today
    for row in (*iterate(movies[upcoming]), *reversed(list(iterate(movies[~upcoming].tail(200))))):
        facts = {name: row[name] for name in INPUTS}
        facts = {k: v for k, v in facts.items() if isinstance(v, list | dict) or (v is not None and v == v)}
        facts["release_date"] = str(row["release_date"].date())
        with contextlib.suppress(ValidationError):
            movie = Movie.model_validate(facts).model_dump(mode="json", exclude_defaults=True)
            return movie, None if pd.isna(row["vote_average"]) else float(row["vote_average"])
    raise LookupError(f"no movie of {source} can be asked about: collect some with a release date")


def summarise(
    source: str,
    collected: dict[str, int],
    trained: dict[str, Any],
    promotion: dict[str, Any],
    champion: Version,
    asked: Asked,
) -> str:
    """Return the summary of a whole run as text."""
    movie, actual, answer = asked.movie, asked.actual, asked.answer
    settings = get_settings()
    figures = registry.run_metrics(registry.find(str(trained["version"])))
    table = comparison(figures, f"{trained['family']} v{trained['version']}")
    columns = list(table[0])
    lines = [" ".join([f"{columns[0]:<26}", *(f"{name:>9}" for name in columns[1:])])]
    for row in table:
        lines.append(" ".join([f"{row[columns[0]]:<26}", *(f"{row[name]:>9.3f}" for name in columns[1:])]))
    synthetic = "  SYNTHETIC: the sample catalogue" if source == "sample" else ""
    out = f"rated {actual:.1f}" if actual is not None else "not out yet"
    return "\n".join(
        [
            "",
            f"Movies       {collected['movies']} from {source}, {collected['requests']} requests this time{synthetic}",
            f"Hold-out     {figures['holdout_movies']:.0f} movies of the newest twelve months, never seen by the model",
            "",
            *("  " + line for line in lines),
            "",
            f"Intervals    90 % ones held {figures['holdout_coverage_90']:.0%}, {figures['holdout_width_90']:.2f} wide",
            f"Promotion    {promotion['reason']}",
            f"Champion     {settings.model_name} {champion.label} ({champion.tags['family']}), "
            f"RMSE {registry.run_metrics(champion)['holdout_rmse']:.3f}",
            f"Prediction   {movie['title']} ({movie['release_date']}, {out}): {answer['rating']:.2f}, "
            f"90 % between {answer['low']:.2f} and {answer['high']:.2f}, by {answer['model']['version']}",
            "",
            f"Serve it     make serve   then http://127.0.0.1:{settings.service_port}",
            "See it       make ui      Prefect on http://127.0.0.1:4200, MLflow on http://127.0.0.1:5000",
            "",
            "This product uses the TMDB API but is not endorsed or certified by TMDB.",
        ]
    )
