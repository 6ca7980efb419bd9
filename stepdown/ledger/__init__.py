"""The ledger: every request, decision, call, label, artifact and promotion, in SQLite or PostgreSQL.

Invariant: records are appended and never changed. Nothing here knows what a record means for routing.
"""

from stepdown.ledger.group_commit import GroupCommit
from stepdown.ledger.store import Body, Ledger, Record

__all__ = ["Body", "GroupCommit", "Ledger", "Record"]
