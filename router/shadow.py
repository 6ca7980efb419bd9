"""Shadow calls: the small model asked beside the strong one, unseen by the client, to learn from.

Invariant: a shadow call never delays or changes an answer; there are at most `limit` at once, and one
that finds no place is dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging

from router.attempt import Attempt
from router.metrics import Metrics
from router.upstream import Model
from stepdown.errors import LedgerError, UpstreamError
from stepdown.ledger import GroupCommit
from stepdown.records import Role, Tier

LIMIT = 256
DRAIN_S = 10.0

log = logging.getLogger(__name__)


class Shadows:
    """The shadow calls under way."""

    def __init__(self, ledger: GroupCommit, metrics: Metrics, limit: int = LIMIT) -> None:
        self._ledger = ledger
        self._metrics = metrics
        self._limit = limit
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, task: str, request: str, model: Model, body: bytes) -> bool:
        """Ask the small model in the background for a request of a task; False where there was no place."""
        if len(self._tasks) >= self._limit:
            self._metrics.shadows_dropped.inc()
            return False
        asking = asyncio.create_task(self._ask(task, request, model, body))
        self._tasks.add(asking)
        self._metrics.shadows_in_flight.set(len(self._tasks))
        asking.add_done_callback(self._finished)
        return True

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._metrics.shadows_in_flight.set(len(self._tasks))

    async def _ask(self, task: str, request: str, model: Model, body: bytes) -> None:
        attempt = Attempt(model, Tier.SMALL, Role.SHADOW)
        try:
            await attempt.open(body, stream=False)
        except UpstreamError as error:
            self._metrics.upstream_failed(model.name)
            log.info("shadow call of request %s failed: %s", request, error)
        except asyncio.CancelledError:
            attempt.fail("the proxy stopped before the answer was whole")
        records = attempt.records(request)
        try:
            await self._ledger.commit(records)
        except LedgerError as error:
            self._metrics.commit_failures.inc()
            log.error("the shadow call of request %s was not recorded: %s", request, error)
            return
        self._metrics.spent(task, records)

    async def drain(self, patience_s: float = DRAIN_S) -> None:
        """Wait for the calls under way, and break off and record those that take longer."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=patience_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
