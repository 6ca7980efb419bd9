"""What the workers last found of a task, kept by name for those who only show it.

Invariant: a summary is made from the ledger and may be made anew at any time; the newest replaces the one
before. Knows nothing of what is in it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

import msgspec
from sqlalchemy import select

from stepdown.ids import now
from stepdown.ledger import Ledger, schema

ALL_TASKS = ""  # the task of what is about all of them

T = TypeVar("T")


class Summary(NamedTuple):
    """What was found, as JSON, and when."""

    at: datetime
    content: bytes


class Kept(NamedTuple, Generic[T]):
    """What was found, as a value of its type, and when."""

    at: datetime
    document: T


class Summaries:
    """Reads and writes the summaries of a ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def keep(self, task: str, name: str, content: bytes) -> None:
        """Keep what was found, in place of what was found before.

        Raises:
            LedgerError: The ledger refused.
        """
        self._ledger.put(schema.summaries, {"task": task, "name": name, "at": now(), "content": content})

    def newest(self, task: str, name: str) -> Summary | None:
        """What was found last; None where nothing was yet.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        table = schema.summaries
        wanted = (table.c.task == task) & (table.c.name == name)
        found = self._ledger.rows(select(table.c.at, table.c.content).where(wanted))
        return Summary(found[0].at, found[0].content) if found else None

    def read(self, task: str, name: str, kind: type[T]) -> Kept[T] | None:
        """What was found last, as a value of a type; None where nothing was yet, or by another version.

        Who makes it makes it anew soon.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        found = self.newest(task, name)
        try:
            return Kept(found.at, msgspec.json.decode(found.content, type=kind)) if found else None
        except msgspec.DecodeError:
            return None
