"""The warehouse: the database of tables for people and for the service."""

from __future__ import annotations

import sqlalchemy as sa

from serving.migrating import migrate
from settings import get_settings, make_room


def connect() -> sa.Engine:
    """Open the warehouse, with its tables as this code knows them."""
    engine = sa.create_engine(make_room(get_settings().warehouse_url.get_secret_value(), "WAREHOUSE_URL"))
    migrate(engine)
    return engine
