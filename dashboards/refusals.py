"""Whatever goes wrong as a page that says what happened, or the way to sign in.

Invariant: a fault of the dashboard itself says no more than that; what it was goes to the log.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from dashboards.asked import path_of, theme_of
from stepdown.errors import BadRequest, Forbidden, LedgerError, StepdownError, Unauthorized

if TYPE_CHECKING:
    from dashboards.site import Site

LABELS_PATH = "/labels"
SIGN_IN_PATH = "/sign-in"
ONLY_LABELS = "only_labels"

log = logging.getLogger(__name__)


def refusal(site: Site, request: Request, error: Exception) -> Response:
    """A page that says what was wrong, or the way to sign in."""
    if isinstance(error, Unauthorized) and path_of(request) != SIGN_IN_PATH:
        return _to_sign_in(request)
    status, said = _said_of(error)
    if status >= 500:
        fault = error if status == 500 else None
        log.warning("%s %s: %s", request.method, path_of(request), said, exc_info=fault)
    only_labels = isinstance(error, Forbidden) and error.code == ONLY_LABELS
    page = site.renderer.bare(
        "error.html",
        status=status,
        title=HTTPStatus(status).phrase,
        said=said,
        theme=theme_of(request),
        onward=(LABELS_PATH, "the labels") if only_labels else ("/", "the overview"),
    )
    headers = error.headers if isinstance(error, HTTPException) else None
    return HTMLResponse(page, status_code=status, headers=headers)


def _to_sign_in(request: Request) -> Response:
    """The way to sign in, and from there to what was asked for."""
    if "hx-request" in request.headers:  # htmx would put the page in the place of a part
        return Response(status_code=401, headers={"hx-redirect": SIGN_IN_PATH})
    if request.method != "GET":
        return RedirectResponse(SIGN_IN_PATH, status_code=303)
    query = request.scope["query_string"].decode("ascii", "ignore")
    to = f"{path_of(request)}?{query}" if query else path_of(request)
    return RedirectResponse(f"{SIGN_IN_PATH}?{urlencode({'to': to})}", status_code=303)


def _said_of(error: Exception) -> tuple[int, str]:
    """The status of what went wrong, and what to say of it."""
    if isinstance(error, HTTPException):
        return error.status_code, error.detail
    if isinstance(error, BadRequest):
        return error.status, str(error)
    if isinstance(error, StepdownError):
        return 503 if isinstance(error, LedgerError) else 409, str(error)
    return 500, "the dashboard has a fault here; its log says more"
