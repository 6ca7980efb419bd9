"""What the chat endpoint lives on, opened together and closed together: connections, ledger, policies.

Invariant: what is still under way at the end is waited for, and the ledger is closed last.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, suppress
from typing import Any

from router.access import Access, Annotators
from router.asgi import Endpoint
from router.catalogue import Catalogue
from router.feedback import FeedbackEndpoint
from router.live_policy import LivePolicy
from router.metrics import Metrics
from router.operations_watch import OperationsWatch
from router.people.desk import LabelDesk
from router.picking import StagesOf
from router.portfolio import open_portfolios
from router.relay import ChatEndpoint
from router.server_watch import ServerWatch
from router.shadow import Shadows
from router.spans import Traced
from router.upstream import UpstreamFactory, open_models
from router.upstream.openai_shaped import open_session
from stepdown.ledger import GroupCommit, Ledger
from stepdown.registry import Registry
from stepdown.replicas import Replicas
from stepdown.settings import Settings
from stepdown.tracing import Tracing

log = logging.getLogger(__name__)


class Service:
    """The parts of a running proxy.

    Args:
        settings: All settings.
        keys: The upstreams' keys by alias.
        catalogue: What model names mean.
        metrics: Where everything is counted.
        ledger: An open ledger; None opens that of the settings, and closes it in the end.
        draw: Gives a random number in [0, 1) for each request.
        upstreams: Opens the upstream of a model.
        stages_of: Makes what picks among the candidates of a task's portfolio.
        tracing: Makes the spans of requests, where there are to be traces.

    Attributes:
        chat: The chat endpoint, once started.
        feedback: The feedback endpoint, once started.
        desk: The labelling queue, once started.
    """

    def __init__(
        self,
        settings: Settings,
        keys: Mapping[str, str | None],
        catalogue: Catalogue,
        metrics: Metrics,
        *,
        ledger: Ledger | None,
        draw: Callable[[], float],
        upstreams: UpstreamFactory,
        stages_of: StagesOf,
        tracing: Tracing | None = None,
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._catalogue = catalogue
        self._metrics = metrics
        self._ledger = ledger
        self._draw = draw
        self._upstreams = upstreams
        self._stages_of = stages_of
        self._tracing = tracing
        self._closing = AsyncExitStack()
        self._policies: LivePolicy | None = None
        self.chat: Endpoint | None = None
        self.feedback: FeedbackEndpoint | None = None
        self.desk: LabelDesk | None = None

    @property
    def missing(self) -> list[str]:
        """What is wanting before requests can be served as they should."""
        if self._policies is None:
            return ["the ledger is not open yet"]
        return [self._policies.missing] if self._policies.missing else []

    async def start(self) -> None:
        """Open everything.

        Raises:
            LedgerError: The ledger cannot be opened.
        """
        settings, metrics = self._settings, self._metrics
        if self._tracing is not None:
            self._closing.push_async_callback(asyncio.to_thread, self._tracing.close)
        ledger = self._ledger or await self._open_ledger()
        commits = GroupCommit(ledger, metrics.group_committed)
        self._closing.push_async_callback(asyncio.to_thread, commits.close)
        session = open_session(settings.proxy.connect_timeout_s)
        self._closing.push_async_callback(session.close)
        models = open_models(settings, self._keys, session, self._upstreams)
        for model in models.values():
            self._closing.push_async_callback(model.upstream.close)
        portfolios = open_portfolios(self._catalogue.tasks, models, self._stages_of, metrics)
        for portfolio in portfolios.values():
            self._closing.push_async_callback(portfolio.close)
        shadows = Shadows(commits, metrics)
        self._closing.push_async_callback(shadows.drain)
        policies = LivePolicy(
            Registry(ledger), self._catalogue.tasks, settings.models, metrics, Replicas(ledger)
        )
        await policies.refresh()
        self._policies = policies
        self._keep_running(policies.watch(settings.proxy.reload_s))
        watch = ServerWatch(Replicas(ledger), settings.models, models, metrics)
        if watch.is_needed:
            self._keep_running(watch.watch(settings.proxy.reload_s))
        access, limit = Access(settings), settings.proxy.max_body_bytes
        self._keep_running(OperationsWatch(ledger, settings, metrics.operations).watch())
        self.feedback = FeedbackEndpoint(access, ledger, commits, limit)
        self.desk = LabelDesk(Annotators(settings), self._catalogue.tasks, ledger, limit)
        chat = ChatEndpoint(
            access=access,
            catalogue=self._catalogue,
            policies=policies,
            models=models,
            portfolios=portfolios,
            ledger=commits,
            shadows=shadows,
            metrics=metrics,
            max_body_bytes=settings.proxy.max_body_bytes,
            draw=self._draw,
        )
        self.chat = chat if self._tracing is None else Traced(chat, self._tracing)

    async def _open_ledger(self) -> Ledger:
        ledger = await asyncio.to_thread(Ledger, self._settings.database_url)
        self._closing.callback(ledger.close)
        return ledger

    def _keep_running(self, watch: Coroutine[Any, Any, None]) -> None:
        watcher = asyncio.create_task(watch)

        async def stop() -> None:
            watcher.cancel()
            with suppress(asyncio.CancelledError):
                await watcher

        self._closing.push_async_callback(stop)

    async def stop(self) -> None:
        """Wait for what is under way, and close everything."""
        self.chat = self.feedback = self.desk = None
        await self._closing.aclose()
