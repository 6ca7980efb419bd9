"""The report as plain text for a terminal of 100 columns: no number without its interval, n and cost."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from evals.report.labels_text import label_sections
from evals.report.layout import (
    UNKNOWN,
    WIDTH,
    decimal,
    dollars,
    money,
    net_share,
    pairs,
    percent,
    table,
    wrapped_pairs,
)
from evals.report.tree import Audit, Bill, CallLine, Count, Curves, Promise, Report, Served


def render_text(report: Report) -> str:
    """The report as lines of at most 100 columns, where names and amounts allow."""
    sections = [
        _head(report),
        _served(report.served),
        _calls(report),
        _bill("COST AND SAVING, all decided requests", report.bill),
        _bill("COST AND SAVING, mode route alone", report.routed_bill),
        _quality(report),
        _coverage(report),
        _curves(report.curves),
        *(label_sections(report.labels) if report.labels else []),
        _missing(report),
    ]
    return "\n\n".join("\n".join(section) for section in sections if section) + "\n"


def _head(report: Report) -> list[str]:
    lines = [f"STEPDOWN REPORT  task {report.task}, mode {report.mode}"]
    if report.served:
        start, end = (f"{at:%Y-%m-%d %H:%M}" for at in (report.served.start, report.served.end))
        lines.append(
            f"{start} to {end} UTC; brackets hold {report.confidence:.0%} intervals, n the rows behind them"
        )
    return lines


def _served(served: Served | None) -> list[str]:
    if served is None:
        return ["REQUESTS", "  none in this period"]
    rows = [
        ("served", f"{served.requests:,} requests, {served.distinct_prompts:,} distinct prompts"),
        ("mode", _counted(served.modes)),
        ("reason", _counted(served.reasons)),
        ("status", _counted(served.statuses)),
    ]
    if served.undecided:
        rows.append(("no decision", f"{served.undecided:,}"))
    return ["REQUESTS", *wrapped_pairs(rows)]


def _calls(report: Report) -> list[str]:
    if not report.calls:
        return []
    header = ("model", "role", "calls", "failed", "tokens in", "out", "cost", "good answers")
    rows = [
        (
            line.model,
            line.role,
            f"{line.calls:,}",
            f"{line.failed:,}",
            f"{line.prompt_tokens:,}",
            f"{line.completion_tokens:,}",
            _cost(line.cost_usd_micros, line.unpriced, line.calls - line.failed),
            percent(line.good),
        )
        for line in report.calls
    ]
    return ["CALLS", *table(header, rows, left=2), *_paragraphs(_call_notes(report.calls))]


def _call_notes(lines: Sequence[CallLine]) -> Iterator[str]:
    unpriced, estimated, judged, unscored, unlabelled = (
        sum(getattr(line, name) for line in lines)
        for name in ("unpriced", "estimated", "judged", "unscored", "unlabelled")
    )
    if unpriced:
        yield (
            f"{unpriced:,} answered calls have no known cost (no price or no token count): unknown, not zero."
        )
    if estimated:
        yield (
            f"The tokens of {estimated:,} calls, whose answer broke off, are an estimate of four characters "
            "a token."
        )
    yield f"{_whose(judged)} Excluded: {unscored:,} unscored calls and {unlabelled:,} without a label."


def _whose(judged: int) -> str:
    if not judged:
        return "A call is good if all its checks say so."
    return (
        "A call is good as people say, else as all its checks do, else as likely as judges and users make "
        f"it: so are {judged:,} calls, see LABELLERS."
    )


def _cost(micros: int, unpriced: int, answered: int) -> str:
    if unpriced and unpriced == answered:
        return UNKNOWN
    return dollars(micros) + (f" + {unpriced:,} unknown" if unpriced else "")


def _bill(title: str, bill: Bill | None) -> list[str]:
    if bill is None:
        return []
    rows = [
        ("always strong would have cost", money(bill.counterfactual)),
        ("- live calls", dollars(bill.live)),
        ("- candidates not picked", dollars(bill.candidates)),
        ("= gross saving", money(bill.gross)),
        ("- shadow calls, to learn", dollars(bill.shadow)),
        ("- exploration", dollars(bill.exploration)),
        ("- escalation", dollars(bill.escalation)),
        ("- judges and labels", dollars(bill.judge)),
        ("- evaluations", dollars(bill.evaluations)),
        ("- prompt trials", dollars(bill.trials)),
        ("- rent of the small model", dollars(bill.rent)),
        ("- distillation of students", dollars(bill.distillation)),
        ("= net saving", money(bill.net)),
        ("  of always strong", net_share(bill)),
    ]
    notes = [
        f"{bill.requests:,} requests, of which small answered {bill.answered_small:,}. Always strong is "
        f"{bill.method}.",
    ]
    if bill.excluded:
        notes.append(f"{bill.excluded:,} requests are left out because an answer's cost is unknown.")
    if bill.unpriced:
        notes.append(f"{bill.unpriced:,} other calls have an unknown cost and are not on the bill.")
    if bill.unpriced_machine_s:
        notes.append(
            f"{bill.unpriced_machine_s / 3600:,.2f} hours of distillation have an unknown price, which is not"
            " zero, and are not on the bill."
        )
    return [title, *pairs(rows), *_paragraphs(notes)]


def _quality(report: Report) -> list[str]:
    rows: list[tuple[str, str]] = []
    if report.promise:
        rows += _promised(report.promise)
    if report.audit:
        rows += _audited(report.audit)
    for line in report.received:
        excluded = f"; {line.unscored:,} unscored, {line.unlabelled:,} unlabelled"
        rows.append((f"received from {line.model}", percent(line.good) + excluded))
    return ["QUALITY against always strong", *wrapped_pairs(rows)] if rows else []


def _promised(promise: Promise) -> list[tuple[str, str]]:
    bound = f"loss <= {100 * promise.epsilon:g}% with confidence {100 * (1 - promise.delta):g}%"
    if promise.judged_by:
        bound += f", as judged by {', '.join(promise.judged_by)}"
    held = (
        f"regrets on {promise.regrets:,} of n={promise.n:,} calibration prompts, upper bound "
        f"{100 * promise.upper:.2f}% with confidence {100 * (1 - (promise.spent or promise.delta)):.4g}%, "
        f"coverage {100 * (promise.coverage or 0):.1f}%"
        if promise.upper is not None and promise.n is not None and promise.regrets is not None
        else "no certificate"
    )
    if not promise.coverage:
        return [("promised", f"nothing; asked for: {bound}"), ("coverage is 0 because", promise.reason)]
    return [("promised", bound), ("certificate", held)]


def _audited(audit: Audit) -> list[tuple[str, str]]:
    only_judged = f", {audit.judged:,} of them only judged" if audit.judged else ""
    labelled = f"{audit.audited:,} of {audit.explored:,} explored requests have both answers labelled"
    return [
        ("audited", labelled + only_judged),
        ("always strong", percent(audit.strong)),
        ("the policy", percent(audit.policy)),
        ("difference", percent(audit.difference, signed=True)),
        ("regrets", f"{audit.regrets:,}, {percent(audit.regret)}"),
    ]


def _coverage(report: Report) -> list[str]:
    if report.coverage is None and not report.slices:
        return []
    lines = [f"COVERAGE  small answered {percent(report.coverage)} of routed requests"]
    if not report.slices:
        return lines
    header = ("slice", "requests", "share", "coverage", "strong is good", "small is good")
    rows = [
        (
            line.name,
            f"{line.requests:,}",
            f"{line.share:.1%}",
            percent(line.coverage, digits=0),
            percent(line.strong, digits=0),
            percent(line.small, n=False, digits=0),
        )
        for line in report.slices
    ]
    return [*lines, *table(header, rows)]


def _curves(curves: Curves | None) -> list[str]:
    if curves is None:
        return []
    at = f"quality at {100 * curves.coverage.value:.1f}% small"
    header = ("", at, "APGR", "CPT50", "CPT80")
    rows = [
        (
            ranking.name,
            percent(ranking.quality, n=False),
            decimal(ranking.apgr),
            percent(ranking.cpt50, n=False, digits=0),
            percent(ranking.cpt80, n=False, digits=0),
        )
        for ranking in curves.rankings
    ]
    ends = [
        ("cost-matched shuffle", percent(curves.shuffle, n=False), "", "", ""),
        ("always strong", percent(curves.strong, n=False), "", "", ""),
        ("always small", percent(curves.small, n=False), "", "", ""),
    ]
    note = (
        f"n={curves.pairs:,} held-out pairs ({curves.calibration:,} calibration, {curves.later:,} later); "
        f"router and baselines were fitted on {curves.fit_pairs:,} others. Mean cost of an answer: strong "
        f"{_mean(curves.strong_usd_micros)}, small {_mean(curves.small_usd_micros)}. On these pairs the "
        f"router gives {percent(curves.coverage, n=False)} to small and differs from always strong by "
        f"{percent(curves.difference, signed=True, n=False)}."
    )
    return ["COST AND QUALITY on held-out pairs", *table(header, rows + ends), *_paragraphs([note])]


def _mean(micros: float | None) -> str:
    return UNKNOWN if micros is None else dollars(micros)


def _missing(report: Report) -> list[str]:
    notes = list(report.missing)
    if report.skipped_bodies:
        notes.append(
            f"prompts that could not be read from the ledger, and were left out: {report.skipped_bodies:,}"
        )
    if not notes:
        return []
    return ["NOT SAID HERE", *(line for note in notes for line in _bullet(note))]


def _bullet(note: str) -> list[str]:
    return textwrap.wrap(note, WIDTH, initial_indent="  - ", subsequent_indent="    ")


def _paragraphs(notes: Iterable[str]) -> list[str]:
    return [f"  {line}" for note in notes if note for line in textwrap.wrap(note, WIDTH - 2)]


def _counted(counts: tuple[Count, ...]) -> str:
    return ", ".join(f"{count.name} {count.requests:,}" for count in counts) or "none"
