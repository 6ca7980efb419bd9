"""Heartbeats: a part is healthy if it has lately done something, not if its process exists.

Invariant: a beat is written by the very machinery that it vouches for, a worker's by a task that went
through the broker. The module knows the names of the parts and nothing of how they work.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

from stepdown.errors import LedgerError
from stepdown.ids import now
from stepdown.ledger import Ledger

EVERY_S = 5.0


def worker_beat(queue: str) -> str:
    """The name under which the worker of a queue beats."""
    return f"worker:{queue}"


@contextmanager
def beating(database_url: str, name: str) -> Iterator[None]:
    """Beat for the length of a block that keeps a part from beating by itself.

    A ledger that is away for a while is tried again at the next beat.
    """
    over = threading.Event()

    def beat() -> None:
        while not over.wait(EVERY_S):
            with suppress(LedgerError), closing(Ledger(database_url, migrated=False)) as ledger:
                ledger.beat(name)

    thread = threading.Thread(target=beat, name=f"beat of {name}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@dataclass(frozen=True, slots=True)
class Pulse:
    """A look at one part's heartbeat.

    Attributes:
        database_url: The ledger.
        name: Whose beat.
        limit_s: Age from which on a beat is too old.
    """

    database_url: str
    name: str
    limit_s: float

    def beaten_since(self, moment: datetime) -> bool:
        """Whether there was a beat after a moment; False too where the ledger cannot be read."""
        last = self._last()
        return last is not None and last > moment

    def complaint(self, started: datetime) -> str | None:
        """What is wrong with a part that was started at a moment, or None.

        A part that has not beaten yet has the limit's time for its first beat.
        """
        last = self._last()
        age_s = (now() - max(started, last or started)).total_seconds()
        if age_s <= self.limit_s:
            return None
        when = "never beat" if last is None else f"last beat {(now() - last).total_seconds():.0f} s ago"
        return f"{self.name} {when}, the limit is {self.limit_s:g} s"

    def _last(self) -> datetime | None:
        try:
            ledger = Ledger(self.database_url, migrated=False)
        except LedgerError:
            return None
        try:
            return ledger.last_beat(self.name)
        except LedgerError:  # the schema may not be there yet: the first process to start makes it
            return None
        finally:
            ledger.close()
