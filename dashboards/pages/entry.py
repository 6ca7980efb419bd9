"""The way in and out, and the choice of light or dark."""

from __future__ import annotations

from functools import partial

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from dashboards.access import COOKIE
from dashboards.site import (
    LABELS_PATH,
    MAX_FORM_BYTES,
    SIGN_IN_PATH,
    THEME,
    Form,
    Site,
    Visit,
    action,
    read_query,
    refusal,
)
from stepdown.errors import BadRequest, StepdownError, Unauthorized

THEMES = ("light", "dark", "")
A_YEAR_S = 31_536_000


def routes(site: Site) -> list[Route]:
    """The routes of this page."""
    return [
        Route(SIGN_IN_PATH, partial(_show_sign_in, site), methods=["GET"]),
        Route(SIGN_IN_PATH, partial(_sign_in, site), methods=["POST"]),
        action(site, "/sign-out", sign_out),
        action(site, "/theme", choose_theme),
    ]


async def _show_sign_in(site: Site, request: Request) -> Response:
    try:
        site.doors.check_host(request.headers.get("host", ""))
    except StepdownError as error:
        return refusal(site, request, error)
    if site.doors.is_open:
        return RedirectResponse("/", status_code=303)
    return _form(site, request, _inside(request.query_params.get("to", "/")), "", 200)


def _form(site: Site, request: Request, to: str, said: str, status: int) -> Response:
    theme = request.cookies.get(THEME, "")
    return HTMLResponse(site.renderer.bare("sign_in.html", to=to, said=said, theme=theme), status_code=status)


async def _sign_in(site: Site, request: Request) -> Response:
    # There is no session yet to have a token of; a page elsewhere that sends this gains nothing by it.
    to = "/"
    try:
        site.doors.check_host(request.headers.get("host", ""))
        if request.headers.get("sec-fetch-site") not in (None, "same-origin", "none"):
            raise BadRequest("sign in on a page of this dashboard")
        body = await request.body()
        if len(body) > MAX_FORM_BYTES:
            raise BadRequest("a key is shorter than that")
        form = read_query(body.decode("ascii", "replace"))
        to = _inside(form.get("to", "/"))
        session = site.doors.sign_in(form.get("key", ""))
    except Unauthorized as error:
        return _form(site, request, to, str(error), 401)
    except StepdownError as error:
        return refusal(site, request, error)
    only_labels = site.doors.person(session).only_labels
    response = RedirectResponse(LABELS_PATH if only_labels else to, status_code=303)
    response.set_cookie(COOKIE, site.doors.cookie(session), httponly=True, samesite="strict", path="/")
    return response


def _inside(path: str) -> str:
    """A path of this dashboard; the first page for anything else."""
    is_inside = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_inside else "/"


def sign_out(visit: Visit, form: Form) -> Response:
    """End the session of this browser."""
    response = RedirectResponse(SIGN_IN_PATH, status_code=303)
    response.delete_cookie(COOKIE)
    return response


def choose_theme(visit: Visit, form: Form) -> Response:
    """Keep the choice of light or dark, or what the system says."""
    theme = form.get("theme")
    if theme not in THEMES:
        raise BadRequest(f"theme = {theme!r:.40} is neither light nor dark", param="theme")
    response = RedirectResponse(_inside(form.get("to", "/")), status_code=303)
    response.set_cookie(THEME, theme, max_age=A_YEAR_S, httponly=True, samesite="strict", path="/")
    return response
