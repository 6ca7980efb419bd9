"""The proxy as an ASGI application: its paths, its start and its end.

Invariant: whatever is asked, the answer is in OpenAI's shape and carries the `x-stepdown-` headers.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping

import msgspec

from router import metrics as exposition
from router.access import Access
from router.asgi import JSON, Endpoint, Header, Receive, Scope, Send, refusal, respond
from router.catalogue import Catalogue
from router.metrics import Metrics
from router.picking import StagesOf, plain_stages
from router.relay import refused_headers
from router.service import Service
from router.upstream import UpstreamFactory
from router.upstream.factory import read_keys, upstream_for
from router.wire import error_body
from stepdown.errors import BadRequest, StepdownError
from stepdown.ledger import Ledger
from stepdown.settings import Settings
from stepdown.tracing import open_tracing

TEXT: Header = (b"content-type", exposition.CONTENT_TYPE)

log = logging.getLogger(__name__)


class NotFound(BadRequest):
    """There is nothing at this path."""

    status = 404


class WrongMethod(BadRequest):
    """The path takes another method."""

    status = 405


def create_app(
    settings: Settings,
    *,
    environ: Mapping[str, str],
    ledger: Ledger | None = None,
    draw: Callable[[], float] = random.random,
    upstreams: UpstreamFactory = upstream_for,
    stages_of: StagesOf = plain_stages,
) -> Proxy:
    """The proxy for these settings.

    Args:
        settings: All settings.
        environ: Where the upstreams' keys are.
        ledger: An open ledger; None opens that of the settings, and closes it in the end.
        draw: Gives a random number in [0, 1) for each request.
        upstreams: Opens the upstream of a model.
        stages_of: Makes what picks among the candidates of a task's portfolio.

    Raises:
        SettingsError: A key's variable is not set, the default task has no strong model, or what makes
            traces is not installed.
    """
    metrics = Metrics()
    catalogue = Catalogue(settings)
    keys = read_keys(settings, environ)
    service = Service(
        settings,
        keys,
        catalogue,
        metrics,
        ledger=ledger,
        draw=draw,
        upstreams=upstreams,
        stages_of=stages_of,
        tracing=open_tracing(settings.tracing),
    )
    return Proxy(service, Access(settings), catalogue, metrics)


class Proxy:
    """The ASGI application; `create_app` makes one."""

    def __init__(self, service: Service, access: Access, catalogue: Catalogue, metrics: Metrics) -> None:
        self._service = service
        self._access = access
        self._metrics = metrics
        self._listing = catalogue.listing()
        self._endpoints: dict[str, tuple[str, Endpoint]] = {
            "/v1/chat/completions": ("POST", self._chat),
            "/v1/feedback": ("POST", self._feedback),
            "/v1/labels": ("POST", self._label),
            "/v1/labels/queue": ("GET", self._queue),
            "/v1/models": ("GET", self._models),
            "/healthz": ("GET", self._healthz),
            "/readyz": ("GET", self._readyz),
            "/metrics": ("GET", self._exposition),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the application's life."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        try:
            await self._endpoint(scope)(scope, receive, send)
        except BadRequest as error:
            self._metrics.refused(error.status, error.code)
            await respond(send, error.status, refusal(error), refused_headers())
        except Exception:
            log.exception("%s %s failed", scope["method"], scope["path"])
            body = error_body(
                "the proxy failed; its log says why", kind="server_error", code="internal_error"
            )
            await respond(send, 500, body, refused_headers())  # refused by the server where one has begun

    def _endpoint(self, scope: Scope) -> Endpoint:
        path, method = scope["path"], scope["method"]
        if path not in self._endpoints:
            known = ", ".join(self._endpoints)
            raise NotFound(f"there is nothing at {path!r:.200}; there is {known}", code="not_found")
        wanted, endpoint = self._endpoints[path]
        if method != wanted:
            raise WrongMethod(f"{path} takes {wanted}, not {method!r:.40}", code="method_not_allowed")
        return endpoint

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self._service.start()
        except StepdownError as error:
            await self._service.stop()
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._service.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _chat(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._service.chat or _not_started)(scope, receive, send)

    async def _feedback(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._service.feedback or _not_started)(scope, receive, send)

    async def _queue(self, scope: Scope, receive: Receive, send: Send) -> None:
        desk = self._service.desk
        await (desk.queue if desk else _not_started)(scope, receive, send)

    async def _label(self, scope: Scope, receive: Receive, send: Send) -> None:
        desk = self._service.desk
        await (desk.label if desk else _not_started)(scope, receive, send)

    async def _models(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._access.admit(dict(scope["headers"]))
        await respond(send, 200, self._listing)

    async def _healthz(self, scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, 200, b'{"status":"ok"}')

    async def _readyz(self, scope: Scope, receive: Receive, send: Send) -> None:
        missing = self._service.missing
        body = {"status": "not ready" if missing else "ready", "missing": missing}
        await respond(send, 503 if missing else 200, msgspec.json.encode(body), [JSON])

    async def _exposition(self, scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, 200, self._metrics.exposition(), [TEXT])


async def _not_started(scope: Scope, receive: Receive, send: Send) -> None:
    body = error_body("the proxy is starting or stopping; try again", kind="server_error")
    await respond(send, 503, body, refused_headers())
