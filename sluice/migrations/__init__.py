"""The ledger's migrations (Alembic), run by `sluice.ledger.ensure_ledger`, never by hand.

A change of `sluice/schema.py` needs a new file in `versions/`, named after its revision, and `HEAD` moved to it;
tests hold the three together. A released version is never edited.
"""

from __future__ import annotations

#: The newest revision. Kept here as a constant, so that "is the ledger up to date?" needs neither Alembic nor
#: SQLAlchemy (0.3 s of imports), only one query.
HEAD = "0002"
