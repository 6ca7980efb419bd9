"""The charts of the overview. Pure: values in, charts out.

Invariant: time runs from the first bucket of the period to its end on every chart, so that what is above
each other was at the same time; an estimate is drawn with its interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import altair as alt

from dashboards.charts.svg import AnyChart
from dashboards.charts.theme import (
    BOUND,
    FAINT,
    HEIGHT,
    OTHER,
    QUIET,
    SAVED,
    SMALL,
    STRONG,
    WIDTH,
)
from dashboards.charts.values import chart_of
from dashboards.queries.period import DAY, Period

GAP = 0.08  # of a bucket, left free on either side of its bar
MOST_TICKS = 6
LOW = 150  # height of a chart that says little


class Series(NamedTuple):
    """What a colour stands for on a stacked chart."""

    name: str
    colour: str
    opacity: float = 1.0


class Part(NamedTuple):
    """One piece of a stacked bar."""

    start: datetime
    series: str
    amount: float


class Point(NamedTuple):
    """An estimate of one bucket, with its interval."""

    start: datetime
    value: float
    low: float
    high: float


class Line(NamedTuple):
    """How fast one model was, in milliseconds; `said` is that in words."""

    name: str
    said: str
    is_small: bool
    p50_ms: float
    p95_ms: float


PARTS = (
    Series("answers of strong", STRONG),
    Series("answers of small", SMALL),
    Series("shadow calls", SMALL, 0.5),
    Series("exploration", OTHER, 0.55),
    Series("judges and labels", OTHER),
    Series("other answers", STRONG, 0.5),
    Series("machines", QUIET),
)
WHO = (
    Series("small", SMALL),
    Series("strong in mode route", STRONG),
    Series("strong in mode shadow", STRONG, 0.55),
    Series("strong in mode strong", STRONG, 0.3),
    Series("nobody", QUIET),
)
FATES = (Series("answered", SMALL, 0.7), Series("client left", QUIET), Series("failed", BOUND))


def present(series: Sequence[Series], parts: Sequence[Part]) -> list[Series]:
    """The series of which there is something to show."""
    names = {part.series for part in parts if part.amount}
    return [one for one in series if one.name in names]


def spend(period: Period, parts: Sequence[Part], on_strong: Sequence[Point]) -> AnyChart:
    """What was spent in each bucket by part, in dollars, and what always-strong would have cost."""
    tops = [point.high for point in on_strong] + list(_totals(parts).values())
    axis = _dollars(max(tops, default=0.0))
    bars = _stack(period, parts, PARTS, axis)
    return (
        alt.layer(bars, *_band(period, on_strong, STRONG, axis, dashed=True))
        if on_strong
        else alt.layer(bars)
    )


def saved(period: Period, points: Sequence[Point]) -> AnyChart:
    """What was saved since the beginning of the period, in dollars."""
    top = max((abs(end) for point in points for end in (point.low, point.high)), default=0.0)
    axis = _dollars(top)
    zero = chart_of([{"y": 0}]).mark_rule(color=FAINT, strokeDash=[], strokeWidth=1)
    return alt.layer(zero.encode(y=alt.Y("y:Q", axis=axis)), *_band(period, points, SAVED, axis))


def quality(period: Period, points: Sequence[Point], bound: float) -> AnyChart:
    """Quality against always-strong up to each bucket, and the bound on its loss.

    An interval that is far longer than the later ones is cut at the edge, or the bound could not be seen.
    """
    later = points[len(points) // 2 :]
    reach = 1.15 * max([3 * bound, *(abs(end) for point in later for end in (point.low, point.high))])
    axis = alt.Axis(title=None, format="+.0%" if reach > 0.04 else "+.1%", tickCount=5)
    y = alt.Y("low:Q", axis=axis, scale=alt.Scale(domain=[-reach, reach], nice=False))
    values = [_at(period, point.start) | point._asdict() | {"start": _ms(point.start)} for point in points]
    base = chart_of(values).properties(width=WIDTH, height=HEIGHT).encode(x=_middle(period))
    bars = base.mark_rule(color=SAVED, strokeDash=[], strokeWidth=3, opacity=0.4, clip=True)
    dots = base.mark_point(color=SAVED, opacity=1, size=40, clip=True).encode(y="value:Q")
    return alt.layer(bars.encode(y=y, y2="high:Q"), dots, *_levels(bound))


def _levels(bound: float) -> list[alt.Chart]:
    """The line of always-strong and that of the bound, with their names."""
    levels = [
        {"level": 0.0, "said": "as good as always strong"},
        {"level": -bound, "said": f"the bound: loses at most {100 * bound:g}%"},
    ]
    made = []
    for level, colour, dash in zip(levels, (FAINT, BOUND), ([], [6, 4]), strict=True):
        base = chart_of([level]).encode(y="level:Q")
        made.append(base.mark_rule(color=colour, strokeDash=dash, strokeWidth=1.5))
        above = colour == FAINT
        made.append(
            base.mark_text(
                align="left", baseline="bottom" if above else "top", dy=-4 if above else 4, color=colour
            ).encode(x=alt.value(4), text="said:N")
        )
    return made


def coverage(period: Period, parts: Sequence[Part]) -> alt.Chart:
    """Which model answered what share of the requests, by mode."""
    axis = alt.Axis(title=None, format=".0%", tickCount=5)
    return _stack(period, parts, WHO, axis, as_shares=True)


def requests(period: Period, parts: Sequence[Part]) -> alt.Chart:
    """How many requests came."""
    return _stack(period, parts, FATES, alt.Axis(title=None, format="~s", tickCount=4), height=LOW)


def speeds(lines: Sequence[Line]) -> AnyChart:
    """From the median to the 95th percentile of each model's answers."""
    values = [line._asdict() for line in lines]
    colour = alt.condition("datum.is_small", alt.value(SMALL), alt.value(STRONG))
    x = alt.X(
        "p50_ms:Q", title="milliseconds", scale=alt.Scale(zero=True), axis=alt.Axis(grid=True, tickCount=6)
    )
    base = (
        chart_of(values)
        .properties(width=WIDTH, height=56 * max(1, len(lines)))
        .encode(y=alt.Y("name:N", sort=None, title=None, axis=None))
    )
    reach = base.mark_rule(strokeDash=[], strokeWidth=7, opacity=0.35).encode(
        x=x, x2="p95_ms:Q", color=colour
    )
    median = base.mark_point(size=100, opacity=1).encode(x=x, color=colour)
    late = base.mark_tick(thickness=3, size=20).encode(x="p95_ms:Q", color=colour)
    name = base.mark_text(align="left", baseline="bottom", dy=-10, limit=WIDTH).encode(
        x=alt.value(0), text="said:N"
    )
    return alt.layer(reach, median, late, name)


def _stack(
    period: Period,
    parts: Sequence[Part],
    series: Sequence[Series],
    axis: alt.Axis,
    *,
    as_shares: bool = False,
    height: int = HEIGHT,
) -> alt.Chart:
    shown = present(series, parts)
    values = list(_piled(period, parts, shown, as_shares=as_shares))
    names, colours = [one.name for one in shown], [one.colour for one in shown]
    made: alt.Chart = (
        chart_of(values)
        .properties(width=WIDTH, height=height)
        .mark_rect()
        .encode(
            x=_edge(period, "left"),
            x2="right:T",
            y=alt.Y("bottom:Q", axis=axis, scale=alt.Scale(domain=[0, 1]) if as_shares else alt.Undefined),
            y2="top:Q",
            color=alt.Color("series:N", legend=None, scale=alt.Scale(domain=names, range=colours)),
            opacity=alt.Opacity("opacity:Q", legend=None, scale=None),
        )
    )
    return made


def _piled(
    period: Period, parts: Sequence[Part], shown: Sequence[Series], *, as_shares: bool
) -> Iterator[dict[str, Any]]:
    """The pieces of each bar, one on the other in the order of the series."""
    place = {one.name: number for number, one in enumerate(shown)}
    totals = _totals(parts)
    reached: dict[datetime, float] = {}
    for part in sorted((part for part in parts if part.amount), key=lambda part: place[part.series]):
        bottom = reached.get(part.start, 0.0)
        reached[part.start] = top = bottom + part.amount / (totals[part.start] if as_shares else 1)
        opacity = shown[place[part.series]].opacity
        yield _at(period, part.start) | {
            "series": part.series,
            "opacity": opacity,
            "bottom": bottom,
            "top": top,
        }


def _band(
    period: Period, points: Sequence[Point], colour: str, axis: alt.Axis, *, dashed: bool = False
) -> list[alt.Chart]:
    values = [_at(period, point.start) | point._asdict() | {"start": _ms(point.start)} for point in points]
    base = chart_of(values).properties(width=WIDTH, height=HEIGHT).encode(x=_middle(period))
    band = base.mark_area(color=colour, opacity=0.2).encode(y=alt.Y("low:Q", axis=axis), y2="high:Q")
    line = base.mark_line(
        color=colour, strokeDash=[5, 3] if dashed else [], point=len(points) == 1 and {"color": colour}
    )
    return [band, line.encode(y=alt.Y("value:Q", axis=axis))]


def _totals(parts: Sequence[Part]) -> dict[datetime, float]:
    sums: dict[datetime, float] = {}
    for part in parts:
        sums[part.start] = sums.get(part.start, 0.0) + part.amount
    return sums


def _dollars(top: float) -> alt.Axis:
    form = "$,.0f" if top >= 20 else "$,.2f" if top >= 0.2 else "$,.4~f"
    return alt.Axis(title=None, format=form, tickCount=5)


def _at(period: Period, start: datetime) -> dict[str, int]:
    """Where a bucket is drawn."""
    width = _ms(start + period.width) - _ms(start)
    return {
        "left": _ms(start) + round(GAP * width),
        "middle": _ms(start) + width // 2,
        "right": _ms(start) + round((1 - GAP) * width),
    }


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def _edge(period: Period, name: str) -> alt.X:
    end = max(list(period.buckets())[-1:], default=period.since) + period.width
    return alt.X(
        f"{name}:T",
        title=None,
        axis=alt.Axis(format=_form(period), values=_ticks(period), labelOverlap=False, labelFlush=False),
        scale=alt.Scale(type="utc", domain=[_ms(period.since), _ms(end)], nice=False),
    )


def _ticks(period: Period) -> list[int]:
    """Under the middle of a day's bar, or where an hour begins; few enough for a phone."""
    starts = list(period.buckets())
    chosen = starts[:: max(1, math.ceil(len(starts) / MOST_TICKS))]
    half = period.width / 2 if period.width >= DAY else timedelta(0)
    return [_ms(start + half) for start in chosen]


def _form(period: Period) -> str:
    if period.width >= DAY:
        return "%b %-d"
    return "%H:%M" if period.until - period.since <= DAY else "%a %H:%M"


def _middle(period: Period) -> alt.X:
    return _edge(period, "middle")
