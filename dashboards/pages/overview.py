"""The overview: what was spent and saved, what it cost in quality, and what is missing."""

from __future__ import annotations

from starlette.responses import Response
from starlette.routing import Route

from dashboards.site import Site, Visit, page


def routes(site: Site) -> list[Route]:
    """The routes of this page."""
    return [page(site, "/", overview)]


def overview(visit: Visit) -> Response:
    """Show it."""
    return visit.render("overview.html")
