"""What comes out, as `predict-upcoming` scored it, and how its earlier lists turned out. Read from the warehouse."""

from __future__ import annotations

from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from serving.tables import UPCOMING

MOST_PAST = 200
# The mirror of the catalogue, as far as it is read here.
MOVIES = sa.table("movies", sa.column("source"), sa.column("id"), sa.column("vote_average"), sa.column("vote_count"))
FEWEST_VOTES = 50


@lru_cache
def _engine(url: str) -> sa.Engine:
    return sa.create_engine(url, pool_pre_ping=True)


def read_upcoming(url: str, today: date | None = None) -> dict[str, Any]:
    """Return the last list of what is still to come, and of those that are out the last thing said before it."""
    today = today or datetime.now(UTC).date()
    table = UPCOMING.c
    try:
        with _engine(url).connect() as connection:
            newest = connection.execute(sa.select(sa.func.max(table.as_of))).scalar()
            if newest is None:
                return _nothing("no list was made yet: run predict-upcoming/daily")
            coming = sa.select(UPCOMING).where(table.as_of == newest, table.release_date > today)
            movies = [dict(row) for row in connection.execute(coming.order_by(table.release_date)).mappings()]
            return {
                "as_of": str(newest),
                "model": movies[0]["model"] if movies else None,
                "movies": [_movie(row) for row in movies],
                "past": _past(connection, today),
            }
    except sa.exc.SQLAlchemyError as error:
        return _nothing(f"the warehouse has no list: {type(error).__name__}")


def _past(connection: sa.Connection, today: date) -> list[dict[str, Any]]:
    """Return movies that came out after they were on a list, with what was last said of them and what they got."""
    table = UPCOMING.c
    before = sa.and_(table.release_date <= today, table.as_of <= table.release_date)
    last = (
        sa.select(table.source, table.id, sa.func.max(table.as_of).label("as_of"))
        .where(before).group_by(table.source, table.id).subquery()
    )  # fmt: skip
    same = sa.and_(table.source == last.c.source, table.id == last.c.id, table.as_of == last.c.as_of)
    rated = sa.and_(MOVIES.c.source == table.source, MOVIES.c.id == table.id, MOVIES.c.vote_count >= FEWEST_VOTES)
    query = (
        sa.select(UPCOMING, MOVIES.c.vote_average, MOVIES.c.vote_count)
        .join(last, same).join(MOVIES, rated).order_by(table.release_date.desc()).limit(MOST_PAST)
    )  # fmt: skip
    return [
        {"id": row["id"], "title": row["title"], "release_date": str(row["release_date"]), "rating": row["rating"]}
        | {"low": row["low"], "high": row["high"], "actual": row["vote_average"], "votes": row["vote_count"]}
        | {"predicted_on": str(row["as_of"])}
        for row in connection.execute(query).mappings()
    ]


def _movie(row: dict[str, Any]) -> dict[str, Any]:
    names = ("id", "title", "genres", "original_language", "poster_path", "rating", "low", "high", "reasons")
    return {name: row[name] for name in names} | {"release_date": str(row["release_date"])}


def _nothing(why: str) -> dict[str, Any]:
    return {"as_of": None, "model": None, "movies": [], "past": [], "reason": why}
