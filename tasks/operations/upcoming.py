"""Score what is to come out with the champion, into the store by logical date and into the service's warehouse."""

from __future__ import annotations

import io
import json
from datetime import date, timedelta
from typing import Any

import pandas as pd
import sqlalchemy as sa
from prefect import get_run_logger, task
from prefect.artifacts import create_table_artifact

from models.facts import iterate
from models.movie import LEVEL
from models.questions import mask_fields
from serving.tables import UPCOMING
from settings import get_settings
from tasks.data.catalogue import read_catalogue
from tasks.foundation.retrying import RETRIED
from tasks.foundation.store import open_store
from tasks.foundation.warehouse import connect
from tasks.registry import scoring
from tasks.registry.scoring import records
from tasks.registry.versions import Version

DAYS = 365
MOST_REASONS = 5


def coming(source: str, today: date) -> pd.DataFrame:
    """Return the movies of the store that come out within the next twelve months, the next one first."""
    movies = read_catalogue(open_store(get_settings().store_uri), source)
    day = pd.Timestamp(today)
    soon = (movies["release_date"] > day) & (movies["release_date"] <= day + timedelta(days=DAYS))
    return movies[soon].sort_values(["release_date", "id"]).reset_index(drop=True)


@task(name="score upcoming", task_run_name="score upcoming with {champion.label}")
def score(movies: pd.DataFrame, champion: Version, source: str, today: date) -> list[dict[str, Any]]:
    """Rate movies by what ships of the champion; return the rows of the table `upcoming`, with reasons.

    What is not known yet of a movie to come says nothing: each is asked about as a question.
    """
    rated = scoring.score(champion, "model", [mask_fields(movie) for movie in records(movies)], [LEVEL], MOST_REASONS)
    low, high = rated.intervals[LEVEL]
    model: dict[str, Any] = {"name": get_settings().model_name, "version": champion.label}
    model |= {"sha256": champion.tags["sha256"], "family": champion.tags["family"]}
    model |= {"synthetic": champion.tags["synthetic"] == "true"}
    return [
        {
            "source": source,
            "as_of": today,
            "id": int(movie["id"]),
            "title": movie["title"],
            "release_date": movie["release_date"].date(),
            "genres": list(movie["genres"]),
            "original_language": movie["original_language"],
            "poster_path": movie["poster_path"] if isinstance(movie["poster_path"], str) else None,
            "rating": float(rated.ratings[n]),
            "low": float(low[n]),
            "high": float(high[n]),
            "reasons": rated.reasons[n],
            "model": model,
        }
        for n, movie in enumerate(iterate(movies))
    ]


@task(name="keep upcoming", task_run_name="keep upcoming of {source} on {today}", **RETRIED)
def keep(rows: list[dict[str, Any]], source: str, today: date) -> str:
    """Write a day's list to the store and the warehouse, in place of an earlier one of the day; return its key."""
    key = f"{source}/upcoming/{today}.parquet"
    flat = [row | {name: json.dumps(row[name], ensure_ascii=False) for name in ("reasons", "model")} for row in rows]
    data = io.BytesIO()
    pd.DataFrame(flat, columns=[column.name for column in UPCOMING.c]).to_parquet(data, index=False)
    open_store(get_settings().store_uri).write(key, data.getvalue())
    engine = connect()
    try:
        with engine.begin() as connection:
            same = sa.and_(UPCOMING.c.source == source, UPCOMING.c.as_of == today)
            connection.execute(UPCOMING.delete().where(same))
            if rows:
                connection.execute(UPCOMING.insert(), rows)
    finally:
        engine.dispose()
    get_run_logger().info("%d movies scored as of %s: %s", len(rows), today, key)
    return key


def show(rows: list[dict[str, Any]], source: str) -> None:
    """Put the list into the Prefect UI, the highest rating first."""
    table = [
        {
            "movie": row["title"],
            "release": str(row["release_date"]),
            "rating": round(row["rating"], 2),
            "90 % between": f"{row['low']:.2f} and {row['high']:.2f}",
            "why": "; ".join(f"{reason['points']:+.2f} {reason['words']}" for reason in row["reasons"][:2]),
        }
        for row in sorted(rows, key=lambda row: -row["rating"])
    ]
    synthetic = ", which are synthetic" if source == "sample" else ""
    create_table_artifact(
        key=f"upcoming-{source}", table=table, description=f"Movies of the next twelve months{synthetic}"
    )
