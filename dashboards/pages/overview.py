"""The overview: what was spent and saved, what it cost in quality, and what is missing.

Invariant: everything is read from counted hours, from documents that workers keep and from small tables;
where a document is not there yet, the page says so and shows the rest. What is counted and drawn may be some
seconds old, and says how old; what is in force, and whether something is wrong, is of the visit itself.
"""

from __future__ import annotations

from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from dashboards.ahead import Preview
from dashboards.charts.theme import VARIABLES
from dashboards.pages.overview_figures import figures, speed_figure
from dashboards.pages.overview_words import bill_lines, headline, stats, steps_of
from dashboards.queries.nights import night_status
from dashboards.queries.overview import first_hour, read_live, read_speeds, read_traffic
from dashboards.queries.overview_alarms import read_alarms
from dashboards.queries.period import DEFAULT, WORDS, check_range, period_of
from dashboards.site import Site, Visit, page, preview
from evals.summary.documents import Days, Outlook, Totals
from evals.summary.kept import newest
from stepdown.ids import now
from stepdown.records import Mode, Promotion
from stepdown.registry import Registry

PATH = "/"
LIVE_PATH = "/overview/live"


def routes(site: Site) -> list[Route]:
    """The routes of this page."""
    return [page(site, PATH, overview), page(site, LIVE_PATH, live)]


def previews(site: Site) -> list[Preview]:
    """Each period, that of the arrival first."""
    names = sorted(WORDS, key=lambda name: name != DEFAULT)
    return [preview(site, PATH, overview, {"range": name}, is_arrival=name == DEFAULT) for name in names]


def overview(visit: Visit) -> Response:
    """Show it."""
    ledger, task, at = visit.site.ledger, visit.task, now()
    check_range(name := visit.query.get("range", DEFAULT))
    counted = visit.kept(f"overview {name}", lambda: _counted(visit, name))
    current = Registry(ledger).current(task)
    outlook = newest(ledger, task, Outlook)
    return visit.render(
        "overview.html",
        **counted,
        current=current,
        mode=current.mode if current else Mode.STRONG,
        live=read_live(ledger, task, at),
        outlook=outlook.document if outlook else None,
        headline=headline(outlook.document) if outlook else "",
        alarms=read_alarms(ledger, visit.site.settings, task, outlook.document.alarms if outlook else (), at),
        missing=steps_of(outlook.document) if outlook else [],
        night=night_status(ledger, visit.site.settings, task),
        watches=_watches(current),
        variables=VARIABLES,
        every_s=visit.site.settings.worker.report_every_s,
    )


def _counted(visit: Visit, name: str) -> dict[str, Any]:
    """What is drawn and summed up over a period: one look at the ledger, so that all of it agrees."""
    ledger, task, at = visit.site.ledger, visit.task, now()
    period = period_of(name, at, first_hour(ledger, task))
    kept, days = newest(ledger, task, Totals), newest(ledger, task, Days)
    totals = kept.document if kept else None
    window = totals.windows.get(period.name) if totals else None
    traffic = read_traffic(ledger, task, period)
    return {
        "at": at,
        "period": period,
        "totals": totals,
        "window": window,
        "traffic": traffic,
        "stats": stats(visit, period, traffic, totals, window),
        "figures": figures(visit, period, traffic, days.document if days else None, totals),
        "speed": speed_figure(visit, *read_speeds(ledger, task, period)),
        "bill": bill_lines(window.bill) if window and window.bill else [],
    }


def live(visit: Visit) -> Response:
    """Show how busy the task is, and nothing else."""
    return visit.render("overview_live.html", live=read_live(visit.site.ledger, visit.task, now()))


def _watches(current: Promotion | None) -> list[dict[str, Any]]:
    """What the candidate on trial was watched by when it was last moved, as its promotion has it."""
    if current is None or current.candidate is None:
        return []
    found = current.evidence.get("watches", ())
    return [watch for watch in found if {"name", "rate", "n", "limit"} <= set(watch)]
