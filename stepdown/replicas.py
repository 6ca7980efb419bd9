"""What the servers of small models were last seen to have, as the ledger keeps it.

Invariant: it is an observation, made anew at every look; whoever needs to be sure asks the server. Knows
nothing of how a server is asked.
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select

from stepdown.ledger import Ledger, schema


class State(enum.StrEnum):
    """How a server was found."""

    SERVING = "serving"
    ASLEEP = "asleep"
    AWAY = "away"


@dataclass(frozen=True, slots=True)
class Replica:
    """One server of a small model.

    Attributes:
        url: Its base URL.
        alias: The model that it serves.
        adapters: The students that it has, by served name; the values say where each comes from.
        refused: The students that it did not take, by served name: `why`, its `tries`, when `again`.
        note: What is wrong with it; empty where nothing is.
    """

    url: str
    alias: str
    at: datetime
    state: State
    adapters: Mapping[str, Any] = field(default_factory=dict)
    refused: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""


class Replicas:
    """Reads and writes what was seen."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def note(self, seen: Replica) -> None:
        """Keep what was seen of one server, in place of what was seen before.

        Raises:
            LedgerError: The ledger refused.
        """
        row = {column.name: getattr(seen, column.name) for column in schema.replicas.columns}
        self._ledger.put(schema.replicas, {**row, "state": str(seen.state)})

    def forget(self, alias: str, *, but: Collection[str]) -> None:
        """Drop what was seen of servers that a model has no more.

        Raises:
            LedgerError: The ledger refused.
        """
        table = schema.replicas
        gone = (table.c.alias == alias) & table.c.url.not_in(list(but))
        with self._ledger.writing() as connection:
            connection.execute(delete(table).where(gone))

    def all(self) -> list[Replica]:
        """Every server that was ever seen, by URL.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        table = schema.replicas
        return [
            Replica(**{**row._mapping, "state": State(row.state)})
            for row in self._ledger.rows(select(table).order_by(table.c.url))
        ]

    def asleep(self) -> frozenset[str]:
        """Aliases of the models of which some server sleeps and none serves.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        table = schema.replicas
        states: dict[str, set[str]] = defaultdict(set)
        for row in self._ledger.rows(select(table.c.alias, table.c.state)):
            states[row.alias].add(row.state)
        return frozenset(
            alias for alias, seen in states.items() if State.ASLEEP in seen and State.SERVING not in seen
        )
