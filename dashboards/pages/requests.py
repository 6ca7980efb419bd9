"""The ledger's requests: search, filter, follow.

Invariant: a page shows what was found within its budget of time, says how far back it looked, and links to
where it goes on.
"""

from __future__ import annotations

import hashlib
from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from dashboards.explain import REASONS, reason_words
from dashboards.queries.filters import FIELDS, Filters, Held, Outcome, Place, filters_of, place_in
from dashboards.queries.requests import PAGE, Found, Search
from dashboards.site import Site, Visit, page
from stepdown.records import Mode, Tier

PATH = "/requests"
ROWS_PATH = f"{PATH}/rows"
LIVE_EVERY_S = 2
BUDGET_S = 0.12
LIVE_BUDGET_S = 0.06
OUTCOMES = {
    Outcome.ANSWERED: "answered",
    Outcome.REFUSED: "refused (4xx)",
    Outcome.HUNG_UP: "client hung up",
    Outcome.FAILED: "failed (5xx)",
}
VERDICTS = {
    Held.GOOD: "good",
    Held.BAD: "bad",
    Held.UNSCORED: "could not be scored",
    Held.UNLABELLED: "no label yet",
}


def routes(site: Site) -> list[Route]:
    """The routes of this page."""
    return [page(site, PATH, requests), page(site, ROWS_PATH, rows)]


def requests(visit: Visit) -> Response:
    """Show the requests that fit."""
    filters = filters_of(visit.query)
    is_live = visit.query.get("live") == "1"
    found = _found(visit, filters, is_live)
    return visit.render(
        "requests.html",
        path=PATH,
        filters=filters,
        given=filters.given,
        choices=_choices(visit),
        is_live=is_live,
        live_every_s=LIVE_EVERY_S,
        links=_links(visit, filters, found),
        **_shown(filters, found),
    )


def rows(visit: Visit) -> Response:
    """The newest requests that fit, for a page that follows them; nothing where they are those it has."""
    filters = filters_of(visit.query)
    values = _shown(filters, _found(visit, filters, True))
    if values["seen"] == visit.query.get("seen"):
        return Response(status_code=204)
    return visit.render("request_rows.html", **values)


def _found(visit: Visit, filters: Filters, is_live: bool) -> Found:
    newer, older = visit.query.get("newer", ""), visit.query.get("older", "")
    place = None if is_live or not (newer or older) else place_in(newer or older)
    budget_s, goes_newer = (LIVE_BUDGET_S, False) if is_live else (BUDGET_S, bool(newer))
    return Search(visit.site.ledger, visit.task, filters, budget_s=budget_s, newer=goes_newer).run(place)


def _shown(filters: Filters, found: Found) -> dict[str, Any]:
    """What the list of requests is made from."""
    ids = "\n".join(f"{line.id} {line.held} {line.cost_usd_micros}" for line in found.lines)
    return {
        "found": found,
        "lines": found.lines,
        "seen": hashlib.sha256(ids.encode()).hexdigest()[:16],
        "is_filtered": bool(filters.given),
        "reason_words": reason_words,
        "verdicts": VERDICTS,
    }


def _links(visit: Visit, filters: Filters, found: Found) -> dict[str, str]:
    """Where to go from here; what is not there has no link."""
    towards_newer = "newer" in visit.query
    links = {"live": {"live": "1"}, "newest": {}}
    ends = [str(Place(line.at, line.id)) for line in found.lines]
    if towards_newer and found.goes_on is not None:
        links["newer"] = {"newer": str(found.goes_on)}
    if towards_newer and ends:
        links["older"] = {"older": ends[-1]}
    if not towards_newer and found.goes_on is not None:
        links["older"] = {"older": str(found.goes_on)}
    if not towards_newer and "older" in visit.query:
        links["newer"] = {"newer": ends[0] if ends else visit.query["older"]}
    return {name: visit.link(PATH, **filters.given, **more) for name, more in links.items()}


def _choices(visit: Visit) -> dict[str, Any]:
    return {
        "models": sorted({"stepdown", *visit.site.settings.models}),
        "tiers": list(Tier),
        "modes": list(Mode),
        "reasons": REASONS,
        "outcomes": OUTCOMES,
        "verdicts": VERDICTS,
        "page": PAGE,
        "fields": list(FIELDS),
    }
