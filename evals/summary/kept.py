"""Writes and reads the documents, each under its name.

Invariant: a document of another version, which cannot be read, is none: it is made anew soon.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from evals.frontier import FRONTIER, Frontier
from evals.summary.documents import Days, Operations, Outlook, SlicesDocument, Totals
from stepdown.ledger import Ledger
from stepdown.summaries import Summaries

NAMES: dict[type, str] = {
    Days: "days",
    Totals: "totals",
    Outlook: "outlook",
    SlicesDocument: "slices",
    Operations: "operations",
    Frontier: FRONTIER,
}
EVERYBODY = ""  # the task of what is about all tasks

D = TypeVar("D", Days, Totals, Outlook, SlicesDocument, Operations, Frontier)


class Kept(NamedTuple, Generic[D]):
    """A document and when it was kept."""

    at: datetime
    document: D


def to_json(document: Any) -> bytes:
    """A document as JSON; the same document gives the same bytes."""
    return msgspec.json.encode(document, order="deterministic")


def from_json(content: bytes, kind: type[D]) -> D:
    """A document as it was kept.

    Raises:
        msgspec.DecodeError: It is none of this kind.
    """
    return msgspec.json.decode(content, type=kind)


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
    kept = Summaries(ledger).newest(task, NAMES[kind])
    if kept is None:
        return None
    try:
        return Kept(kept.at, from_json(kept.content, kind))
    except msgspec.DecodeError:
        return None
