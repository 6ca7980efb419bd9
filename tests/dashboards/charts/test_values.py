"""A chart in words is the one that Altair would have made, made without its long way."""

from __future__ import annotations

import json
from typing import Any

import altair as alt
import pytest
from altair.utils import schemapi

from dashboards.charts.values import chart_of

VALUES = [{"at": "2026-11-22", "low": 1, "high": 2, "name": "a", "small": True}]


def drawn(chart: Any) -> Any:
    base = chart.mark_bar(color="#0101a1")
    colour = alt.condition("datum.small", alt.value("#0101a2"), alt.value("#0101a3"))
    return alt.layer(
        base.encode(x="at:T", y="low:Q", y2="high:Q", color="name:N", xOffset="name:N", order="low:Q"),
        base.encode(
            x=alt.X("at:T", title=None), y=alt.value(4), text="name:N", color=colour, detail=["name:N"]
        ),
        base.encode(alt.Y("low:Q"), x2="at:T", opacity=alt.value(0.5), tooltip="name:N", size="low:Q"),
    )


def test_it_is_the_chart_that_altair_makes() -> None:
    values: Any = {"values": VALUES}
    assert json.loads(drawn(chart_of(VALUES)).to_json()) == json.loads(drawn(alt.Chart(values)).to_json())


def test_values_are_not_copied_at_each_step() -> None:
    chart = chart_of(VALUES).mark_bar().encode(x="at:T")
    layered: Any = alt.layer(chart, chart.mark_line()).properties(width=100)
    assert layered.data["values"][0] is VALUES[0]


def test_altair_does_not_read_its_whole_schema_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[object] = []
    made = schemapi._FromDict.__init__

    def counted(self: Any, *classes: Any) -> None:
        read.append(self)
        made(self, *classes)

    monkeypatch.setattr(schemapi._FromDict, "__init__", counted)
    chart = chart_of(VALUES).mark_bar()
    chart.encode(x="at:T", y2="high:Q", text="name:N", opacity=alt.value(0.5))
    chart.encode(color=alt.condition("datum.small", alt.value("#0101a2"), alt.value("#0101a3")))
    assert not read
