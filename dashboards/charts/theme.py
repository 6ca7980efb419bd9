"""The colours and the look of charts.

Invariant: a colour is a name here and a variable of the page's style, in `VARIABLES`; the values are chosen
so that no two are alike and none occurs by chance.
"""

from __future__ import annotations

from typing import Any

STRONG = "#0101a1"
SMALL = "#0101a2"
SAVED = "#0101a3"
BOUND = "#0101a4"
QUIET = "#0101a5"
GRID = "#0101a6"
TEXT = "#0101a7"
FAINT = "#0101a8"
OTHER = "#0101a9"

VARIABLES = {
    STRONG: "--strong",
    SMALL: "--small",
    SAVED: "--saved",
    BOUND: "--bound",
    QUIET: "--quiet",
    GRID: "--grid",
    TEXT: "--text",
    FAINT: "--faint",
    OTHER: "--other",
}

WIDTH, HEIGHT = 420, 200  # so that its text can still be read on a phone
FONT = "system-ui, sans-serif"

CONFIG: dict[str, Any] = {
    "background": None,
    "font": FONT,
    "padding": 4,
    "view": {"stroke": None, "continuousWidth": WIDTH, "continuousHeight": HEIGHT},
    "axis": {
        "labelColor": FAINT,
        "titleColor": FAINT,
        "domainColor": GRID,
        "tickColor": GRID,
        "gridColor": GRID,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelPadding": 6,
        "ticks": False,
        "domain": False,
    },
    "axisX": {"grid": False, "labelFlush": True, "labelOverlap": True},
    "legend": {
        "labelColor": TEXT,
        "titleColor": FAINT,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "orient": "top",
        "title": None,
        "symbolStrokeWidth": 3,
    },
    "line": {"strokeWidth": 2.5, "strokeJoin": "round", "strokeCap": "round"},
    "area": {"opacity": 0.18},
    "bar": {"cornerRadiusEnd": 2},
    "rule": {"color": BOUND, "strokeDash": [6, 4], "strokeWidth": 1.5},
    "text": {"color": TEXT, "fontSize": 12},
    "point": {"filled": True, "size": 60},
}
