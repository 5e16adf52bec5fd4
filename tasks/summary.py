"""What a person reads at the end of the main job."""

from __future__ import annotations

from datetime import date
from typing import Any

from settings import get_settings
from tasks import registry
from tasks.catalogue import read_catalogue
from tasks.registry import Version
from tasks.store import open_store
from tasks.training import comparison

ASKED = ("title", "overview", "tagline", "genres", "original_language", "runtime", "budget")
PEOPLE = ("production_companies", "production_countries", "cast", "directors", "writers")


def pick_movie(source: str, today: date) -> tuple[dict[str, Any], float | None]:
    """Return the next movie to come out, or else the newest one, as a request, and its rating if it has one."""
    movies = read_catalogue(open_store(get_settings().store_uri), source)
    upcoming = movies[movies["release_date"].dt.date > today]
    row = (upcoming.iloc[0] if len(upcoming) else movies[movies["release_date"].notna()].iloc[-1]).to_dict()
    request = {name: row[name] for name in ASKED if isinstance(row[name], str | list) or row[name] == row[name]}
    request = {name: value for name, value in request.items() if value is not None}
    request |= {name: [entity["name"] for entity in row[name]] for name in PEOPLE}
    request["release_date"] = str(row["release_date"].date())
    return request, row["vote_average"] if row["vote_average"] == row["vote_average"] else None


def summarise(
    source: str,
    collected: dict[str, int],
    trained: dict[str, Any],
    promotion: dict[str, Any],
    champion: Version,
    movie: dict[str, Any],
    actual: float | None,
    answer: dict[str, Any],
) -> str:
    """Return the summary of a whole run as text."""
    settings = get_settings()
    figures = registry.run_metrics(registry.find(str(trained["version"])))
    table = comparison(figures, f"{trained['family']} v{trained['version']}")
    columns = list(table[0])
    lines = [" ".join([f"{columns[0]:<26}", *(f"{name:>9}" for name in columns[1:])])]
    for row in table:
        lines.append(" ".join([f"{row[columns[0]]:<26}", *(f"{row[name]:>9.3f}" for name in columns[1:])]))
    synthetic = "  SYNTHETIC: the sample catalogue, because TMDB_API_TOKEN is not set" if source == "sample" else ""
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
