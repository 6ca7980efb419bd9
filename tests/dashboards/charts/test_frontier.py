"""The picture of the frontier names what it shows, and draws nothing else."""

from __future__ import annotations

import re

import msgspec
import pytest

from dashboards.charts.frontier import cost_title, frontier_chart, in_force, looked_at
from dashboards.charts.svg import draw
from tests.dashboards.frontiers import choice, document, figure


def names(svg: str) -> list[str]:
    return re.findall(r">([^<>]+)</text>", svg)


def drawn(**changes: object) -> str:
    found = document(**changes)
    marks = [in_force(found.operating), looked_at(choice(0.05, 0.6))]
    return str(draw(frontier_chart(found, marks, 0.05), "label", (), ()))


def test_lines_points_and_the_bound_have_their_names() -> None:
    found = names(drawn())
    for name in ("router", "kNN", "random", "always strong", "always small", "in force", "at 5%"):
        assert found.count(name) == 1
    assert "5% below strong" in found


def test_a_mark_is_where_its_coverage_says() -> None:
    assert in_force(choice(0.02, 0.3)).strong_share == pytest.approx(0.7)
    assert looked_at(choice(0.02, 0.3)).name == "at 2%"


def test_the_axis_says_what_its_ends_cost() -> None:
    assert cost_title(document()) == "answered by the strong model: 1,000 requests cost $0.1000 to $0.5000"
    assert cost_title(document(strong_usd_micros=None)) == "answered by the strong model"
    assert cost_title(document()) in names(drawn())


def test_a_quality_without_data_has_no_mark() -> None:
    nothing = msgspec.structs.replace(figure(0.5), value=None, low=None, high=None, n=0)
    assert "always small" not in names(drawn(small=nothing))


def test_the_chart_brings_no_style_and_no_colour_of_its_own() -> None:
    svg = drawn()
    assert "style=" not in svg
    assert "#0101a" not in svg
    assert "var(--saved)" in svg
