"""The dashboard as an ASGI application: its pages, its files, and the way in.

Invariant: it holds nothing but connections and a key; two of them over one ledger show the same. What it
shows, the pages in `dashboards.pages` know.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from dashboards.access import Doors, check_dashboard
from dashboards.pages import ROUTES
from dashboards.refusals import refusal
from dashboards.render import STATIC, Renderer
from dashboards.security import HEADERS, SecurityHeaders
from dashboards.session import open_signer
from dashboards.site import Site
from stepdown.ledger import Ledger
from stepdown.settings import Settings

A_YEAR_S = 31_536_000
LEAST_GZIPPED = 1000


def create_app(
    settings: Settings,
    *,
    ledger: Ledger,
    environ: Mapping[str, str] = os.environ,
    kept_s: float = 0.0,
) -> Starlette:
    """The dashboard for these settings; its `state.site` is what its pages are made from.

    Args:
        settings: All settings.
        ledger: An open ledger.
        environ: Where the keys of models are, for the playground.
        kept_s: How old that may be which takes long to make, in seconds; 0 makes it anew for each visit.

    Raises:
        SettingsError: It would be open to other machines, or its key cannot be kept.
    """
    check_dashboard(settings)
    doors = Doors(settings, open_signer(Path(settings.home).absolute()))
    site = Site(ledger, settings, environ, doors, Renderer(), kept_s)

    async def wrong(request: Request, error: Exception) -> Response:
        return refusal(site, request, error)

    async def fault(request: Request, error: Exception) -> Response:
        response = refusal(site, request, error)
        response.headers.update(HEADERS)  # what fails beyond every other handler passes no middleware
        return response

    routes: list[BaseRoute] = [
        Route("/healthz", _healthz),
        Mount("/static", Assets(directory=STATIC)),
        *(route for routes in ROUTES for route in routes(site)),
    ]
    middleware = [Middleware(SecurityHeaders), Middleware(GZipMiddleware, minimum_size=LEAST_GZIPPED)]
    handlers: Mapping[Any, Any] = {HTTPException: wrong, Exception: fault}
    app = Starlette(routes=routes, middleware=middleware, exception_handlers=handlers)
    app.state.site = site
    return app


async def _healthz(request: Request) -> Response:
    return PlainTextResponse("ok")


class Assets(StaticFiles):
    """Files whose address changes with their content, which browsers may keep."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """One file."""
        response = await super().get_response(path, scope)
        if scope.get("query_string"):
            response.headers["cache-control"] = f"public, max-age={A_YEAR_S}, immutable"
        return response
