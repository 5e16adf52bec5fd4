"""The tables of the warehouse, and how the service connects to it: the one description that flows and service read.

Knows nothing of how a database comes to these tables: a change here needs a revision in `serving/migrations/versions`
too (`alembic revision --autogenerate --rev-id 0002 -m "..."`), and a test holds the two together.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

SECONDS = 5
JSON = sa.JSON().with_variant(postgresql.JSONB, "postgresql")
METADATA = sa.MetaData()
# The newest record of each movie of the catalogue.
MOVIES = sa.Table(
    "movies",
    METADATA,
    sa.Column("source", sa.String(16), primary_key=True),
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("imdb_id", sa.String(16), index=True),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("original_title", sa.Text),
    sa.Column("overview", sa.Text),
    sa.Column("tagline", sa.Text),
    sa.Column("genres", JSON),
    sa.Column("release_date", sa.Date, index=True),
    sa.Column("original_language", sa.String(8)),
    sa.Column("spoken_languages", JSON),
    sa.Column("runtime", sa.Float),
    sa.Column("budget", sa.Float),
    *(
        sa.Column(name, JSON)
        for name in (
            *("production_companies", "production_countries", "belongs_to_collection", "cast", "directors"),
            *("writers", "producers", "cinematographers", "composers", "editors"),
        )
    ),
    sa.Column("vote_average", sa.Float),
    sa.Column("vote_count", sa.BigInteger),
    sa.Column("popularity", sa.Float),
    sa.Column("revenue", sa.Float),
    sa.Column("status", sa.String(32)),
    sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=False),
)
PREDICTIONS = sa.Table(
    "predictions",
    METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False, index=True),
    sa.Column("route", sa.String(32), nullable=False),
    sa.Column("model", sa.String(64), nullable=False),
    sa.Column("version", sa.String(32), nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("rating", sa.Float, nullable=False),
    sa.Column("low", sa.Float, nullable=False),
    sa.Column("high", sa.Float, nullable=False),
    sa.Column("level", sa.Float, nullable=False),
    sa.Column("movie", sa.Text, nullable=False),  # the raw movie as JSON
)
FEEDBACK = sa.Table(
    "feedback",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("prediction", sa.String(32), nullable=False, index=True),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("rating", sa.Float, nullable=False),
)
# What predict-upcoming said on a day of the movies that were to come out.
UPCOMING = sa.Table(
    "upcoming",
    METADATA,
    sa.Column("source", sa.String(16), primary_key=True),
    sa.Column("as_of", sa.Date, primary_key=True),
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("release_date", sa.Date, nullable=False, index=True),
    sa.Column("genres", JSON, nullable=False),
    sa.Column("original_language", sa.String(8)),
    sa.Column("poster_path", sa.Text),
    sa.Column("rating", sa.Float, nullable=False),
    sa.Column("low", sa.Float, nullable=False),
    sa.Column("high", sa.Float, nullable=False),
    sa.Column("reasons", JSON, nullable=False),
    sa.Column("model", JSON, nullable=False),  # name, version, sha256, …
)


def connect(url: str) -> sa.Engine:
    """Return an engine that waits no longer for a database than an answer may take."""
    waits = {"timeout": SECONDS}
    if not url.startswith("sqlite"):
        waits = {"connect_timeout": SECONDS, "tcp_user_timeout": 1000 * SECONDS}
    return sa.create_engine(url, connect_args=waits, pool_pre_ping=True, pool_timeout=SECONDS)
