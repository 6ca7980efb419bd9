"""An evaluation as one HTML page that opens without a server.

Invariant: whatever a prompt, an answer or a reference holds is shown as text; the page has no script and
asks nothing of any other place, and its own policy forbids both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from evals.harness.form import CaseLine, Column, Evaluation, Figure
from evals.harness.measure import mean_score, significant
from evals.harness.text import p_value
from evals.report.layout import dollars

TEMPLATE = "page.html"
MOST_CASES = 300
WIDTH, HEIGHT, EDGE = 560, 260, 44


@dataclass(frozen=True, slots=True)
class Dot:
    """One contender in the picture of cost against quality, in its units."""

    name: str
    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Tick:
    """A line of the picture's grid, with its words."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """The picture: its dots, and the grid beside them."""

    dots: Sequence[Dot]
    across: Sequence[Tick]
    up: Sequence[Tick]


def to_html(evaluation: Evaluation) -> bytes:
    """The page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("evals.harness", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"share": share, "money": money, "time": time, "p": p_value, "dollars": dollars}
    differing = [case for case in evaluation.cases if _differs(case)]
    page = environment.get_template(TEMPLATE).render(
        e=evaluation,
        whole=[c for c in evaluation.comparisons if c.slice is None],
        by_slice={(c.slice, c.column): c for c in evaluation.comparisons if c.slice is not None},
        significant=lambda p: significant(p, evaluation.confidence),
        chart=chart_of(evaluation.columns),
        size=(WIDTH, HEIGHT, EDGE),
        differing=differing[:MOST_CASES],
        differ=len(differing),
        unscored=[case for case in evaluation.cases if _unscored(case)][:MOST_CASES],
        mean_score=mean_score,
    )
    return page.encode("utf-8", "replace")


def _differs(case: CaseLine) -> bool:
    scores = {mean_score(samples) for samples in case.samples.values()} - {None}
    return len(scores) > 1


def _unscored(case: CaseLine) -> bool:
    return any(sample.score is None for samples in case.samples.values() for sample in samples)


def share(figure: Figure, signed: bool = False) -> str:
    """A share and its interval in percent."""
    if figure.value is None:
        return "no data"
    sign = "+" if signed else ""
    ends = ", ".join("?" if end is None else f"{100 * end:{sign}.1f}" for end in (figure.low, figure.high))
    return f"{100 * figure.value:{sign}.1f}% [{ends}]"


def money(figure: Figure) -> str:
    """An amount and its interval."""
    if figure.value is None or figure.low is None or figure.high is None:
        return "unknown"
    return f"{dollars(figure.value)} [{dollars(figure.low)}, {dollars(figure.high)}]"


def time(figure: Figure | None) -> str:
    """A time in milliseconds and its interval."""
    if figure is None or figure.value is None:
        return "not measured"
    ends = ", ".join("?" if end is None else f"{end:,.0f}" for end in (figure.low, figure.high))
    return f"{figure.value:,.0f} [{ends}]"


class _Placed(NamedTuple):
    name: str
    cost: float
    quality: float
    low: float
    high: float


def _placed(column: Column) -> _Placed | None:
    cost, quality = column.cost_per_1000_usd_micros.value, column.quality
    if not cost or quality.value is None or quality.low is None or quality.high is None:
        return None
    return _Placed(column.name, cost, quality.value, quality.low, quality.high)


def chart_of(columns: Sequence[Column]) -> Chart | None:
    """Cost on a logarithmic axis against quality; None where fewer than two contenders have both."""
    known = [placed for column in columns if (placed := _placed(column)) is not None]
    if len(known) < 2:
        return None
    costs = [math.log10(one.cost) for one in known]
    left, right = min(costs) - 0.15, max(costs) + 0.15
    bottom = math.floor(min(one.low for one in known) * 10) / 10
    top = math.ceil(max(one.high for one in known) * 10) / 10

    def x(cost: float) -> float:
        return EDGE + (math.log10(cost) - left) / (right - left) * (WIDTH - 2 * EDGE)

    def y(quality: float) -> float:
        return HEIGHT - EDGE - (quality - bottom) / max(top - bottom, 0.1) * (HEIGHT - 2 * EDGE)

    dots = [Dot(one.name, x(one.cost), y(one.quality), y(one.low), y(one.high)) for one in known]
    steps = range(round(bottom * 10), round(top * 10) + 1)
    across = [Tick(x(cost), f"{dollars(cost)}") for cost in sorted({one.cost for one in known})]
    return Chart(dots, across, [Tick(y(step / 10), f"{10 * step}%") for step in steps])
