"""What comes out, as `predict-upcoming` scored it, and how its earlier lists turned out. Read from the warehouse."""

from __future__ import annotations

from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import JSONResponse, Response

from serving.recording import no_warehouse
from serving.tables import MOVIES, UPCOMING, connect
from settings import get_settings

MOST_PAST = 200
FEWEST_VOTES = 50


@lru_cache
def _engine(url: str) -> sa.Engine:
    return connect(url)


def list_upcoming(source: str) -> Response:
    """Answer with what `read_upcoming` says of a source, or with what is wrong with the warehouse."""
    try:
        return JSONResponse(read_upcoming(get_settings().warehouse_url.get_secret_value(), source))
    except SQLAlchemyError as error:
        return no_warehouse("no list of upcoming movies", error)


def read_upcoming(url: str, source: str, today: date | None = None) -> dict[str, Any]:
    """Return a source's last list of what is still to come, and of what is out by now the last thing said before it.

    Where there is no list, it is empty and says why. Raises what SQLAlchemy raises where the database does not answer.
    """
    today = today or datetime.now(UTC).date()
    table = UPCOMING.c
    with _engine(url).connect() as connection:
        newest = None
        if sa.inspect(connection).has_table(UPCOMING.name):
            newest = connection.execute(sa.select(sa.func.max(table.as_of)).where(table.source == source)).scalar()
        if newest is None:
            why = f"no list of {source}, which the served model is of, was made yet: run predict-upcoming/daily"
            return {"as_of": None, "source": source, "model": None, "movies": [], "past": [], "reason": why}
        coming = sa.select(UPCOMING).where(table.source == source, table.as_of == newest, table.release_date > today)
        movies = [dict(row) for row in connection.execute(coming.order_by(table.release_date)).mappings()]
        return {
            "as_of": str(newest),
            "source": source,
            "model": movies[0]["model"] if movies else None,
            "movies": [_movie(row) for row in movies],
            "past": _past(connection, source, today) if sa.inspect(connection).has_table(MOVIES.name) else [],
        }


def _past(connection: sa.Connection, source: str, today: date) -> list[dict[str, Any]]:
    """Return movies that came out after they were on a list, with what was last said of them and what they got."""
    table = UPCOMING.c
    before = sa.and_(table.source == source, table.release_date <= today, table.as_of <= table.release_date)
    last = sa.select(table.id, sa.func.max(table.as_of).label("as_of")).where(before).group_by(table.id).subquery()
    same = sa.and_(table.source == source, table.id == last.c.id, table.as_of == last.c.as_of)
    rated = sa.and_(MOVIES.c.source == source, MOVIES.c.id == table.id, MOVIES.c.vote_count >= FEWEST_VOTES)
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
