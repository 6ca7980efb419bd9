"""Looks how the workers and the small models' servers are, for `/metrics`, as the ledger has it.

Invariant: nothing here stops or delays a request; a ledger that cannot be read leaves the last look, whose
ages grow. Asks neither a worker nor a server itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy import select

from router.operations import Drift, Found, Operations, Seen
from stepdown.errors import LedgerError
from stepdown.heartbeat import worker_beat
from stepdown.ledger import Ledger, schema
from stepdown.records import Promotion
from stepdown.registry import Registry
from stepdown.replicas import Replica, Replicas, State
from stepdown.settings import Settings
from stepdown.students import is_served_name, served_name
from stepdown.summaries import ALL_TASKS, Summaries

EVERY_S = 5.0
SUMMARY = "operations"
BEAT = worker_beat("")
MAY_COME_BACK = 2  # students before the present one that a rollback may put in force again

log = logging.getLogger(__name__)


class OperationsWatch:
    """The watch over what is not the proxy's own.

    Args:
        ledger: Where it is read.
        settings: All settings.
        operations: Where it is shown.
    """

    def __init__(self, ledger: Ledger, settings: Settings, operations: Operations) -> None:
        self._ledger = ledger
        self._settings = settings
        self._operations = operations
        self._promotions = -1
        self._expected: dict[str, tuple[frozenset[str], frozenset[str]]] = {}
        self._unreadable: bytes | None = None

    async def watch(self, every_s: float = EVERY_S) -> None:
        """Look for ever, at once and then again and again."""
        while True:
            await self.look()
            await asyncio.sleep(every_s)

    async def look(self) -> None:
        """Look once."""
        try:
            self._operations.seen = await asyncio.to_thread(self._seen)
        except LedgerError as error:
            log.warning("how the workers are is not known: %s", error)

    def _seen(self) -> Seen:
        table = schema.heartbeats
        beats = self._ledger.rows(select(table).where(table.c.name.startswith(BEAT, autoescape=True)))
        kept = Summaries(self._ledger).newest(ALL_TASKS, SUMMARY)
        return Seen(
            beats={row.name.removeprefix(BEAT): row.at for row in beats},
            found=Found() if kept is None else self._read(kept.content),
            found_at=None if kept is None else kept.at,
            drifts=self._drifts(),
        )

    def _read(self, content: bytes) -> Found:
        try:
            return msgspec.json.decode(content, type=Found)
        except msgspec.DecodeError as error:
            if content != self._unreadable:  # said once
                self._unreadable = content
                log.warning("what the workers say of their work cannot be read: %s", error)
            return Found()

    def _drifts(self) -> list[Drift]:
        """Of the servers to which students come, and that serve."""
        models = {alias for alias, model in self._settings.models.items() if model.serving != "as_is"}
        if not models:
            return []
        self._expect(models)
        replicas = [one for one in Replicas(self._ledger).all() if one.state is State.SERVING]
        return [
            drift
            for alias in sorted(models)
            for drift in drifts_of(
                [one for one in replicas if one.alias == alias],
                *self._expected[alias],
                each=self._settings.models[alias].serving == "adapters",
            )
        ]

    def _expect(self, models: set[str]) -> None:
        """Read anew, where something was promoted since, which students a model is expected to have."""
        registry = Registry(self._ledger)
        promotions = registry.revision()
        if promotions == self._promotions:
            return
        tasks = self._settings.tasks.items()
        self._expected = {
            alias: expected_of([registry.history(name) for name, task in tasks if task.small == alias])
            for alias in models
        }
        self._promotions = promotions


def expected_of(histories: Sequence[Sequence[Promotion]]) -> tuple[frozenset[str], frozenset[str]]:
    """The students that servers must have, and those that they may have, by served name.

    Args:
        histories: Of each task of a model, its promotions, oldest first.
    """
    must: set[str] = set()
    may: set[str] = set()
    for history in histories:
        newest = list(reversed(history))
        must.update(name for one in newest[:1] for name in (one.student, one.candidate) if name)
        students = dict.fromkeys(one.student for one in newest if one.student)
        may.update(list(students)[: 1 + MAY_COME_BACK])
    return frozenset(map(served_name, must)), frozenset(map(served_name, must | may))


def drifts_of(
    replicas: Sequence[Replica], must: frozenset[str], may: frozenset[str], *, each: bool
) -> list[Drift]:
    """By how much the servers of one model differ from what they should have.

    Args:
        replicas: The servers.
        must: Students in force or on trial.
        may: These, and those that a rollback may put in force again.
        each: Whether every server has all students; else one server is enough for each student.
    """
    anywhere = frozenset[str]().union(*(_students(one.adapters) for one in replicas))
    return [
        Drift(
            one.alias,
            one.url,
            missing=len(must - (_students(one.adapters) if each else anywhere)),
            extra=len(_students(one.adapters) - may),
        )
        for one in replicas
    ]


def _students(adapters: Mapping[str, object]) -> frozenset[str]:
    return frozenset(name for name in adapters if is_served_name(name))
