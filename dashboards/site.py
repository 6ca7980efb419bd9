"""What every page has: the ledger, the settings, who asks, and the frame around it.

Invariant: a page's function gets a `Visit` of somebody who may see it; one that acts gets a `Form` whose
token was checked. Whatever goes wrong is a page too, and says what happened and what to do. A page's function
is plain and runs in a thread, so that a slow query keeps nobody else waiting.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote, unquote, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from dashboards.access import COOKIE, Doors, Person
from dashboards.ahead import Ahead, Preview
from dashboards.asked import check_text, path_of, query_of, read_fields, theme_of
from dashboards.events import EventStream
from dashboards.refusals import LABELS_PATH, ONLY_LABELS, refusal
from dashboards.render import Renderer
from dashboards.session import Session
from dashboards.shelf import Shelf
from stepdown.errors import BadRequest, Forbidden, Unauthorized
from stepdown.ledger import Ledger
from stepdown.settings import DEFAULT_TASK, Settings

FLASH = "stepdown_said"
TOKEN = "token"
MAX_SAID_BYTES = 3_000  # browsers drop a cookie of more than 4,096 bytes
SIGN_OUT_PATH = "/sign-out"
THEME_PATH = "/theme"
NOBODY = Person("")
FOR_EVERYBODY = (LABELS_PATH, SIGN_OUT_PATH, THEME_PATH)

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Site:
    """What pages are made from.

    Attributes:
        ledger: Where everything is.
        settings: All settings.
        environ: Where the keys of models are.
        doors: Who is let in.
        renderer: Makes HTML.
        kept_s: How old that may be which takes long to make, in seconds; 0 makes it anew for each visit.
        shelf: Where it is kept.
        ahead: Draws pages before somebody asks for them, once it was started.
    """

    ledger: Ledger
    settings: Settings
    environ: Mapping[str, str]
    doors: Doors
    renderer: Renderer
    kept_s: float
    shelf: Shelf = field(default_factory=Shelf)
    ahead: Ahead = field(default_factory=Ahead)

    @property
    def tasks(self) -> list[str]:
        """The declared tasks."""
        return list(self.settings.tasks) or [DEFAULT_TASK]


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of somebody who is let in.

    Attributes:
        site: What the page is made from.
        person: Who asks.
        session: Of their browser.
        path: Of the page, as it is asked for.
        query: The query, the last value of each name.
        names: The variable parts of the path.
        theme: `light` or `dark` where the person chose one; else empty.
        kept_s: How old that may be which takes long to make, in seconds.
        said: What the action before this page has to say.
        is_part: Whether htmx asks for a part of the page.
    """

    site: Site
    person: Person
    session: Session
    path: str
    query: Mapping[str, str]
    names: Mapping[str, str]
    kept_s: float
    theme: str = ""
    said: str = ""
    is_part: bool = False

    @property
    def task(self) -> str:
        """The task that the page is about.

        Raises:
            BadRequest: There is none of that name.
        """
        named = self.query.get("task")
        if named is None:
            return self.site.tasks[0]
        if named not in self.site.tasks:
            known = ", ".join(self.site.tasks)
            raise NotThere(f"task {named!r:.200} is not declared; declared: {known}", param="task")
        return named

    @property
    def address(self) -> str:
        """Of the page, with its query: where to come back to."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path

    @property
    def section(self) -> str:
        """The page among those of the menu: the beginning of the path."""
        return "/" + self.path.split("/")[1]

    def kept(self, name: str, make: Callable[[], T]) -> T:
        """What takes long to make, as it was lately made for this task: it must not depend on who asks."""
        return self.site.shelf.take((self.task, name), make, self.kept_s)

    def render(self, template: str, **values: Any) -> Response:
        """The page, or the part of it that a template is."""
        return HTMLResponse(self.site.renderer.render(template, self, values))

    def link(self, path: str, **query: Any) -> str:
        """The address of a page, about the same task."""
        kept = {"task": self.task, **{k: v for k, v in query.items() if v not in (None, "")}}
        return f"{path}?{urlencode(kept)}"


class NotThere(BadRequest):
    """There is no such thing."""

    status = 404


@dataclass(frozen=True, slots=True)
class Form:
    """What somebody sent with a form: the last value of each field."""

    fields: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        """A field that must be there."""
        if name not in self.fields:
            raise BadRequest(f"the form has no field {name!r}; load the page again", param=name)
        return self.fields[name]

    def get(self, name: str, default: str = "") -> str:
        """A field that may be absent."""
        return self.fields.get(name, default)

    def whole(self, name: str) -> int:
        """A field that is a whole number."""
        try:
            return int(self[name])
        except ValueError:
            raise BadRequest(f"{name} = {self[name]!r:.100} is not a whole number", param=name) from None


Page = Callable[[Visit], Response]
Action = Callable[[Visit, Form], Response]
Answer = Callable[[Visit, Request], Awaitable[Response]]
Streams = Callable[[Visit, Form], AsyncGenerator[bytes, None]]


def page(site: Site, path: str, function: Page) -> Route:
    """A route that shows something."""

    async def show(visit: Visit, _: Request) -> Response:
        response = await run_in_threadpool(function, visit)
        if (task := visit.query.get("task", site.tasks[0])) in site.tasks:
            site.ahead.saw(task)
        return response

    return Route(path, partial(_serve, site, show), methods=["GET"])


def action(site: Site, path: str, function: Action) -> Route:
    """A route that changes something, by a form."""

    async def act(visit: Visit, request: Request) -> Response:
        return await run_in_threadpool(function, visit, await read_form(visit, request))

    return Route(path, partial(_serve, site, act), methods=["POST"])


def stream(site: Site, path: str, function: Streams) -> Route:
    """A route that answers a form bit by bit, by server-sent events, in the event loop and not in a thread.

    What goes wrong once it has begun, the function has to say in its own events.
    """
    return Route(path, partial(_serve_stream, site, function), methods=["POST"])


def preview(
    site: Site, path: str, function: Page, query: Mapping[str, str], *, is_arrival: bool = False
) -> Preview:
    """A page to be drawn ahead, as nobody in particular would ask for it."""

    def see(task: str) -> Response:
        session = site.doors.visit()
        asked = {"task": task, **query}
        return function(Visit(site, NOBODY, session, path, asked, names={}, kept_s=0.0))

    return Preview(see, is_arrival)


def done(visit: Visit, path: str, said: str) -> Response:
    """Go on to a page, which says what was done."""
    response = RedirectResponse(path, status_code=303)
    response.set_cookie(FLASH, _fitting(said), max_age=60, httponly=True, samesite="strict", path="/")
    return response


def _fitting(said: str) -> str:
    """What was said as the text of a cookie, cut to what fits."""
    quoted = quote(said, errors="replace")
    while len(quoted) > MAX_SAID_BYTES:
        said = said[: len(said) * MAX_SAID_BYTES // len(quoted)]
        quoted = quote(f"{said} …", errors="replace")
    return quoted


async def _serve(site: Site, answer: Answer, request: Request) -> Response:
    started = time.perf_counter()
    try:
        visit = await enter(site, request)
        response = await answer(visit, request)
        _keep_cookies(visit, request, response)
    except Exception as error:
        response = refusal(site, request, error)
    response.headers["server-timing"] = f"page;dur={1000 * (time.perf_counter() - started):.1f}"
    return response


async def _serve_stream(site: Site, function: Streams, request: Request) -> Response:
    try:
        visit = await enter(site, request)
        return EventStream(function(visit, await read_form(visit, request)))
    except Exception as error:
        return refusal(site, request, error)


def _keep_cookies(visit: Visit, request: Request, response: Response) -> None:
    """A new session is kept, and what an action said is said once.

    A session that the browser has already is not sent again: an answer that comes late would undo a sign-out.
    """
    cookie = visit.site.doors.cookie(visit.session)
    if request.cookies.get(COOKIE) != cookie:
        response.set_cookie(COOKIE, cookie, httponly=True, samesite="strict", path="/")
    if visit.said and request.method == "GET" and not visit.is_part:
        response.delete_cookie(FLASH, path="/", httponly=True, samesite="strict")


async def enter(site: Site, request: Request) -> Visit:
    """Who asks, for what.

    Raises:
        Unauthorized: They have to sign in.
        Forbidden: They may not see this page, or came by a wrong name.
        BadRequest: The path or the query cannot be read.
    """
    site.doors.check_host(request.headers.get("host", ""))
    session = site.doors.session_of(request.cookies)
    if session is None:
        if not site.doors.is_open:
            raise Unauthorized("sign in to see this page", code="no_session")
        session = site.doors.visit()
    person = site.doors.person(session)
    path = path_of(request)
    check_text("path", path)
    if person.only_labels and not _is_for_everybody(path):
        raise Forbidden("this key opens the labelling page alone", code=ONLY_LABELS)
    return Visit(
        site=site,
        person=person,
        session=session,
        path=path,
        query=query_of(request),
        names={name: str(value) for name, value in request.path_params.items()},
        kept_s=site.kept_s,
        theme=theme_of(request),
        said=unquote(request.cookies.get(FLASH, "")),
        is_part="hx-request" in request.headers,
    )


def _is_for_everybody(path: str) -> bool:
    return any(path == one or path.startswith(f"{one}/") for one in FOR_EVERYBODY)


async def read_form(visit: Visit, request: Request) -> Form:
    """The form of a request, its token checked.

    Raises:
        BadRequest: It is too large or cannot be read.
        Forbidden: It does not come from a page of this dashboard.
    """
    form = Form(await read_fields(request))
    token = form.get(TOKEN) or request.headers.get("x-token", "")
    visit.site.doors.check_form(request.headers, token, visit.session)
    return form
