"""The pictures of slices keep the order of the table, and draw no dot without data."""

from __future__ import annotations

import re

from dashboards.charts.slices import Row, cost_chart, quality_chart
from dashboards.charts.svg import draw
from evals.summary.documents import Measured

GOOD = Measured(0.9, 0.85, 0.95, 80)
NOTHING = Measured(None, None, None, 0)
EVIL = '<script>alert("1")</script>'


def row(name: str, small: Measured = GOOD, tone: str = "good") -> Row:
    return Row(name, GOOD, small, Measured(0.5, 0.4, 0.6, 100), 0.25, tone)


def drawn(chart: object) -> str:
    return str(draw(chart, "label", (), ()))  # type: ignore[arg-type]


def names(svg: str) -> list[str]:
    return [name for name in re.findall(r">([^<>]+)</text>", svg) if not name.endswith("%")]


def test_slices_keep_their_order() -> None:
    rows = [row("gamma"), row("alpha"), row("beta")]
    for chart in (quality_chart(rows), cost_chart(rows)):
        assert names(drawn(chart)) == ["gamma", "alpha", "beta"]


def test_a_quality_that_is_not_known_has_no_dot() -> None:
    both, one = (drawn(quality_chart([row("alpha", small=small)])) for small in (GOOD, NOTHING))
    assert (both.count("var(--small)"), one.count("var(--small)")) == (2, 0)  # an interval and its dot
    assert one.count("var(--strong)") == 2


def test_a_bar_has_the_colour_of_its_verdict() -> None:
    svg = drawn(cost_chart([row("alpha", tone="bad"), row("beta", tone="")]))
    assert svg.count("var(--bound)") == 1
    assert svg.count("var(--quiet)") == 1


def test_the_name_of_a_slice_is_text() -> None:
    svg = drawn(quality_chart([row(EVIL)]))
    assert "<script" not in svg
