"""The way in and out, and the choice of light or dark."""

from __future__ import annotations

from functools import partial

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from dashboards.access import COOKIE, is_by_https, is_from_elsewhere
from dashboards.asked import THEME, THEMES, query_of, read_fields, theme_of
from dashboards.refusals import LABELS_PATH, SIGN_IN_PATH, refusal
from dashboards.site import SIGN_OUT_PATH, THEME_PATH, Form, Site, Visit, action
from stepdown.errors import BadRequest, Forbidden, StepdownError, Unauthorized

A_YEAR_S = 31_536_000


def routes(site: Site) -> list[Route]:
    """The routes of this page."""
    return [
        Route(SIGN_IN_PATH, partial(_show_sign_in, site), methods=["GET"]),
        Route(SIGN_IN_PATH, partial(_sign_in, site), methods=["POST"]),
        action(site, SIGN_OUT_PATH, sign_out),
        action(site, THEME_PATH, choose_theme),
    ]


async def _show_sign_in(site: Site, request: Request) -> Response:
    try:
        site.doors.check_host(request.headers.get("host", ""))
        to = _inside(query_of(request).get("to", "/"))
    except StepdownError as error:
        return refusal(site, request, error)
    return RedirectResponse("/", 303) if site.doors.is_open else _form(site, request, to, "", 200)


def _form(site: Site, request: Request, to: str, said: str, status: int) -> Response:
    page = site.renderer.bare("sign_in.html", to=to, said=said, theme=theme_of(request))
    return HTMLResponse(page, status_code=status)


async def _sign_in(site: Site, request: Request) -> Response:
    # There is no session yet to have a token of; that no other page signs somebody in, the browser says.
    to = "/"
    try:
        site.doors.check_host(request.headers.get("host", ""))
        if is_from_elsewhere(request.headers):
            raise Forbidden("sign in on a page of this dashboard")
        form = await read_fields(request)
        to = _inside(form.get("to", "/"))
        session = site.doors.sign_in(form.get("key", ""))
    except Unauthorized as error:
        return _form(site, request, to, str(error), 401)
    except StepdownError as error:
        return refusal(site, request, error)
    only_labels = site.doors.person(session).only_labels
    response = RedirectResponse(LABELS_PATH if only_labels else to, status_code=303)
    cookie, by_https = site.doors.cookie(session), is_by_https(request.headers)
    response.set_cookie(COOKIE, cookie, secure=by_https, httponly=True, samesite="strict", path="/")
    return response


def _inside(path: str) -> str:
    """A path of this dashboard; the first page for anything else."""
    is_inside = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_inside else "/"


def sign_out(visit: Visit, form: Form) -> Response:
    """End the session of this browser."""
    response = RedirectResponse(SIGN_IN_PATH, status_code=303)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return response


def choose_theme(visit: Visit, form: Form) -> Response:
    """Keep the choice of light or dark, or what the system says."""
    theme = form.get("theme")
    if theme not in THEMES:
        raise BadRequest(f"theme = {theme!r:.40} is neither light nor dark", param="theme")
    response = RedirectResponse(_inside(form.get("to", "/")), status_code=303)
    response.set_cookie(THEME, theme, max_age=A_YEAR_S, httponly=True, samesite="strict", path="/")
    return response
