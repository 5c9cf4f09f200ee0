"""What the pass through a large file found out, so that an import that goes on need not read it through again."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    bind = op.get_bind()
    bind.exec_driver_sql(
        "ALTER TABLE sluice.imports ADD COLUMN first_pass JSONB;"
        " COMMENT ON COLUMN sluice.imports.first_pass IS"
        " 'of a large file whose import is not complete: its stamp and its chunks'"
    )
