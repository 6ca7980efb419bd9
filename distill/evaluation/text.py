"""The gate's verdict as text: one line a criterion, and below it why. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from distill.verdict import Criterion, Outcome, Verdict
from evals.report.layout import WIDTH, dollars, table

HEADER = ("criterion", "n", "estimate", "interval", "limit", "p", "outcome")
MARK = {Outcome.PASSED: "passed", Outcome.FAILED: "FAILED", Outcome.UNMEASURED: "NOT MEASURED"}
NAME_CHARS = 30


def render_gate(verdict: Verdict) -> str:
    """The verdict as a table."""
    return "\n".join(_lines(verdict))


def _lines(verdict: Verdict) -> Iterator[str]:
    against = f"student {verdict.incumbent[:12]}" if verdict.incumbent else "the small model as declared"
    said = "passed" if verdict.passed else "not passed"
    yield f"Student {verdict.candidate[:12]} against {against}: {said}"
    yield ""
    yield from table(HEADER, [_row(one) for one in verdict.criteria])
    yield ""
    for one in verdict.criteria:
        yield from _wrapped(f"{one.name}: {_reason(one)}")
    yield ""
    yield from _wrapped(_how(verdict))
    for note in verdict.notes:
        yield from _wrapped(note)


def _row(one: Criterion) -> list[str]:
    ends = ", ".join("?" if end is None else _number(one, end) for end in (one.low, one.high))
    return [
        one.name if len(one.name) <= NAME_CHARS else f"{one.name[: NAME_CHARS - 1]}…",
        f"{one.n:,}",
        "-" if one.estimate is None else _number(one, one.estimate),
        "-" if one.estimate is None else f"[{ends}]",
        _number(one, one.limit),
        "-" if one.p is None else f"{one.p:.3f}" if one.p >= 0.001 else "<0.001",
        MARK.get(one.outcome, one.outcome.value),
    ]


def _number(one: Criterion, value: float) -> str:
    if one.unit == "usd_micros":
        return dollars(value)
    if one.unit == "ratio":
        return f"{value:.2f}"
    return f"{100 * value:+.1f}%" if one.limit < 0 else f"{100 * value:.1f}%"


def _reason(one: Criterion) -> str:
    missing = f" ({one.unscored:,} more lack a label)" if one.unscored else ""
    return f"{one.reason}{missing}"


def _how(verdict: Verdict) -> str:
    rules = verdict.rules
    return (
        f"Differences are the candidate's quality less the other's, each prompt once; each end of their "
        f"intervals holds with {1 - rules.alpha:.0%}. The sample and the general suite pass where a loss of "
        f"the margin is ruled out; slices and suites stop where the loss is significantly above it, at "
        f"{rules.alpha:.0%} over all of them (Holm). The saving is over {rules.horizon_days:g} days against "
        "strong alone, and its limit what the candidate has cost."
    )


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ")
