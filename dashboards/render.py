"""Templates to HTML, and how numbers, times and texts are written on a page.

Invariant: whatever a template is given is shown as text; only `Markup` made by this room is HTML. A template
that names what it was not given fails.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from dashboards.amounts import dollars
from stepdown import __version__
from stepdown.ids import now

if TYPE_CHECKING:
    from dashboards.site import Visit

HERE = Path(__file__).parent
STATIC = HERE / "static"
NO_DATA = "no data"

# The pages, in the order in which a task's life goes through them.
PAGES = (
    ("/", "Overview"),
    ("/frontier", "Frontier"),
    ("/slices", "Slices"),
    ("/requests", "Requests"),
    ("/playground", "Playground"),
    ("/labels", "Labels"),
    ("/students", "Students"),
    ("/nights", "Nights"),
    ("/promotions", "Promotions"),
)


class Renderer:
    """Makes HTML from the templates of this room."""

    def __init__(self) -> None:
        self._environment = environment = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters |= {
            "dollars": dollars_of,
            "money": money,
            "percent": percent,
            "share": share,
            "count": count,
            "ms": milliseconds,
            "seconds": seconds,
            "when": when,
            "ago": ago,
            "short": short,
            "usd": dollars,
        }
        environment.globals |= {"asset": asset, "version": __version__, "pages": PAGES, "now": now}

    def warm(self) -> None:
        """Compile all templates, so that the first visitor of a page does not wait for it."""
        for name in self._environment.list_templates():
            self._environment.get_template(name)

    def render(self, template: str, visit: Visit, values: Mapping[str, Any]) -> str:
        """A page within its frame, or a part of one."""
        token = visit.site.doors.token(visit.session)
        return self._environment.get_template(template).render(visit=visit, token=token, **values)

    def bare(self, template: str, **values: Any) -> str:
        """A page that knows of nobody: to sign in, or where something went wrong."""
        return self._environment.get_template(template).render(**values)


@cache
def asset(name: str) -> str:
    """The address of a file of this dashboard; another one whenever its content is."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={digest}"


def dollars_of(micros: float | None) -> str:
    """An amount in micro-dollars, or that it is not known."""
    return "unknown" if micros is None else dollars(micros)


def money(amount: Any) -> Markup:
    """An amount with its interval: anything with `value`, `low`, `high` and `n`."""
    if amount is None:
        return _no_data()
    if not amount.n:
        return Markup("<span class=figure>{}</span>").format(dollars(amount.value))
    ends = f"{dollars(amount.low)} to {dollars(amount.high)}"
    return Markup("<span class=figure>{}</span> <span class=interval>{} · n={:,}</span>").format(
        dollars(amount.value), ends, amount.n
    )


def percent(estimate: Any, signed: bool = False) -> Markup:
    """A share with its interval and n, in percent: anything with `value`, `low`, `high` and `n`."""
    if estimate is None or not estimate.n or math.isnan(estimate.value):
        return _no_data()
    sign = "+" if signed else ""
    ends = f"{100 * estimate.low:{sign}.1f} to {100 * estimate.high:{sign}.1f}"
    return Markup("<span class=figure>{:{}.1f}%</span> <span class=interval>{} · n={:,}</span>").format(
        100 * estimate.value, sign, ends, estimate.n
    )


def _no_data() -> Markup:
    return Markup("<span class=none>{}</span>").format(NO_DATA)


def share(value: float | None, digits: int = 1) -> str:
    """A share in percent, without an interval because it is known."""
    return NO_DATA if value is None or math.isnan(value) else f"{100 * value:.{digits}f}%"


def count(value: float | None) -> str:
    """A whole number."""
    return NO_DATA if value is None else f"{value:,.0f}"


def milliseconds(value: float | None) -> str:
    """A time that was measured in milliseconds."""
    if value is None or math.isnan(value):
        return "not measured"
    return f"{value:,.0f} ms" if value < 10_000 else f"{value / 1000:,.1f} s"


def seconds(value: float | None) -> str:
    """A length of time."""
    if value is None:
        return "not measured"
    if value < 90:
        return f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def when(at: datetime | None) -> Markup:
    """A moment, for people and for programs."""
    if at is None:
        return Markup("<span class=none>never</span>")
    return Markup('<time datetime="{}">{:%Y-%m-%d %H:%M:%S} UTC</time>').format(at.isoformat(), at)


def ago(at: datetime | None) -> Markup:
    """How long ago a moment was."""
    if at is None:
        return Markup("<span class=none>never</span>")
    return Markup('<time datetime="{}" title="{:%Y-%m-%d %H:%M:%S} UTC">{}</time>').format(
        at.isoformat(), at, _ago(now() - at)
    )


def _ago(age: timedelta) -> str:
    past = age.total_seconds()
    if past < 0:
        return f"in {seconds(-past)}"
    if past < 172_800:
        return f"{seconds(past)} ago"
    return f"{past / 86_400:.0f} days ago"


def short(name: str | None, length: int = 12) -> Markup:
    """The beginning of an id; the whole of it on asking."""
    if not name:
        return Markup("<span class=none>none</span>")
    return Markup('<code title="{}">{}</code>').format(name, name[:length])
