"""The chart of a night: which stage took how long, and what came of it. Pure: values in, charts out."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Any

import altair as alt
from markupsafe import Markup

from dashboards.charts.svg import draw
from dashboards.charts.theme import BOUND, OTHER, QUIET, SAVED, STRONG, WIDTH
from dashboards.charts.values import chart_of
from dashboards.render import seconds as in_words
from distill.night.account import NightAccount, State
from distill.night.machine import Outcome

LINE_PX = 20
KEPT = 64  # charts: to write one down takes longer than to read what is in it
LEAST_SHARE = 0.004  # of the night that a bar is drawn with, so that it can be seen
COLOURS = {
    str(Outcome.DONE): SAVED,
    str(Outcome.SKIPPED): QUIET,
    str(Outcome.STOPPED): OTHER,
    str(Outcome.FAILED): BOUND,
    str(State.BEGUN): STRONG,
}
UNITS = ((7200.0, 3600.0, "hours"), (180.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))


def timeline(night: NightAccount, until: datetime) -> Markup | None:
    """Each stage as a bar from its last beginning to its end; None before the first has begun.

    Args:
        night: The night.
        until: Where a stage that is under way is drawn to.
    """
    spans = []
    for stage in night.stages:
        if stage.began_at is None:
            continue
        start = max(0.0, (stage.began_at - night.began_at).total_seconds())
        took = stage.seconds
        if took is None:
            took = max(0.0, (until - stage.began_at).total_seconds()) if stage.state == State.BEGUN else 0.0
        spans.append((stage.stage, str(stage.state), start, took))
    return _drawn(night.id, tuple(spans)) if spans else None


@lru_cache(maxsize=KEPT)
def _drawn(name: str, spans: tuple[tuple[str, str, float, float], ...]) -> Markup:
    whole = max(1.0, *(start + took for _, _, start, took in spans))
    unit_s, unit = next((unit_s, unit) for least, unit_s, unit in UNITS if whole >= least)
    rows = [
        {
            "stage": stage,
            "state": state,
            "start": start / unit_s,
            "end": (start + max(took, LEAST_SHARE * whole)) / unit_s,
        }
        for stage, state, start, took in spans
    ]
    table = [(stage, state, in_words(start), in_words(took)) for stage, state, start, took in spans]
    label = f"The stages of night {name} on a line of time of {in_words(whole)}"
    return draw(_bars(rows, unit), label, ("stage", "outcome", "began after", "took"), table)


def _bars(rows: list[dict[str, Any]], unit: str) -> Any:
    states = [state for state in COLOURS if state in {row["state"] for row in rows}]
    scale = alt.Scale(domain=states, range=[COLOURS[state] for state in states])
    return (
        chart_of(rows)
        .mark_bar(height=12, cornerRadius=3)
        .encode(
            y=alt.Y("stage:N", sort=[row["stage"] for row in rows], title=None),
            x=alt.X("start:Q", title=f"{unit} since its beginning"),
            x2="end:Q",
            color=alt.Color("state:N", scale=scale),
        )
        .properties(width=WIDTH, height=LINE_PX * len(rows))
    )
