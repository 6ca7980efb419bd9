"""The query-type map: which kinds of query there are, what each costs, and whether it may step down.

Invariant: every figure is one that the workers keep. A page reads the texts of its examples and, of one slice
the newest requests, and reckons nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from markupsafe import Markup
from starlette.responses import Response
from starlette.routing import Route

from dashboards.ahead import Preview
from dashboards.charts.slices import Row, cost_chart, quality_chart
from dashboards.charts.svg import draw
from dashboards.figures import amount, estimate, percent_text
from dashboards.queries.slices import LOOKED_AT, Asked, newest_of, requests_of
from dashboards.render import share
from dashboards.site import NotThere, Site, Visit, page, preview
from evals.slices.verdict import May
from evals.summary.documents import Measured, SliceLine, SlicesDocument
from evals.summary.kept import Kept, newest
from stepdown.errors import BadRequest

PATH = "/slices"
MOST_DRAWN = 20
PER_REQUESTS = 1_000
LONGEST_TEXT = 20_000  # characters of a prompt that are shown


class Verdict(NamedTuple):
    """How a verdict is shown."""

    said: str
    tone: str
    order: int


class Column(NamedTuple):
    """A column of the table, and how it sorts; None sorts last either way."""

    name: str
    title: str
    hint: str
    key: Callable[[SliceLine], Any]
    is_number: bool = True


def _value(found: Measured | None) -> float | None:
    return found.value if found is not None and found.n else None


COLUMNS = (
    Column("name", "Slice", "", lambda line: line.name.casefold(), False),
    Column("may", "May step down", "", lambda line: (verdict_of(line).order, line.more or 0), False),
    Column("cost", "Of the cost", "share of what answers cost", lambda line: line.cost_share),
    Column("share", "Of requests", "", lambda line: _value(line.share)),
    Column("strong", "Strong good", "share of strong's answers", lambda line: _value(line.strong)),
    Column("small", "Small good", "share of small's answers", lambda line: _value(line.small)),
    Column("on_strong", "1,000 on strong", "what they cost", lambda line: _value(line.cost_strong)),
    Column("on_small", "1,000 on small", "what they cost", lambda line: _value(line.cost_small)),
    Column("saved", "Saved", "on 1,000 requests of the task", lambda line: _value(line.saving)),
)
VERDICTS = {"may": "may step down", "open": "not known yet", "not": "may not"}
TONES = {"may": "good", "open": "", "not": "bad"}
BY_VERDICT = {May.YES: "may", May.NEED: "open", May.NO_UNLESS: "open", May.NO: "not"}


@dataclass(frozen=True, slots=True)
class Wish:
    """What of the map is asked for, and in which order."""

    text: str = ""
    verdict: str = ""
    sort: str = "cost"
    descends: bool = True

    def fits(self, line: SliceLine) -> bool:
        """Whether a slice is asked for."""
        said = " ".join((line.id, line.name, *line.terms)).casefold()
        is_wanted = not self.verdict or BY_VERDICT[May(line.may)] == self.verdict
        return is_wanted and self.text.casefold() in said

    def ordered(self, lines: Iterable[SliceLine]) -> list[SliceLine]:
        """The slices that are asked for, in order."""
        key = next(column.key for column in COLUMNS if column.name == self.sort)
        wanted = [line for line in lines if self.fits(line)]
        known = sorted((line for line in wanted if key(line) is not None), key=key, reverse=self.descends)
        return [*known, *(line for line in wanted if key(line) is None)]


def routes(site: Site) -> list[Route]:
    """The routes of this page."""
    return [page(site, PATH, slices), page(site, f"{PATH}/{{id}}", one_slice)]


def previews(site: Site) -> list[Preview]:
    """The page as it is before anything is asked of it."""
    return [preview(site, PATH, slices, {})]


def slices(visit: Visit) -> Response:
    """Show the map."""
    kept, wish = newest(visit.site.ledger, visit.task, SlicesDocument), wish_of(visit.query)
    if kept is None or not kept.document.rows:
        return visit.render("slices.html", kept=kept, **_nothing())
    lines = wish.ordered(kept.document.rows)
    firsts = {line.id: line.examples[0] for line in lines if line.examples}
    examples = requests_of(visit.site.ledger, list(firsts.values()))
    return visit.render(
        "slices.html",
        kept=kept,
        lines=lines,
        examples={name: examples[first] for name, first in firsts.items() if first in examples},
        heads=_heads(visit, wish),
        wish=wish,
        verdicts=VERDICTS,
        counts=_counts(kept.document.rows),
        pictures=_pictures(tuple(lines[:MOST_DRAWN])),
        drawn=min(MOST_DRAWN, len(lines)),
        verdict_of=verdict_of,
        estimate=estimate,
        amount=amount,
    )


def one_slice(visit: Visit) -> Response:
    """Show one slice with its newest requests."""
    kept: Kept[SlicesDocument] | None = newest(visit.site.ledger, visit.task, SlicesDocument)
    wanted = visit.names["id"]
    line = next((line for line in kept.document.rows if line.id == wanted), None) if kept else None
    if kept is None or line is None:
        raise NotThere(
            f"task {visit.task!r} has no slice {wanted!r:.200} now; slices are found anew each day"
        )
    ledger = visit.site.ledger
    examples = requests_of(ledger, line.examples)
    return visit.render(
        "slice.html",
        kept=kept,
        line=line,
        verdict=verdict_of(line),
        examples=[examples[one] for one in line.examples if one in examples],
        newest=newest_of(ledger, visit.task, line.id),
        tags=_tags(examples.values()),
        most_looked_at=LOOKED_AT,
        longest=LONGEST_TEXT,
        estimate=estimate,
        amount=amount,
        per=PER_REQUESTS,
    )


def wish_of(query: Mapping[str, str]) -> Wish:
    """What a query asks for.

    Raises:
        BadRequest: There is no such order or verdict.
    """
    sort, verdict, order = (query.get(name, "") for name in ("sort", "verdict", "order"))
    if sort and sort not in [column.name for column in COLUMNS]:
        raise BadRequest(f"sort = {sort!r:.40} is no column of the slices", param="sort")
    if verdict and verdict not in VERDICTS:
        raise BadRequest(
            f"verdict = {verdict!r:.40} is none; there are {', '.join(VERDICTS)}", param="verdict"
        )
    if order not in ("", "up", "down"):
        raise BadRequest(f"order = {order!r:.40} is neither up nor down", param="order")
    descends = order == "down" if order else _descends_first(sort or "cost")
    return Wish(query.get("q", "").strip(), verdict, sort or "cost", descends)


def verdict_of(line: SliceLine) -> Verdict:
    """How a slice's verdict is shown."""
    may = May(line.may)
    if may is May.NEED:
        more = "over 100,000" if line.more is None else f"{line.more:,}"
        return Verdict(f"needs {more} more labels", "", 1)
    shown = {
        May.YES: Verdict("yes", "good", 0),
        May.NO_UNLESS: Verdict("not at this rate", "warn", 2),
        May.NO: Verdict("no", "bad", 3),
    }
    return shown[may]


def _descends_first(sort: str) -> bool:
    """Which way a column sorts when it is chosen: amounts from the largest down."""
    return sort not in ("name", "may")


def _nothing() -> dict[str, Any]:
    return {"lines": [], "counts": [], "pictures": None}


class _Head(NamedTuple):
    """The head of a column: `sorted` as aria-sort has it, or empty."""

    title: str
    hint: str
    link: str
    sorted: str
    is_number: bool


def _heads(visit: Visit, wish: Wish) -> list[_Head]:
    return [_head(visit, wish, column) for column in COLUMNS]


def _head(visit: Visit, wish: Wish, column: Column) -> _Head:
    is_chosen = column.name == wish.sort
    descends = not wish.descends if is_chosen else _descends_first(column.name)
    link = visit.link(
        PATH, q=wish.text, verdict=wish.verdict, sort=column.name, order="down" if descends else "up"
    )
    direction = ("descending" if wish.descends else "ascending") if is_chosen else ""
    return _Head(column.title, column.hint, link, direction, column.is_number)


class _Counted(NamedTuple):
    """Slices with one kind of verdict, and what share of the cost they are."""

    verdict: str
    said: str
    slices: int
    cost_share: float


def _counts(lines: Sequence[SliceLine]) -> list[_Counted]:
    found = []
    for verdict, said in VERDICTS.items():
        some = [line for line in lines if BY_VERDICT[May(line.may)] == verdict]
        found.append(_Counted(verdict, said, len(some), sum(line.cost_share or 0.0 for line in some)))
    return found


@lru_cache(maxsize=64)
def _pictures(lines: tuple[SliceLine, ...]) -> dict[str, Markup] | None:
    if not lines:
        return None
    rows = [
        Row(
            line.name,
            line.strong,
            line.small,
            line.share,
            line.cost_share,
            TONES[BY_VERDICT[May(line.may)]],
        )
        for line in lines
    ]
    quality = draw(
        quality_chart(rows),
        "Share of good answers of the strong and of the small model on each slice, with intervals",
        ("slice", "strong", "small"),
        [(row.name, percent_text(row.strong), percent_text(row.small)) for row in rows],
    )
    cost = draw(
        cost_chart(rows),
        "Each slice's share of the cost and of the requests",
        ("slice", "of the cost", "of the requests", "may step down"),
        [
            (row.name, share(row.cost_share), percent_text(row.share), verdict_of(line).said)
            for row, line in zip(rows, lines, strict=True)
        ],
    )
    return {"quality": quality, "cost": cost}


def _tags(asked: Iterable[Asked]) -> list[str]:
    """The tags that callers sent with some requests."""
    return sorted({one.tag for one in asked if one.tag})
