"""Tells pools which of their servers rest, and the metrics how each was last seen, as the ledger has it.

Invariant: what was seen long ago keeps no server from being asked, unless it sleeps. Asks no server itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from router.metrics import Metrics
from router.upstream import Model
from router.upstream.pool import Pool
from stepdown.errors import LedgerError
from stepdown.ids import now
from stepdown.replicas import Replica, Replicas, State
from stepdown.settings import ModelSettings

OLD = timedelta(minutes=2)

log = logging.getLogger(__name__)


class ServerWatch:
    """The watch over the servers of all models.

    Args:
        replicas: What was seen of the servers.
        settings: The models' settings by alias.
        models: The models by alias.
        metrics: Where it is shown.
    """

    def __init__(
        self,
        replicas: Replicas,
        settings: Mapping[str, ModelSettings],
        models: Mapping[str, Model],
        metrics: Metrics,
    ) -> None:
        self._replicas = replicas
        self._pools = {a: m.upstream for a, m in models.items() if isinstance(m.upstream, Pool)}
        self._metrics = metrics
        self.is_needed = any(
            len(model.servers) > 1 or model.serving != "as_is" or model.sleeps for model in settings.values()
        )

    async def watch(self, every_s: float) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(every_s)
            await self.look()

    async def look(self) -> None:
        """Look once; a ledger that cannot be read leaves everything as it is."""
        try:
            seen = await asyncio.to_thread(self._replicas.all)
        except LedgerError as error:
            log.warning("what the servers of small models do is not known: %s", error)
            return
        for alias, pool in self._pools.items():
            pool.rest(resting([one for one in seen if one.alias == alias], now()))
        for one in seen:
            self._metrics.server_seen(
                one.alias,
                one.url,
                serves=one.state is State.SERVING,
                students=len(one.adapters),
                refused=len(one.refused),
                wrong=bool(one.note),
            )


def resting(seen: Sequence[Replica], at: datetime) -> frozenset[str]:
    """The URLs of servers that should be sent nothing: that sleep, or were away a moment ago."""
    return frozenset(
        one.url
        for one in seen
        if one.state is State.ASLEEP or (one.state is State.AWAY and at - one.at < OLD)
    )
