"""The frontier that the workers kept last of a task, for those who only show it."""

from __future__ import annotations

import msgspec

from evals.frontier.tree import FRONTIER, Frontier, from_json
from stepdown.ledger import Ledger
from stepdown.summaries import Summaries


def kept_frontier(ledger: Ledger, task: str) -> Frontier | None:
    """The newest one; None where none was kept, or by another version.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    summary = Summaries(ledger).newest(task, FRONTIER)
    try:
        return from_json(summary.content) if summary else None
    except msgspec.DecodeError:  # the next report keeps one of this version
        return None
