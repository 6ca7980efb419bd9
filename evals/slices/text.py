"""The table of slices as plain text: no number without its interval, n and cost."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping

from evals.metrics.intervals import Estimate
from evals.report.layout import UNKNOWN, WIDTH, dollars, percent, table, wrapped_pairs
from evals.slices.kinds import By
from evals.slices.report import PER_REQUESTS, SliceReport, SliceRow
from evals.slices.verdict import May, Verdict

HEADER = ("slice", "cost", "share", "strong", "small", "$ strong", "$ small", "$ saved", "may step down")
SHOWN = 300
NAME_WIDTH = 24


def render_slices(report: SliceReport, examples: Mapping[str, str] | None = None) -> str:
    """The report as lines of at most 100 columns, where names allow.

    Args:
        report: What to show.
        examples: The text of each slice's most typical prompt, by slice id; None shows none.
    """
    sections = [_head(report), _table(report), _quality(report), _examples(report, examples), _notes(report)]
    return "\n\n".join("\n".join(section) for section in sections if section) + "\n"


def said(verdict: Verdict) -> str:
    """A verdict in a few words."""
    if verdict.may is May.NEED:
        return "need > 100,000 more" if verdict.more is None else f"need {verdict.more:,} more"
    return {May.YES: "yes", May.NO: "no", May.NO_UNLESS: "no, unless"}[verdict.may]


def _head(report: SliceReport) -> list[str]:
    looked = f"{report.looked_at:,} of {report.requests:,} requests looked at"
    lines = [f"SLICES  task {report.task}, by {report.by}: {len(report.rows)} slices, {looked}"]
    if not report.rows:
        return [*lines, "  no request to slice yet"]
    promise = (
        f"quality loss <= {100 * report.epsilon:g}%, confidence {100 * report.confidence:g}% for all slices"
    )
    return [*lines, f"May step down: {promise}; labels: {report.certify_on}"]


def _table(report: SliceReport) -> list[str]:
    rows = [
        (
            _cut(row.name),
            "-" if row.cost_share is None else f"{100 * row.cost_share:.1f}%",
            f"{100 * row.share.value:.1f}%",
            _good(row.strong),
            _good(row.small),
            _usd(row.costs.strong, 1000),
            _usd(row.costs.small, 1000),
            _usd(row.saving, 1),
            said(row.verdict),
        )
        for row in report.rows
    ]
    return table(HEADER, rows) if rows else []


def _quality(report: SliceReport) -> list[str]:
    """What each verdict rests on."""
    lines = []
    for row in report.rows:
        lines += [
            "",
            f"{row.name}  [{row.id}]" if row.id != row.name else row.name,
            *wrapped_pairs(_facts(row)),
        ]
    return ["EVIDENCE, brackets hold 95% intervals, n the rows behind them", *lines] if lines else []


def _facts(row: SliceRow) -> list[tuple[str, str]]:
    facts = [("may step down", f"{said(row.verdict)}: {row.verdict.why}")]
    if row.strong.n:
        facts.append(("quality", f"strong {percent(row.strong)}, small {percent(row.small)}"))
    facts.append(("share", f"{percent(row.share)}, {row.requests:,} requests, {row.prompts:,} prompts"))
    strong, small = (_cost(cost) for cost in (row.costs.strong, row.costs.small))
    facts.append(("cost of 1,000", f"strong {strong}, small {small} ({row.costs.method})"))
    if row.saving is not None:
        facts.append((f"saving of {PER_REQUESTS:,}", f"{_cost(row.saving, 1)} of the task's requests"))
    return facts


def _cost(cost: Estimate, times: int = 1000) -> str:
    if not cost.n:
        return UNKNOWN
    ends = [dollars(end * times) if math.isfinite(end) else "?" for end in (cost.low, cost.high)]
    return f"{dollars(cost.value * times)} [{ends[0]}, {ends[1]}] n={cost.n:,}"


def _cut(name: str) -> str:
    return name if len(name) <= NAME_WIDTH else f"{name[: NAME_WIDTH - 1].rstrip()}…"


def _good(quality: Estimate) -> str:
    return f"{100 * quality.value:.0f}%" if quality.n else "-"


def _usd(cost: Estimate | None, times: int) -> str:
    return f"{cost.value * times / 1e6:.3f}" if cost is not None and cost.n else "-"


def _examples(report: SliceReport, examples: Mapping[str, str] | None) -> list[str]:
    if examples is None:
        return []
    lines = []
    for row in report.rows:
        if row.medoid is not None:
            shown = examples.get(row.id, "(its body is no longer kept)")
            text = textwrap.shorten(" ".join(shown.split()), SHOWN, placeholder=" …")
            lines += [
                "",
                row.name,
                *textwrap.wrap(text, WIDTH - 2, initial_indent="  ", subsequent_indent="  "),
            ]
    return ["EXAMPLES, the most typical prompt of each", *lines] if lines else []


def _notes(report: SliceReport) -> list[str]:
    notes = [
        f"Dollars are of {PER_REQUESTS:,} requests: of the slice for strong and small, of the whole task for "
        "what is saved if small answers the slice and not strong. The rent of hardware is in none of them."
    ]
    if report.by is By.CLUSTER and report.new and report.vanished:
        notes.append(f"New since the night before: {'; '.join(one.name for one in report.new)}.")
    if report.vanished:
        notes.append(f"No more: {'; '.join(one.name for one in report.vanished)}.")
    if report.unreadable:
        notes.append(f"{report.unreadable:,} prompts are left out, as their bodies could not be read.")
    wrapped = (textwrap.wrap(note, WIDTH, initial_indent="  ", subsequent_indent="  ") for note in notes)
    return [line for lines in wrapped for line in lines] if report.rows else []
