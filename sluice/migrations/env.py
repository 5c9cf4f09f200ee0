"""Alembic's entry point. `sluice.migrate` hands the connection over; there is no alembic.ini."""

from __future__ import annotations

from alembic import context
from sqlalchemy import text

from sluice.migrate import LOCK
from sluice.names import SCHEMA
from sluice.schema import metadata

connection = context.config.attributes["connection"]

# Before Alembic reads the version: whoever comes second finds the work done. Held until the transaction ends.
connection.execute(text("SELECT pg_advisory_xact_lock(:class, :object)"), {"class": LOCK[0], "object": LOCK[1]})
# Not CREATE SCHEMA IF NOT EXISTS: that asks for the right to create schemas even where there is nothing to do.
if connection.scalar(text("SELECT to_regnamespace(:name)"), {"name": SCHEMA}) is None:
    connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))

context.configure(connection=connection, target_metadata=metadata, version_table_schema=SCHEMA)
context.run_migrations()
