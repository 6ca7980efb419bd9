"""How numbers, times and texts are written."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from jinja2 import UndefinedError

from dashboards import render
from dashboards.render import Renderer, asset
from stepdown.ids import now


class Estimate(NamedTuple):
    value: float
    low: float
    high: float
    n: int


def test_an_estimate_has_its_interval_and_n() -> None:
    shown = render.percent(Estimate(0.9312, 0.9, 0.9567, 1234))
    assert str(shown) == (
        "<span class=figure>93.1%</span> <span class=interval>90.0 to 95.7 · n=1,234</span>"
    )
    assert "+1.0%" in render.percent(Estimate(0.01, -0.02, 0.04, 5), signed=True)
    assert "-2.0 to +4.0" in render.percent(Estimate(0.01, -0.02, 0.04, 5), signed=True)


@pytest.mark.parametrize("missing", [None, Estimate(math.nan, 0, 1, 3), Estimate(0.5, 0, 1, 0)])
def test_what_is_not_known_is_no_number(missing: Estimate | None) -> None:
    assert "no data" in render.percent(missing)


def test_money_has_its_interval_where_it_is_an_estimate() -> None:
    assert "n=50" in render.money(Estimate(2_500_000, 2_000_000, 3_000_000, 50))
    assert "interval" not in render.money(Estimate(2_500_000, 2_500_000, 2_500_000, 0))
    assert "no data" in render.money(None)
    assert render.dollars_of(None) == "unknown"  # which is not zero
    assert render.dollars_of(0) != "unknown"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "not measured"),
        (math.nan, "not measured"),
        (0.4, "0 ms"),
        (1234.5, "1,234 ms"),
        (61_000, "61.0 s"),
    ],
)
def test_milliseconds(value: float | None, shown: str) -> None:
    assert render.milliseconds(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "not measured"), (0, "0 s"), (89, "89 s"), (150, "2 min 30 s"), (7260, "2 h 1 min")],
)
def test_seconds(value: float | None, shown: str) -> None:
    assert render.seconds(value) == shown


def test_shares_and_counts() -> None:
    assert (render.share(0.1234), render.share(None), render.share(math.nan)) == (
        "12.3%",
        "no data",
        "no data",
    )
    assert (render.count(1234567), render.count(None)) == ("1,234,567", "no data")


def test_a_moment_is_for_people_and_programs() -> None:
    at = datetime(2026, 11, 22, 9, 8, 7, tzinfo=UTC)
    assert str(render.when(at)) == (
        '<time datetime="2026-11-22T09:08:07+00:00">2026-11-22 09:08:07 UTC</time>'
    )
    assert "never" in render.when(None)
    assert "never" in render.ago(None)


@pytest.mark.parametrize(
    ("age", "shown"),
    [
        (timedelta(seconds=5), ">5 s ago<"),
        (timedelta(hours=30, seconds=1), ">30 h 0 min ago<"),
        (timedelta(days=9), ">9 days ago<"),
        (timedelta(seconds=-50), ">in "),
    ],
)
def test_how_long_ago(age: timedelta, shown: str) -> None:
    assert shown in render.ago(now() - age)


def test_texts_are_text() -> None:
    evil = '"><script>alert(1)</script>'
    assert "<script" not in render.short(evil, 40)
    assert "none" in render.short(None)
    page = Renderer().bare("error.html", status=1, title=evil, said=evil, theme=evil, onward=("/", evil))
    assert "<script>" not in page
    assert page.count("&lt;script&gt;") == 5


def test_a_template_that_names_what_it_was_not_given_fails() -> None:
    with pytest.raises(UndefinedError):
        Renderer().bare("error.html")


def test_a_file_is_named_by_its_content() -> None:
    assert asset("style.css").startswith("/static/style.css?v=")
    assert asset("style.css") != asset("icon.svg").replace("icon.svg", "style.css")
