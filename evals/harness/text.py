"""Evaluations and their differences as plain text for a terminal."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evals.harness.diff import Change, Diff, Moved
from evals.harness.form import CaseLine, Column, Comparison, Evaluation, Figure, Suspicion
from evals.harness.keep import Kept
from evals.harness.measure import significant
from evals.metrics.intervals import Estimate
from evals.report.layout import WIDTH, dollars, percent, table

MOST_LISTED = 20
UNKNOWN = "unknown"


def evaluation_lines(evaluation: Evaluation) -> Iterator[str]:
    """The evaluation: its columns, comparisons and slices, and what looks wrong."""
    suite = evaluation.suite
    yield (
        f"{evaluation.purpose.upper()}  suite {suite.name} ({suite.hash[:12]}), task {evaluation.task}: "
        f"{suite.cases:,} cases, {suite.prompts:,} distinct prompts"
    )
    yield f"brackets hold {evaluation.confidence:.0%} intervals, n the rows behind them"
    yield ""
    yield from _columns(evaluation)
    yield ""
    yield from _comparisons(evaluation, [c for c in evaluation.comparisons if c.slice is None])
    yield from _slices(evaluation)
    yield from _troubles(evaluation)


def _columns(evaluation: Evaluation) -> Iterator[str]:
    yield "QUALITY, COST AND TIME"
    header = ("", "quality", "n", "failed", "unscored", "$/1,000", "total", "p50 ms", "p95 ms")
    rows = [
        (
            column.name,
            _share(column.quality),
            f"{column.scored:,}",
            f"{column.failed:,}",
            f"{column.unscored:,}",
            _money(column.cost_per_1000_usd_micros),
            _total(column),
            _time(column.latency_p50_ms),
            _time(column.latency_p95_ms),
        )
        for column in evaluation.columns
    ]
    yield from table(header, rows)
    for column in evaluation.columns:
        if column.coverage is not None:
            yield f"  {column.name}: small answers {_share(column.coverage)} of the cases ({column.alias})"
            if column.seen:
                yield from _wrapped(
                    f"{column.name}: {column.seen:,} cases are of traffic that came before the router was "
                    "made, which it may have learnt from: its quality is flattered"
                )
        if column.incomplete:
            yield f"  {column.name}: incomplete, its model was away for some cases; run the suite again"
    for note in evaluation.notes:
        yield from _wrapped(note)


def _comparisons(evaluation: Evaluation, comparisons: Sequence[Comparison]) -> Iterator[str]:
    if not comparisons:
        return
    yield f"AGAINST {evaluation.baseline}, on the cases that both have a score for"
    header = ("", "difference", "n", "better", "worse", "p", "p (Holm)", "")
    yield from table(header, [_comparison(evaluation, c, c.column) for c in comparisons])
    if len(comparisons) > 1:
        yield from _wrapped(
            f"Holm: corrected for {len(comparisons)} comparisons. Jointly, all hold at once: "
            + "; ".join(f"{c.column} {_ends(c.joint_low, c.joint_high)}" for c in comparisons)
        )
    yield f"  {_methods(comparisons)}"


def _comparison(evaluation: Evaluation, one: Comparison, name: str) -> tuple[str, ...]:
    return (
        name,
        _share(one.difference, signed=True),
        f"{one.difference.n:,}",
        f"{one.better:,}",
        f"{one.worse:,}",
        p_value(one.p),
        p_value(one.p_holm),
        "significant" if significant(one.p_holm, evaluation.confidence) else "",
    )


def _methods(comparisons: Sequence[Comparison]) -> str:
    tests = {c.test for c in comparisons}
    said = {
        "mcnemar": "McNemar's exact test; Newcombe's interval (approximate).",
        "sign_flip": "Scores in parts: sign-flip test; bootstrap interval by prompt (approximate).",
    }
    return " ".join(said[test] for test in sorted(tests))


def _slices(evaluation: Evaluation) -> Iterator[str]:
    if len(evaluation.slices) < 2:
        return
    names = [column.name for column in evaluation.columns]
    rows = [
        (line.name, f"{line.cases:,}", *(_value(line.quality[name]) for name in names))
        for line in evaluation.slices
    ]
    yield ""
    yield "SLICES, quality; their intervals are in the HTML report and in the JSON"
    yield from table(("", "cases", *names), rows)
    found = [
        c
        for c in evaluation.comparisons
        if c.slice is not None and significant(c.p_holm, evaluation.confidence)
    ]
    if found:
        tried = sum(c.slice is not None for c in evaluation.comparisons)
        yield f"  Significant after Holm's correction for {tried} comparisons:"
        for one in found:
            change = _share(one.difference, signed=True)
            yield f"    {one.slice}: {one.column} {change} n={one.difference.n:,}, p {p_value(one.p_holm)}"


def _troubles(evaluation: Evaluation) -> Iterator[str]:
    failures = _failures(evaluation.cases)
    wrong = [
        f"{s.case} (line {s.line}): reference {s.reference[:60]}, {_agreement(s)}: {s.why}"
        for s in sorted(evaluation.suspicious, key=lambda s: not s.agreeing)
    ]
    twice = [
        f"{', '.join(d.cases)}" + (", with different references" if d.contradictory else "")
        for d in evaluation.duplicates
    ]
    bad = [f"line {line.line}: {line.why}" for line in evaluation.bad_lines]
    yield from _listed("FAILED OR UNSCORED, excluded", failures, sum(map(_failed, evaluation.cases)))
    yield from _listed("REFERENCES THAT EVERY MODEL CONTRADICTS; look whether they are right", wrong)
    yield from _listed("CASES THAT ASK THE SAME; they count as one", twice)
    yield from _listed("LINES LEFT OUT", bad)


def _agreement(suspicion: Suspicion) -> str:
    return f"{', '.join(suspicion.agreeing)} agree" if suspicion.agreeing else "each in its own way"


def _failed(case: CaseLine) -> int:
    return sum(sample.score is None for samples in case.samples.values() for sample in samples)


def _failures(cases: Sequence[CaseLine]) -> list[str]:
    """Each reason once, with the first case that has it: a model that is away has the same for them all."""
    found: dict[tuple[str, str], list[CaseLine]] = {}
    for case in cases:
        for name, samples in case.samples.items():
            for sample in samples:
                if sample.score is None:
                    found.setdefault((name, sample.why), []).append(case)
    return [f"{name}{_times(having)}: {why} ({_first(having)})" for (name, why), having in found.items()]


def _times(cases: Sequence[CaseLine]) -> str:
    return f", {len(cases):,} times" if len(cases) > 1 else ""


def _first(cases: Sequence[CaseLine]) -> str:
    return f"{'first ' if len(cases) > 1 else ''}{cases[0].id}, line {cases[0].line}"


def _wrapped(text: str, *, lines: int | None = None) -> list[str]:
    """A paragraph, indented, its further lines a little more; what more than so many lines take is cut."""
    return textwrap.wrap(
        text, WIDTH, initial_indent="  ", subsequent_indent="    ", max_lines=lines, placeholder=" …"
    )


def _listed(title: str, lines: Sequence[str], count: int | None = None) -> Iterator[str]:
    if not lines:
        return
    yield ""
    yield f"{title}: {len(lines) if count is None else count:,}"
    for line in lines[:MOST_LISTED]:
        yield from _wrapped(line, lines=3)
    if len(lines) > MOST_LISTED:
        yield f"  and {len(lines) - MOST_LISTED:,} more, in the HTML report and in the JSON"


def diff_lines(diff: Diff) -> Iterator[str]:
    """What changed from one evaluation to the other, and whether it is a regression."""
    before, after = diff.before.suite, diff.after.suite
    suites = " -> ".join(f"{suite.name} ({suite.hash[:12]})" for suite in (before, after))
    yield f"DIFF  suite {suites}: {diff.cases:,} cases"
    if diff.left_out:
        yield f"  {diff.left_out:,} cases are in one evaluation only, and left out"
    header = ("", "slice", "difference", "n", "better", "worse", "p (loss)", "p (Holm)", "")
    yield from table(header, [_change(change) for change in diff.changes], left=2)
    for moved in diff.moved:
        yield from _moved(moved)
    yield _verdict(diff)


def _verdict(diff: Diff) -> str:
    beyond = f" of more than {diff.rules.margin:.1%}" if diff.rules.margin else ""
    family = f"(alpha {diff.rules.alpha:g}, corrected for {len(diff.changes)} comparisons)"
    if not diff.regressions:
        return f"no significant regression{beyond} {family}"
    return f"REGRESSION{beyond}: {', '.join(map(_name, diff.regressions))} {family}"


def _name(change: Change) -> str:
    return change.model if change.slice is None else f"{change.model} on {change.slice}"


def _change(change: Change) -> tuple[str, ...]:
    one = change.tested
    return (
        change.model,
        change.slice or "all",
        _share(Figure.of(one.difference), signed=True),
        f"{one.difference.n:,}",
        f"{one.better:,}",
        f"{one.worse:,}",
        p_value(change.p),
        p_value(change.p_holm),
        "regressed" if change.regressed else "",
    )


def _moved(moved: Moved) -> Iterator[str]:
    yield ""
    yield f"{moved.model}: {len(moved.worse):,} cases worse, {len(moved.better):,} better"
    for word, ids in (("worse", moved.worse), ("better", moved.better)):
        if ids:
            more = f" and {len(ids) - MOST_LISTED:,} more" if len(ids) > MOST_LISTED else ""
            yield f"  {word}: {' '.join(ids[:MOST_LISTED])}{more}"
    if moved.missing:
        yield f"  {moved.missing:,} cases lack a score before or after, and count for nothing"
    if moved.cost_per_1000 is not None:
        cost = moved.cost_per_1000
        change, low, high = (_signed_money(end) for end in cost[:3])
        yield f"  cost per 1,000: {change} [{low}, {high}]"
    for share, times in (("p50", moved.latency_p50_ms), ("p95", moved.latency_p95_ms)):
        if times is not None:
            yield f"  latency {share}: {' -> '.join(_time(Figure.of(t), whole=True) for t in times)} ms"


def kept_lines(kept: Sequence[Kept]) -> Iterator[str]:
    """The evaluations in a ledger, a line for each of their models."""
    if not kept:
        yield "no evaluation yet; `stepdown eval run SUITE` makes one"
        return
    rows = [row for one in kept for row in _kept_rows(one)]
    yield from table(("id", "made (UTC)", "task", "purpose", "suite", "quality"), rows, left=6)


def _kept_rows(one: Kept) -> Iterator[tuple[str, ...]]:
    named: tuple[str, ...] = (
        one.id[:12],
        f"{one.at:%Y-%m-%d %H:%M}",
        one.task,
        one.summary["purpose"],
        f"{one.summary['suite']} ({one.summary['suite_hash'][:8]})",
    )
    for name, column in one.summary["columns"].items():
        yield *named, f"{name} {_kept_quality(column)}"
        named = ("",) * len(named)


def _kept_quality(column: Mapping[str, Any]) -> str:
    value, low, high, n = column["quality"]
    lost = " incomplete" if column["incomplete"] else ""
    return f"{_share(Figure(value=value, low=low, high=high, n=n))} n={n:,}{lost}"


def p_value(p: float) -> str:
    """A p-value in few digits."""
    return "<0.0001" if p < 0.0001 else f"{p:.4f}"


def _estimate(figure: Figure) -> Estimate:
    value, low, high = (math.nan if v is None else v for v in (figure.value, figure.low, figure.high))
    return Estimate(value, low, high, figure.n)


def _share(figure: Figure, *, signed: bool = False) -> str:
    return percent(_estimate(figure), signed=signed, n=False)


def _value(figure: Figure) -> str:
    return "no data" if figure.value is None else f"{100 * figure.value:.1f}%"


def _ends(low: float | None, high: float | None) -> str:
    return "undefined" if low is None or high is None else f"[{100 * low:+.1f}, {100 * high:+.1f}]"


def _money(figure: Figure) -> str:
    if figure.value is None:
        return UNKNOWN
    ends = ", ".join(UNKNOWN if end is None else dollars(end) for end in (figure.low, figure.high))
    return f"{dollars(figure.value)} [{ends}]"


def _signed_money(micros: float) -> str:
    return ("+" if micros > 0 else "") + dollars(micros)


def _total(column: Column) -> str:
    unknown = f" + {column.unpriced:,} unknown" if column.unpriced else ""
    return dollars(column.cost_usd_micros) + unknown


def _time(figure: Figure | None, *, whole: bool = False) -> str:
    if figure is None or figure.value is None:
        return "-"
    if not whole:
        return f"{figure.value:,.0f}"
    ends = ", ".join("?" if end is None else f"{end:,.0f}" for end in (figure.low, figure.high))
    return f"{figure.value:,.0f} [{ends}]"
