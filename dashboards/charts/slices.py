"""The kinds of query as pictures: how good both models are on each, and where the money goes.

Invariant: each picture has one row a slice, in the order given, and every estimate has its interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import altair as alt

from dashboards.charts.svg import AnyChart
from dashboards.charts.theme import BOUND, QUIET, SAVED, SMALL, STRONG, TEXT, WIDTH
from dashboards.charts.values import chart_of
from evals.summary.documents import Measured

ROW_HEIGHT = 28
NAME_WIDTH = 150
TONES = {"good": SAVED, "bad": BOUND, "": QUIET}
PERCENT = alt.Axis(format=".0%", title=None, values=[0, 0.25, 0.5, 0.75, 1], grid=True)


class Row(NamedTuple):
    """What is drawn of one slice.

    Attributes:
        strong: Quality of the strong model; likewise `small`.
        share: Of the requests.
        cost_share: Of what answers cost, or None where that is not known.
        tone: Of its verdict: `good`, `bad`, or empty where nothing can be said.
    """

    name: str
    strong: Measured
    small: Measured
    share: Measured
    cost_share: float | None
    tone: str


def quality_chart(rows: Sequence[Row]) -> AnyChart:
    """Quality of both models on each slice, on one axis from nothing to all good."""
    values = [
        {"slice": row.name, "model": model, "value": good.value, "low": good.low, "high": good.high}
        for row in rows
        for model, good in (("strong", row.strong), ("small", row.small))
        if good.n
    ]
    base = chart_of(values).encode(
        y=_names(rows),
        yOffset=alt.YOffset("model:N", sort=["strong", "small"], scale=alt.Scale(paddingInner=0.1)),
        color=alt.Color(
            "model:N", scale=alt.Scale(domain=["strong", "small"], range=[STRONG, SMALL]), legend=None
        ),
    )
    scale = alt.Scale(domain=[0, 1], nice=False)
    spans = base.mark_rule(strokeWidth=3, strokeDash=[1, 0], opacity=0.4, strokeCap="round").encode(
        x=alt.X("low:Q", scale=scale, axis=PERCENT), x2="high:Q"
    )
    dots = base.mark_point(size=60, filled=True, opacity=1).encode(
        x=alt.X("value:Q", scale=scale, axis=PERCENT)
    )
    return _sized(alt.layer(spans, dots), rows)


def cost_chart(rows: Sequence[Row]) -> AnyChart:
    """Each slice's share of the cost, in the colour of its verdict; a tick is its share of the requests."""
    values = [
        {"slice": row.name, "cost": row.cost_share or 0.0, "share": row.share.value, "tone": row.tone}
        for row in rows
    ]
    base = chart_of(values).encode(y=_names(rows))
    axis = alt.Axis(format=".0%", title=None, tickCount=5, grid=True)
    colour = alt.Color("tone:N", scale=alt.Scale(domain=list(TONES), range=list(TONES.values())), legend=None)
    bars = base.mark_bar(height=12).encode(x=alt.X("cost:Q", axis=axis), color=colour)
    ticks = base.mark_tick(thickness=2, height=18, color=TEXT).encode(x=alt.X("share:Q", axis=axis))
    return _sized(alt.layer(bars, ticks), rows)


def _names(rows: Sequence[Row]) -> alt.Y:
    axis = alt.Axis(title=None, labelLimit=NAME_WIDTH, labelOverlap=False, minExtent=NAME_WIDTH)
    return alt.Y("slice:N", sort=[row.name for row in rows], axis=axis)


def _sized(chart: AnyChart, rows: Sequence[Row]) -> AnyChart:
    return chart.properties(width=WIDTH - NAME_WIDTH, height=ROW_HEIGHT * max(1, len(rows)))
