"""The tables of the warehouse that the service writes or reads, and how it connects."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

SECONDS = 5
JSON = sa.JSON().with_variant(postgresql.JSONB, "postgresql")
METADATA = sa.MetaData()
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
