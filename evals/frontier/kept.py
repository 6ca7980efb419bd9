"""The frontier that the workers kept last of a task, for those who only show it."""

from __future__ import annotations

from evals.frontier.tree import FRONTIER, Frontier
from stepdown.ledger import Ledger
from stepdown.summaries import Summaries


def kept_frontier(ledger: Ledger, task: str) -> Frontier | None:
    """The newest one; None where none was kept, or by another version.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    kept = Summaries(ledger).read(task, FRONTIER, Frontier)
    return kept.document if kept else None
