"""The overview's charts with their words and their tables.

Invariant: whatever a chart shows is in its table too, with n and interval. A chart that has nothing to show
says what it waits for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from markupsafe import Markup

from dashboards.charts import overview as charts
from dashboards.charts.overview import Line, Part, Point, Series
from dashboards.charts.svg import AnyChart, draw
from dashboards.queries.overview import Requests, Speed, Traffic, read_traffic
from dashboards.queries.overview_history import NAMES, Estimated, History, fits, history_of
from dashboards.queries.period import Period, period_of
from dashboards.render import dollars_of, milliseconds, share
from dashboards.site import Visit
from evals.summary.documents import Days, Totals
from stepdown.records import HUNG_UP, Mode, Tier

NO_REQUEST = "No request came in this period."
NOT_YET = "The workers make it with their next report."
UNMEASURED = (
    "It is measured on explored requests of mode route, from the promotion of the router in force on. "
    "None since has both answers labelled yet."
)
WEEK = timedelta(days=7)
LONGEST_NAME = 30  # of a model on a chart; the table has all of it


@lru_cache(maxsize=256)
def drawn(chart: Callable[..., AnyChart], shown: tuple[Any, ...], label: str, table: Table) -> Markup:
    """A chart of values with its table; the same values are drawn once."""
    return draw(chart(*shown), label, table.header, table.rows)


class Table(NamedTuple):
    """What a chart shows, as text."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Figure(NamedTuple):
    """A chart on the page.

    Attributes:
        name: For links within the page.
        drawn: The chart; empty where there is nothing to show.
        missing: What it waits for; empty where it is drawn.
        note: What to know to read it.
        path: Of the page that explains it; `link` is its words.
        keys: What the colours stand for.
    """

    name: str
    title: str
    drawn: Markup
    missing: str
    note: str
    path: str
    link: str
    keys: tuple[Series, ...] = ()


def figures(
    visit: Visit, period: Period, traffic: Traffic, days: Days | None, totals: Totals | None
) -> list[Figure]:
    """All charts but that of latency, in their order.

    What is kept by the day is shown for a week where a day was asked for.
    """
    money = (
        period if days is None or fits(days, period) else period_of("7d", period.until, period.since - WEEK)
    )
    calls = traffic.calls if money is period else read_traffic(visit.site.ledger, visit.task, money).calls
    history = history_of(days, money, calls) if days else None
    return [
        _spend(visit, money.whole, history),
        _saved(visit, money.whole, history),
        _quality(visit, money.whole, history, totals),
        _coverage(visit, period.whole, traffic),
        _requests(visit, period.whole, traffic),
    ]


def _spend(visit: Visit, period: Period, history: History | None) -> Figure:
    title = f"Spent, by {period.step}"
    link = (visit.link("/requests"), "The requests")
    if history is None or not history.spent:
        return _empty("spend", title, history.why if history and history.why else NOT_YET, link)
    parts = tuple(Part(one.start, one.part, one.usd_micros / 1e6) for one in history.spent)
    spent = {(one.start, one.part): one.usd_micros for one in history.spent}
    rows = tuple(
        (
            period.shown(one.start),
            *(dollars_of(spent.get((one.start, name), 0)) for name in NAMES),
            *_money_cells(one),
        )
        for one in history.on_strong
    )
    label = f"What was spent in each {period.step} by part, and what always-strong would have cost"
    table = Table(("From", *NAMES, "always strong", "interval", "n"), rows)
    chart = drawn(charts.spend, (period, parts, _dollars(history.on_strong)), label, table)
    note = "The dashed line is what strong alone would have cost, with its interval."
    if history.unbilled:
        note += f" {history.unbilled} steps have no bill: {history.why}."
    return Figure("spend", title, chart, "", note, *link, tuple(charts.present(charts.PARTS, parts)))


def _money_cells(one: Estimated) -> tuple[str, str, str]:
    if not one.n:
        return dollars_of(one.value), "known", "all"
    return dollars_of(one.value), f"{dollars_of(one.low)} to {dollars_of(one.high)}", f"{one.n:,}"


def _saved(visit: Visit, period: Period, history: History | None) -> Figure:
    title, link = "Net saving, added up", (visit.link("/frontier"), "What would save more")
    if history is None or not history.saved:
        return _empty("saved", title, history.why if history and history.why else NOT_YET, link)
    since = period.shown(history.saved[0].start)
    rows = tuple((period.shown(one.start), *_money_cells(one)) for one in history.saved)
    table = Table(("Up to", "saved", "interval", "n"), rows)
    chart = drawn(
        charts.saved, (period, _dollars(history.saved)), f"Net saving since {since}, added up", table
    )
    note = f"Since {since}, less all that was spent to learn. Ends of intervals are added, which errs wide."
    return Figure("saved", title, chart, "", note, *link)


def _quality(visit: Visit, period: Period, history: History | None, totals: Totals | None) -> Figure:
    title, link = "Quality against always strong", (visit.link("/frontier"), "The frontier and the bound")
    if history is None or totals is None or not history.quality:
        return _empty("quality", title, UNMEASURED if history else NOT_YET, link)
    points = tuple(Point(one.start, one.value, one.low, one.high) for one in history.quality)
    rows = tuple(
        (
            period.shown(one.start),
            f"{100 * one.value:+.1f}%",
            f"{100 * one.low:+.1f} to {100 * one.high:+.1f}",
            f"{one.n:,}",
        )
        for one in history.quality
    )
    label = "Quality less that of always-strong on explored requests so far, and the bound on its loss"
    table = Table(("Up to", "difference", "interval", "n"), rows)
    note = (
        "All explored requests since the router in force, up to each point; an interval holds for its "
        "point alone, and the longest ones are cut."
    )
    chart = drawn(charts.quality, (period, points, totals.bound), label, table)
    return Figure("quality", title, chart, "", note, *link)


def _coverage(visit: Visit, period: Period, traffic: Traffic) -> Figure:
    title, link = "Who answered, by mode", (visit.link("/promotions"), "When the mode changed")
    parts = _counted(traffic, lambda row: _who(row.mode, row.answered))
    if not parts:
        return _empty("coverage", title, NO_REQUEST, link)
    names = tuple(one.name for one in charts.WHO)
    rows = tuple((period.shown(start), *_shares(counts)) for start, counts in _by_start(parts, names))
    label = f"Which model answered what share of the requests of each {period.step}, by mode"
    chart = drawn(charts.coverage, (period, parts), label, Table(("From", *names, "requests"), rows))
    note = "Every request is counted, so there is no interval."
    return Figure("coverage", title, chart, "", note, *link, tuple(charts.present(charts.WHO, parts)))


def _counted(traffic: Traffic, series: Callable[[Requests], str]) -> tuple[Part, ...]:
    counts: dict[tuple[datetime, str], int] = defaultdict(int)
    for row in traffic.requests:
        counts[row.start, series(row)] += row.requests
    return tuple(Part(*key, amount) for key, amount in sorted(counts.items()))


def _by_start(parts: Sequence[Part], names: Sequence[str]) -> Iterator[tuple[datetime, list[int]]]:
    counts = {(part.start, part.series): int(part.amount) for part in parts}
    for start in sorted({part.start for part in parts}):
        yield start, [counts.get((start, name), 0) for name in names]


def _shares(counts: Sequence[int]) -> tuple[str, ...]:
    whole = sum(counts)
    return *(share(one / whole if whole else None) for one in counts), f"{whole:,}"


def _who(mode: str, answered: str) -> str:
    if not answered:
        return "nobody"
    if answered == Tier.SMALL:
        return "small"
    return f"strong in mode {mode or Mode.STRONG}"


def _requests(visit: Visit, period: Period, traffic: Traffic) -> Figure:
    title = f"Requests, by {period.step}"
    link = (visit.link("/requests", since=period.query), "Those requests")
    parts = _counted(traffic, lambda row: _fate(row.status))
    if not parts:
        return _empty("requests", title, NO_REQUEST, link)
    names = tuple(one.name for one in charts.FATES)
    rows = tuple((period.shown(at), *map("{:,}".format, counts)) for at, counts in _by_start(parts, names))
    label = f"Requests of each {period.step}"
    chart = drawn(charts.requests, (period, parts), label, Table(("From", *names), rows))
    note = (
        f"{traffic.total:,} requests; {traffic.failed:,} got an error, and at {traffic.left:,} the client "
        "left first."
    )
    keys = tuple(charts.present(charts.FATES, parts))
    return Figure("requests", title, chart, "", note, *link, keys if len(keys) > 1 else ())


def _fate(status: int) -> str:
    if status == HUNG_UP:
        return "client left"
    return "failed" if status >= 500 else "answered"


def speed_figure(visit: Visit, speeds: Sequence[Speed], since: datetime) -> Figure:
    """The chart of latency."""
    title, link = "How long answers take", (visit.link("/requests"), "The requests")
    if not speeds:
        return _empty("latency", title, "No call was answered in this period.", link)
    lines = tuple(
        Line(one.model, _said(one), one.tier == Tier.SMALL, one.p50_ms, one.p95_ms) for one in speeds
    )
    header = ("Model", "answered", "p50", "p95", "first token p50", "first token p95", "timed")
    rows = tuple(
        (
            one.model,
            f"{one.calls:,}",
            *map(milliseconds, (one.p50_ms, one.p95_ms, one.ttft_p50_ms, one.ttft_p95_ms)),
            f"{one.ttft_calls:,}",
        )
        for one in speeds
    )
    label = "From the median to the 95th percentile of each model's answers to clients, in milliseconds"
    note = (
        f"From the median (p50) to the 95th percentile (p95), since {since:%Y-%m-%d %H:%M}. Every answered "
        "call is counted, in steps of 19%, so a number is off by less than that."
    )
    return Figure(
        "latency", title, drawn(charts.speeds, (lines,), label, Table(header, rows)), "", note, *link
    )


def _said(speed: Speed) -> str:
    name = speed.model if len(speed.model) <= LONGEST_NAME else f"{speed.model[: LONGEST_NAME - 1]}…"
    return f"{name}: p50 {milliseconds(speed.p50_ms)}, p95 {milliseconds(speed.p95_ms)}"


def _dollars(points: Sequence[Estimated]) -> tuple[Point, ...]:
    return tuple(Point(one.start, one.value / 1e6, one.low / 1e6, one.high / 1e6) for one in points)


def _empty(name: str, title: str, missing: str, link: tuple[str, str]) -> Figure:
    return Figure(name, title, Markup(""), missing, "", *link)
