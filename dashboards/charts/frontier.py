"""The cost-quality curve as a picture: the router's with its band, what it must beat, and where the task is.

Invariant: draws what the document has and reckons nothing; every line and point has its name beside it, and
every point its interval. Few layers with many marks, because each layer costs time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import altair as alt
import numpy as np

from dashboards.amounts import dollars
from dashboards.charts.labels import Canvas, Place, beside
from dashboards.charts.svg import AnyChart
from dashboards.charts.theme import BOUND, FAINT, OTHER, QUIET, SAVED, SMALL, STRONG, WIDTH
from dashboards.charts.values import chart_of
from evals.frontier import Choice, Figure, Frontier

HEIGHT = 310
DASHES = {"random": [1, 4], "prompt length": [6, 3], "kNN": [3, 2], "per-slice mean": [8, 3, 2, 3]}
OTHER_DASHES = [4, 4]
AWAY_FROM_THE_ENDS = (0.12, 0.88)
ABOVE, BELOW = -9.0, 9.0
SAMPLES = 101
SPAN = 12
EVERY = 4  # sample of a curve that a name may be put beside
RAW: Any = None  # a scale of none: colours and shapes are in the values as they are


class Mark(NamedTuple):
    """A point of the picture, with the interval of its quality."""

    name: str
    strong_share: float
    quality: Figure
    colour: str
    shape: str = "circle"
    size: int = 90


class Line(NamedTuple):
    """A curve of the picture; `shares` are those of the document's points."""

    name: str
    shares: Sequence[float]
    qualities: Sequence[float]
    colour: str


class _Frame(NamedTuple):
    """What the axes show: shares from nothing to all, and qualities.

    Attributes:
        title: Of the axis of shares.
        low: The least quality; `high` is the largest.
    """

    title: str
    low: float
    high: float

    def place(self, share: float, quality: float) -> Place:
        """Where a point is drawn."""
        return Place(share * WIDTH, (self.high - quality) / (self.high - self.low) * HEIGHT)

    def along(self, line: Line) -> list[Place]:
        """Points of a curve."""
        every = np.linspace(0, 1, SAMPLES)
        qualities = np.interp(every, line.shares, line.qualities)
        return [self.place(float(x), float(y)) for x, y in zip(every, qualities, strict=True)]

    def quality_at(self, y: float) -> float:
        """The quality at a height."""
        return self.high - y / HEIGHT * (self.high - self.low)

    @property
    def x(self) -> alt.X:
        """The axis of shares."""
        axis = alt.Axis(format=".0%", values=[0, 0.25, 0.5, 0.75, 1], title=self.title)
        return alt.X("share:Q", axis=axis, scale=alt.Scale(domain=[0, 1], nice=False))

    def y(self, field: str = "quality") -> alt.Y:
        """The axis of quality."""
        scale = alt.Scale(domain=[self.low, self.high], nice=False, zero=False)
        return alt.Y(
            f"{field}:Q", scale=scale, axis=alt.Axis(format=".0%", title="good answers", tickCount=6)
        )


def frontier_chart(document: Frontier, marks: Sequence[Mark], bound: float) -> AnyChart:
    """The curve.

    Args:
        document: With points.
        marks: What is in force, and what is looked at.
        bound: The allowed quality loss, drawn below always-strong.
    """
    lines, points = _lines(document), [mark for mark in (*_ends(document), *marks) if mark.quality.n]
    floor = (document.strong.value or 0.0) - bound
    frame = _frame(document, lines, points, floor)
    return alt.layer(
        _band(document, frame),
        _rule(floor, frame),
        _baselines(lines[1:], frame),
        _router(lines[0], frame),
        *_points(points, frame),
        _names(frame, lines, points, floor, bound),
    ).properties(width=WIDTH, height=HEIGHT)


def in_force(choice: Choice) -> Mark:
    """The mark of what the task is routed by."""
    return Mark("in force", 1 - (choice.coverage.value or 0.0), choice.quality, SAVED)


def looked_at(choice: Choice) -> Mark:
    """The mark of the bound that somebody looks at."""
    name = f"at {100 * choice.max_quality_loss:g}%"
    return Mark(name, 1 - (choice.coverage.value or 0.0), choice.quality, OTHER, "diamond", 170)


def cost_title(document: Frontier) -> str:
    """The axis of shares, with what its ends cost."""
    cheap, dear = document.small_usd_micros, document.strong_usd_micros
    title = "answered by the strong model"
    if cheap is None or dear is None:
        return title
    return f"{title}: 1,000 requests cost {dollars(1000 * cheap)} to {dollars(1000 * dear)}"


def _lines(document: Frontier) -> list[Line]:
    shares = [point.strong_share for point in document.points]
    router, *others = document.baselines
    quiet = [Line(one.name, shares, one.quality, QUIET) for one in others]
    return [Line(router.name, shares, router.quality, SAVED), *quiet]


def _ends(document: Frontier) -> list[Mark]:
    return [
        Mark("always strong", 1.0, document.strong, STRONG, "square"),
        Mark("always small", 0.0, document.small, SMALL, "square"),
    ]


def _frame(document: Frontier, lines: Sequence[Line], marks: Sequence[Mark], floor: float) -> _Frame:
    seen = [floor, *(value for line in lines for value in line.qualities)]
    seen += [end for point in document.points for end in (point.low, point.high)]
    seen += [end for mark in marks for end in (mark.quality.low, mark.quality.high) if end is not None]
    low, high = min(seen), max(seen)
    room = max(0.01, 0.06 * (high - low))
    return _Frame(cost_title(document), max(0.0, low - room), min(1.0, high) + room)


def _band(document: Frontier, frame: _Frame) -> Any:
    values = [{"share": p.strong_share, "low": p.low, "high": p.high} for p in document.points]
    area = chart_of(values).mark_area(color=SAVED, opacity=0.16)
    return area.encode(x=frame.x, y=frame.y("low"), y2="high:Q")


def _rule(floor: float, frame: _Frame) -> Any:
    return chart_of([{"quality": floor}]).mark_rule(color=BOUND, strokeDash=[6, 4]).encode(y=frame.y())


def _router(line: Line, frame: _Frame) -> Any:
    return chart_of(_values(line)).mark_line(color=SAVED, strokeWidth=3).encode(x=frame.x, y=frame.y())


def _baselines(lines: Sequence[Line], frame: _Frame) -> Any:
    names = [line.name for line in lines]
    dashes = alt.Scale(domain=names, range=[DASHES.get(name, OTHER_DASHES) for name in names])
    drawn = chart_of([value for line in lines for value in _values(line)])
    return drawn.mark_line(color=QUIET, strokeWidth=1.5).encode(
        x=frame.x, y=frame.y(), strokeDash=alt.StrokeDash("name:N", scale=dashes, legend=None)
    )


def _values(line: Line) -> list[dict[str, Any]]:
    pairs = zip(line.shares, line.qualities, strict=True)
    return [{"share": x, "quality": y, "name": line.name} for x, y in pairs]


def _points(marks: Sequence[Mark], frame: _Frame) -> Iterable[Any]:
    drawn = chart_of([_value(mark) for mark in marks]).encode(
        x=frame.x, color=alt.Color("colour:N", scale=RAW)
    )
    yield drawn.mark_rule(strokeWidth=2, strokeDash=[1, 0]).encode(y=frame.y("low"), y2="high:Q")
    yield drawn.mark_point(filled=True, opacity=1).encode(
        y=frame.y(), shape=alt.Shape("shape:N", scale=RAW), size=alt.Size("size:Q", scale=RAW)
    )


def _value(mark: Mark) -> dict[str, Any]:
    quality = mark.quality
    return {
        "share": mark.strong_share,
        "quality": quality.value,
        "low": quality.low,
        "high": quality.high,
        "colour": mark.colour,
        "shape": mark.shape,
        "size": mark.size,
    }


def _names(frame: _Frame, lines: Sequence[Line], marks: Sequence[Mark], floor: float, bound: float) -> Any:
    level = Line(f"{100 * bound:g}% below strong", (0, 1), (floor, floor), BOUND)
    drawn = [place for line in (*lines, level) for place in frame.along(line)]
    drawn += [place for mark in marks for place in _span(frame, mark)]
    canvas = Canvas(WIDTH, HEIGHT, drawn)
    values = []
    for mark in sorted(marks, key=lambda mark: mark.shape == "square"):  # what moves is named first
        around = beside(frame.place(mark.strong_share, mark.quality.value or 0.0), mark.name)
        values.append(_named(frame, canvas.put(mark.name, around), mark.name, mark.colour))
    for line in (*lines, level):
        colour = FAINT if line.colour == QUIET else line.colour
        values.append(_named(frame, canvas.put(line.name, _beside(frame, line)), line.name, colour))
    return (
        chart_of(values)
        .mark_text(fontSize=12, baseline="middle")
        .encode(x=frame.x, y=frame.y(), text="text:N", color=alt.Color("colour:N", scale=RAW))
    )


def _span(frame: _Frame, mark: Mark) -> list[Place]:
    """Points of an interval."""
    low, high = mark.quality.low or 0.0, 1.0 if mark.quality.high is None else mark.quality.high
    return [frame.place(mark.strong_share, float(quality)) for quality in np.linspace(low, high, SPAN)]


def _beside(frame: _Frame, line: Line) -> list[Place]:
    """Places above and below a curve, from its middle outwards."""
    low, high = (share * WIDTH for share in AWAY_FROM_THE_ENDS)
    inner = [place for place in frame.along(line)[::EVERY] if low <= place.x <= high]
    inner.sort(key=lambda place: abs(place.x - WIDTH / 2))
    return [Place(x, y + side) for x, y in inner for side in (ABOVE, BELOW)]


def _named(frame: _Frame, centre: Place, text: str, colour: str) -> dict[str, Any]:
    quality = frame.quality_at(centre.y)
    return {"share": centre.x / WIDTH, "quality": quality, "text": text, "colour": colour}
