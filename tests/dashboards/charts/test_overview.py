"""Tests of the overview's charts: what they draw of the values that they are given."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dashboards.charts import overview as charts
from dashboards.charts.overview import Line, Part, Point
from dashboards.charts.svg import AnyChart
from dashboards.charts.theme import BOUND
from dashboards.queries.period import DAY, HOUR, Period

START = datetime(2026, 11, 1, tzinfo=UTC)
WEEK = Period("7d", START, START + 7 * DAY, DAY)


def values_of(chart: AnyChart) -> list[dict[str, Any]]:
    """All values of a chart that is valid by the rules of Vega-Lite."""
    spec = chart.to_dict()
    layers = spec.get("layer", [spec])
    rows = [layer["data"].get("values", []) for layer in [spec, *layers] if "data" in layer]
    return [
        row for some in [*rows, *spec.get("datasets", {}).values()] for row in some if isinstance(row, dict)
    ]


def test_pieces_are_piled_in_the_order_of_their_series() -> None:
    parts = [Part(START, "failed", 1), Part(START, "answered", 3), Part(START + DAY, "failed", 2)]
    piled = {
        (row["left"], row["series"]): (row["bottom"], row["top"])
        for row in values_of(charts.requests(WEEK, parts))
    }
    assert sorted(piled.values()) == [(0, 2), (0, 3), (3, 4)]
    assert next(ends for (_, series), ends in piled.items() if ends == (3, 4) and series == "failed")


def test_shares_fill_each_bar() -> None:
    parts = [
        Part(START, "small", 30),
        Part(START, "strong in mode route", 10),
        Part(START + DAY, "nobody", 5),
    ]
    tops = {(row["series"], row["bottom"], row["top"]) for row in values_of(charts.coverage(WEEK, parts))}
    assert tops == {("small", 0, 0.75), ("strong in mode route", 0.75, 1), ("nobody", 0, 1)}


def test_a_bar_lies_within_its_bucket() -> None:
    (row,) = values_of(charts.requests(WEEK, [Part(START, "answered", 1)]))
    start_ms = START.timestamp() * 1000
    assert start_ms < row["left"] < row["middle"] < row["right"] < start_ms + DAY / timedelta(milliseconds=1)


@pytest.mark.parametrize("bound", [0.005, 0.02, 0.3])
def test_the_bound_is_on_the_chart_however_tight_the_intervals_are(bound: float) -> None:
    spec = charts.quality(WEEK, [Point(START, 0.0, -0.001, 0.001)], bound).to_dict()
    low, high = spec["layer"][0]["encoding"]["y"]["scale"]["domain"]
    assert low < -bound < 0 < high
    assert any(row.get("level") == -bound for row in values_of(charts.quality(WEEK, [], bound)))
    assert BOUND in str(spec)


def test_an_early_long_interval_does_not_hide_the_later_ones() -> None:
    points = [Point(START, 0.3, -0.7, 0.9), Point(START + DAY, 0.0, -0.05, 0.05)]
    low, high = charts.quality(WEEK, points, 0.02).to_dict()["layer"][0]["encoding"]["y"]["scale"]["domain"]
    assert (low, high) == pytest.approx((-0.069, 0.069))


def test_only_what_there_is_has_a_key() -> None:
    parts = [Part(START, "small", 3), Part(START, "nobody", 0)]
    assert [one.name for one in charts.present(charts.WHO, parts)] == ["small"]


@pytest.mark.parametrize("period", [WEEK, Period("24h", START, START + DAY, HOUR)])
def test_there_are_few_ticks_for_a_phone(period: Period) -> None:
    axis = charts.requests(period, [Part(START, "answered", 1)]).to_dict()["encoding"]["x"]["axis"]
    assert 3 <= len(axis["values"]) <= charts.MOST_TICKS


def test_charts_of_nothing_and_of_one_point_are_valid() -> None:
    for points in ([], [Point(START, 1.0, 0.5, 1.5)]):
        assert charts.saved(WEEK, points).to_dict()
        assert charts.spend(WEEK, [], points).to_dict()
    assert charts.speeds([Line("m", "m: p50 1 ms", True, 1.0, 2.0)]).to_dict()
