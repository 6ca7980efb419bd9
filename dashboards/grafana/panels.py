"""Panels and boards as Grafana's JSON: where they stand, and how a number is shown.

Invariant: a panel is one question with one unit. Knows nothing of any metric.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

DATASOURCE = {"type": "prometheus", "uid": "stepdown-prometheus"}
SCHEMA = 39
COLUMNS = 24
WIDTH, HEIGHT = 12, 8
STAT_WIDTH, STAT_HEIGHT = 6, 4

Unit = Literal["reqps", "percentunit", "s", "currencyUSD", "short", "none", "cps"]


@dataclass(frozen=True, slots=True)
class Panel:
    """One question of a board.

    Attributes:
        title: The question.
        queries: PromQL by the legend of its lines; `{{label}}` in a legend is the label's value.
        says: What the number is, for whoever looks at it for the first time.
        unit: Of the number, in Grafana's words.
        stat: Whether it is one number, and not a line over time.
        stacked: Whether the lines add up.
        alarm: From here on the line is red; None has no such place.
    """

    title: str
    queries: Mapping[str, str]
    says: str
    unit: Unit = "short"
    stat: bool = False
    stacked: bool = False
    alarm: float | None = None


@dataclass(frozen=True, slots=True)
class Board:
    """A board: its file is called by its uid."""

    uid: str
    title: str
    says: str
    panels: Sequence[Panel]


def as_grafana(board: Board) -> dict[str, Any]:
    """A board as Grafana's JSON."""
    return {
        "uid": board.uid,
        "title": board.title,
        "description": board.says,
        "tags": ["stepdown"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": [_task_variable()]},
        "panels": _placed(board.panels),
    }


def _task_variable() -> dict[str, Any]:
    """The choice of tasks above a board."""
    return {
        "name": "task",
        "label": "Task",
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": "label_values(stepdown_requests_total, task)", "refId": "task"},
        "definition": "label_values(stepdown_requests_total, task)",
        "refresh": 2,
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "current": {"text": ["All"], "value": ["$__all"]},
        "sort": 1,
    }


def _placed(panels: Sequence[Panel]) -> list[dict[str, Any]]:
    """Panels from left to right, as many in a row as fit; a row is as high as its panels, which are alike."""
    placed: list[dict[str, Any]] = []
    x = y = row_height = 0
    for number, panel in enumerate(panels, start=1):
        width, height = (STAT_WIDTH, STAT_HEIGHT) if panel.stat else (WIDTH, HEIGHT)
        if x + width > COLUMNS or (x and height != row_height):
            x, y = 0, y + row_height
        row_height = height
        place = {"x": x, "y": y, "w": width, "h": height}
        placed.append({"id": number, "gridPos": place, **_drawn(panel)})
        x += width
    return placed


def _drawn(panel: Panel) -> dict[str, Any]:
    custom: dict[str, Any] = {"fillOpacity": 10, "showPoints": "never"}
    if panel.stacked:
        custom |= {"stacking": {"mode": "normal", "group": "A"}, "fillOpacity": 40}
    if panel.alarm is not None:
        custom["thresholdsStyle"] = {"mode": "line"}
    defaults = {"unit": panel.unit, "thresholds": _thresholds(panel), "min": 0}
    return {
        "title": panel.title,
        "description": panel.says,
        "type": "stat" if panel.stat else "timeseries",
        "datasource": DATASOURCE,
        "targets": [
            _target(number, legend, query) for number, (legend, query) in enumerate(panel.queries.items())
        ],
        "fieldConfig": {
            "defaults": defaults if panel.stat else {**defaults, "custom": custom},
            "overrides": [],
        },
        "options": _options(panel),
    }


def _thresholds(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.alarm is not None:
        steps.append({"color": "red", "value": panel.alarm})
    return {"mode": "absolute", "steps": steps}


def _options(panel: Panel) -> dict[str, Any]:
    if panel.stat:
        return {"reduceOptions": {"calcs": ["lastNotNull"]}, "graphMode": "none"}
    legend = {"displayMode": "list", "placement": "bottom", "showLegend": True}
    return {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}


def _target(number: int, legend: str, query: str) -> dict[str, Any]:
    return {
        "refId": chr(ord("A") + number),
        "datasource": DATASOURCE,
        "expr": query,
        "legendFormat": legend,
        "range": True,
    }
