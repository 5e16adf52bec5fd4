"""What Alembic runs: on the connection that `serving.migrating` gives, or, from its own command line, on WAREHOUSE_URL.

alembic revision --autogenerate --rev-id 0002 -m "what changes"
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import context

from serving.migrating import REVISION, alone
from serving.tables import METADATA, connect
from settings import get_settings


def is_ours(name: str | None, kind: str, parents: Any) -> bool:
    """Leave out what MLflow, Optuna or Prefect keep in the same database."""
    return kind != "table" or name in METADATA.tables


def run(connection: sa.Connection) -> None:
    """Run what was asked for within the transaction of a connection."""
    # In batches: SQLite cannot alter a column otherwise.
    context.configure(
        connection=connection, target_metadata=METADATA, version_table=REVISION.name, include_name=is_ours,
        render_as_batch=True,
    )  # fmt: skip
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    with alone(connect(get_settings().warehouse_url.get_secret_value())) as connection:
        run(connection)
