"""The tables as they were before revisions: each is made where it is not there, and left as it is where it is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
JSON = sa.JSON().with_variant(postgresql.JSONB, "postgresql")


def upgrade() -> None:
    """Make the tables that are missing; a database may have those of the flows, of the service, or of both."""
    op.create_table(
        "movies",
        sa.Column("source", sa.String(16), primary_key=True),
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("imdb_id", sa.String(16)),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("original_title", sa.Text),
        sa.Column("overview", sa.Text),
        sa.Column("tagline", sa.Text),
        sa.Column("genres", JSON),
        sa.Column("release_date", sa.Date),
        sa.Column("original_language", sa.String(8)),
        sa.Column("spoken_languages", JSON),
        sa.Column("runtime", sa.Float),
        sa.Column("budget", sa.Float),
        sa.Column("production_companies", JSON),
        sa.Column("production_countries", JSON),
        sa.Column("belongs_to_collection", JSON),
        sa.Column("cast", JSON),
        sa.Column("directors", JSON),
        sa.Column("writers", JSON),
        sa.Column("producers", JSON),
        sa.Column("cinematographers", JSON),
        sa.Column("composers", JSON),
        sa.Column("editors", JSON),
        sa.Column("vote_average", sa.Float),
        sa.Column("vote_count", sa.BigInteger),
        sa.Column("popularity", sa.Float),
        sa.Column("revenue", sa.Float),
        sa.Column("status", sa.String(32)),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "predictions",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("route", sa.String(32), nullable=False),
        sa.Column("model", sa.String(64), nullable=False),
        sa.Column("version", sa.String(32), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("rating", sa.Float, nullable=False),
        sa.Column("low", sa.Float, nullable=False),
        sa.Column("high", sa.Float, nullable=False),
        sa.Column("level", sa.Float, nullable=False),
        sa.Column("movie", sa.Text, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "feedback",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("prediction", sa.String(32), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("rating", sa.Float, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "upcoming",
        sa.Column("source", sa.String(16), primary_key=True),
        sa.Column("as_of", sa.Date, primary_key=True),
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("release_date", sa.Date, nullable=False),
        sa.Column("genres", JSON, nullable=False),
        sa.Column("original_language", sa.String(8)),
        sa.Column("poster_path", sa.Text),
        sa.Column("rating", sa.Float, nullable=False),
        sa.Column("low", sa.Float, nullable=False),
        sa.Column("high", sa.Float, nullable=False),
        sa.Column("reasons", JSON, nullable=False),
        sa.Column("model", JSON, nullable=False),
        if_not_exists=True,
    )
    for table, column in (
        ("movies", "imdb_id"),
        ("movies", "release_date"),
        ("predictions", "at"),
        ("feedback", "prediction"),
        ("upcoming", "release_date"),
    ):
        op.create_index(f"ix_{table}_{column}", table, [column], if_not_exists=True)
