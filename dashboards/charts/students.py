"""The charts of students: how a training went, and what the gate saw. Pure: values in, charts out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import altair as alt
from markupsafe import Markup

from dashboards.charts.svg import draw
from dashboards.charts.theme import BOUND, HEIGHT, OTHER, QUIET, SMALL, STRONG, WIDTH
from dashboards.charts.values import chart_of
from distill.verdict import Criterion, Outcome, Verdict

Curves = Mapping[str, Sequence[tuple[int, float]]]
KEPT = 64  # charts: to write one down takes longer than to read what is in it
COLOURS = {"train": QUIET, "validation": SMALL}
OUTCOME_COLOURS = {
    Outcome.PASSED: SMALL,
    Outcome.FAILED: BOUND,
    Outcome.UNMEASURED: OTHER,
    Outcome.TOO_SMALL: QUIET,
}
LINE_PX = 26
LONGEST_NAME = 24
NAMES_PX = 150


def training_curves(curves: Curves) -> Markup | None:
    """Loss by step, of training and of validation; None where there are no points."""
    points = tuple((kind, step, loss) for kind, line in curves.items() for step, loss in line)
    return _curves(points) if points else None


@lru_cache(maxsize=KEPT)
def _curves(points: tuple[tuple[str, int, float], ...]) -> Markup:
    rows = [{"step": step, "loss": loss, "kind": kind} for kind, step, loss in points]
    kinds = [kind for kind in COLOURS if kind in {kind for kind, _, _ in points}]
    colour = alt.Color("kind:N", scale=alt.Scale(domain=kinds, range=[COLOURS[kind] for kind in kinds]))
    base = chart_of(rows).encode(
        x=alt.X("step:Q", title="step"),
        y=alt.Y("loss:Q", title="loss", scale=alt.Scale(zero=False)),
        color=colour,
    )
    validation = base.transform_filter("datum.kind == 'validation'")
    lines = base.mark_line(strokeWidth=2)
    chart = alt.layer(lines, validation.mark_point(size=50)).properties(width=WIDTH, height=HEIGHT)
    label = f"Loss over {max(step for _, step, _ in points):,} steps of training"
    table = [(kind, f"{step:,}", f"{loss:.4f}") for kind, step, loss in points]
    return draw(chart, label, ("curve", "step", "loss"), table)


def gate_differences(verdict: Verdict) -> Markup | None:
    """Quality of the candidate less that of the model in service, with intervals and the margin."""
    shown = tuple(one for one in verdict.criteria if is_difference(one) and one.estimate is not None)
    return _differences(shown) if shown else None


@lru_cache(maxsize=KEPT)
def _differences(shown: tuple[Criterion, ...]) -> Markup:
    rows = [
        {
            "name": _short(one.name),
            "value": 100 * (one.estimate or 0.0),
            "low": 100 * (-1.0 if one.low is None else one.low),
            "high": 100 * (1.0 if one.high is None else one.high),
            "outcome": one.outcome.value,
        }
        for one in shown
    ]
    names = [_short(one.name) for one in shown]
    y = alt.Y("name:N", sort=names, title=None, axis=alt.Axis(labelLimit=200, minExtent=NAMES_PX))
    outcomes = [one for one in OUTCOME_COLOURS if one.value in {row["outcome"] for row in rows}]
    colour = alt.Color(
        "outcome:N",
        scale=alt.Scale(
            domain=[one.value for one in outcomes], range=[OUTCOME_COLOURS[one] for one in outcomes]
        ),
    )
    base = chart_of(rows).encode(y=y, color=colour)
    x = alt.X("low:Q", title="candidate less incumbent, points")
    ends = base.mark_rule(strokeDash=[1, 0], strokeWidth=2).encode(x=x, x2="high:Q")
    points = base.mark_point(size=70).encode(x="value:Q")
    limit = chart_of([{"limit": 100 * shown[0].limit}]).mark_rule().encode(x="limit:Q")
    zero = chart_of([{"zero": 0}]).mark_rule(color=STRONG, strokeDash=[1, 0], strokeWidth=1)
    chart = alt.layer(zero.encode(x="zero:Q"), limit, ends, points).properties(
        width=WIDTH - NAMES_PX, height=LINE_PX * len(rows)
    )
    label = f"Differences of quality at the gate; a loss of more than {-shown[0].limit:.1%} stops it"
    table = [
        (one.name, f"{100 * (one.estimate or 0):+.1f}", _ends(one), f"{one.n:,}", one.outcome.value)
        for one in shown
    ]
    return draw(chart, label, ("criterion", "difference, points", "interval", "n", "outcome"), table)


def is_difference(one: Criterion) -> bool:
    """Whether a criterion is a difference of qualities."""
    return one.unit == "share" and one.limit < 0


def _ends(one: Criterion) -> str:
    ends = ("unbounded" if end is None else f"{100 * end:+.1f}" for end in (one.low, one.high))
    return " to ".join(ends)


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
