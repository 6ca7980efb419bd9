"""Writes and reads the documents, each under its name.

Invariant: a document of another version, which cannot be read, is none: it is made anew soon.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from evals.frontier import FRONTIER, Frontier
from evals.summary.documents import Days, Operations, Outlook, SlicesDocument, Totals
from stepdown.ledger import Ledger
from stepdown.summaries import Kept, Summaries

__all__ = ["Kept", "keep", "newest", "to_json"]

NAMES: dict[type, str] = {
    Days: "days",
    Totals: "totals",
    Outlook: "outlook",
    SlicesDocument: "slices",
    Operations: "operations",
    Frontier: FRONTIER,
}

D = TypeVar("D", Days, Totals, Outlook, SlicesDocument, Operations, Frontier)


def to_json(document: Any) -> bytes:
    """A document as JSON; the same document gives the same bytes."""
    return msgspec.json.encode(document, order="deterministic")


def keep(ledger: Ledger, task: str, document: Any) -> None:
    """Keep a document in place of the one before.

    Raises:
        LedgerError: The ledger refused.
    """
    Summaries(ledger).keep(task, NAMES[type(document)], to_json(document))


def newest(ledger: Ledger, task: str, kind: type[D]) -> Kept[D] | None:
    """The newest document of a kind; None where there is none that can be read.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    return Summaries(ledger).read(task, NAMES[kind], kind)
