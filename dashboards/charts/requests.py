"""The gain that a router expected, beside its threshold. Pure."""

from __future__ import annotations

import math
from typing import Any, Literal

import altair as alt

from dashboards.charts.svg import AnyChart
from dashboards.charts.theme import BOUND, FAINT, GRID, SMALL, STRONG, WIDTH
from dashboards.charts.values import chart_of

HEIGHT = 64
_LINE, _ABOVE, _BELOW = 30, 10, 52  # pixels from the top


def gain_chart(gain: float, threshold: float) -> AnyChart:
    """Where a gain lies: left of the threshold small answers, right of it strong.

    Args:
        gain: p(strong good) - p(small good), in [-1, 1].
        threshold: Likewise; minus infinity keeps everything on strong, and is drawn at the left end.
    """
    at = max(-1.0, min(1.0, threshold)) if not math.isnan(threshold) else -1.0
    reach = max(0.1, math.ceil(10 * max(abs(gain), abs(at)) + 0.5) / 10)  # with room for the words
    scale = alt.Scale(domain=[-100 * reach, 100 * reach], nice=False)
    axis = alt.Axis(
        title="gain of asking strong, in points of probability", tickCount=5, format="+d", offset=4
    )
    x = alt.X("x:Q", scale=scale, axis=axis)
    colour = SMALL if gain <= threshold else STRONG
    takes_small = f"small up to {100 * at:+.1f}" if math.isfinite(threshold) else "never small"
    layers = [
        _bar(-reach, at, SMALL, x),
        _bar(at, reach, STRONG, x),
        chart_of(_at(at)).mark_rule(color=BOUND, strokeWidth=1.5).encode(x=x),
        _text(_at(at, takes_small), "left" if at < reach / 2 else "right", _ABOVE, FAINT, x),
        chart_of(_at(gain)).mark_point(color=colour, size=160, y=_LINE, stroke=GRID, opacity=1).encode(x=x),
        _text(_at(gain, f"{100 * gain:+.0f}"), "center", _BELOW, colour, x),
    ]
    return alt.layer(*layers).properties(width=WIDTH, height=HEIGHT)


def _at(x: float, text: str = "") -> list[dict[str, Any]]:
    return [{"x": round(100 * x, 2), "text": text}]


def _bar(low: float, high: float, colour: str, x: alt.X) -> alt.Chart:
    values = [{"x": round(100 * low, 2), "x2": round(100 * high, 2)}]
    bar = chart_of(values).mark_bar(color=colour, opacity=0.35, height=8, y=_LINE, cornerRadiusEnd=0)
    return _chart(bar.encode(x=x, x2="x2:Q"))


def _text(
    values: list[dict[str, Any]], align: Literal["left", "right", "center"], y: int, colour: str, x: alt.X
) -> alt.Chart:
    shift = {"left": 5, "right": -5, "center": 0}[align]
    text = chart_of(values).mark_text(align=align, dx=shift, y=y, color=colour)
    return _chart(text.encode(x=x, text="text:N"))


def _chart(encoded: Any) -> alt.Chart:
    chart: alt.Chart = encoded  # the library says nothing of what `encode` gives
    return chart
