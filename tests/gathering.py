"""What test ledgers are written by, record by record or many in one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from stepdown.ledger import Ledger, Record


@dataclass
class Gathering:
    """Writes records at once, or gathers those of a block."""

    ledger: Ledger
    _gathered: list[Record] | None = field(default=None, init=False)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Commit what is written in the block in one transaction, at its end."""
        self._gathered = []
        yield
        records, self._gathered = self._gathered, None
        self.ledger.append(records)

    def keep(self, *records: Record) -> None:
        """Write records, now or at the end of the block."""
        if self._gathered is None:
            self.ledger.append(records)
        else:
            self._gathered += records
