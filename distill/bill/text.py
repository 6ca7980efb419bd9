"""Students and their bills as plain text for a terminal of 100 columns: no number without n and interval."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from datetime import datetime

from distill.bill.lineage import Gate, Lineage
from distill.bill.roll import Roll
from distill.bill.tree import Cost, Marginal, Outlook, Payback, StudentBill
from evals.report.layout import UNKNOWN, WIDTH, dollars, money, pairs, percent, wrapped_pairs
from evals.report.tree import Money

DIGITS = 12
DECLARED = "the small model as declared"
HOUR_S = 3600.0


def render_roll(roll: Roll) -> str:
    """All students of a task, the newest first; empty where there are none."""
    if not roll.students:
        return ""
    count = f"{len(roll.students)} student" + ("s" if len(roll.students) != 1 else "")
    head = [
        f"STUDENTS  task {roll.task}, {count}, the newest first",
        "brackets hold 95% intervals, n the rows behind them; days are UTC",
    ]
    sections = [head, *(_student(one.lineage, one.bill) for one in reversed(roll.students))]
    if roll.unclaimed != Cost():
        left = f"Trainings that made no student: {_cost(roll.unclaimed)}, on the bill of `stepdown report`."
        sections.append(textwrap.wrap(left, WIDTH))
    return "\n\n".join("\n".join(section) for section in sections) + "\n"


def _student(line: Lineage, bill: StudentBill) -> list[str]:
    return [
        f"{line.student}",
        *wrapped_pairs(list(_story(line))),
        *pairs(list(_sums(bill))),
        *wrapped_pairs(list(_meaning(bill))),
    ]


def _story(line: Lineage) -> Iterable[tuple[str, str]]:
    where = str(line.place) + (f" of {line.share:.0%}" if line.share else "")
    yield "where", where + (f": {line.why}" if line.why else "")
    yield "made", f"{line.made_at:%Y-%m-%d %H:%M} UTC, {_form(line)}"
    if line.exported_from:
        yield "exported from", line.exported_from
    yield "dataset", line.dataset or "not named"
    yield "gate", _verdict(line.gate)
    if line.gate is not None:
        yield "quality", _quality(line.gate)


def _form(line: Lineage) -> str:
    if not line.variant:
        return "its manifest is corrupt"
    return f"{line.variant} of {line.base}, {line.method}"


def _verdict(gate: Gate | None) -> str:
    if gate is None:
        return "not yet at the gate"
    return f"{'passed' if gate.passed else 'stopped'} on {gate.at:%Y-%m-%d %H:%M}: {gate.reason}"


def _quality(gate: Gate) -> str:
    own = f"{percent(gate.quality)} good answers" if gate.quality else "no answer of it is labelled"
    if gate.difference is None:
        return own
    return f"{own}; {percent(gate.difference, signed=True)} against {_named(gate.incumbent)}, same prompts"


def _named(student: str | None) -> str:
    return DECLARED if student is None else student[:DIGITS]


def _sums(bill: StudentBill) -> Iterable[tuple[str, str]]:
    """What is known to be nothing is left out."""
    yield "strong would have cost", UNKNOWN if bill.saved is None else money(bill.saved)
    costs = (
        ("live calls", bill.live),
        ("training", bill.training),
        ("export", bill.export),
        ("judges and labels", bill.labelling),
        ("shadow calls, evaluations, practice", bill.asking),
        (f"rent for {bill.service_s / HOUR_S:,.1f} h in service", bill.rent),
    )
    yield from ((f"- {name}", _cost(cost)) for name, cost in costs if cost != Cost())
    most = " at most" if bill.unknown else ""
    yield "= net against always strong", UNKNOWN if bill.net is None else money(bill.net) + most


def _cost(cost: Cost) -> str:
    if not cost.unknown:
        return dollars(cost.usd_micros)
    return (f"{dollars(cost.usd_micros)} + " if cost.usd_micros else "") + f"{cost.unknown:,} unknown"


def _meaning(bill: StudentBill) -> Iterable[tuple[str, str]]:
    left_out = f"; {bill.excluded:,} of them left out, as their cost is unknown" if bill.excluded else ""
    yield "answered", f"{bill.answered:,} requests{left_out}"
    if bill.shared_with:
        yield "training", f"made {len(bill.shared_with)} more, on whose bills it is too"
    yield "break-even", _payback(bill.payback, at_best=bool(bill.unknown))
    if bill.payback.per_day is not None and bill.payback.pace_days is not None:
        yield "pace", f"{money(bill.payback.per_day)} a day, over {bill.payback.pace_days:.1f} days"
    yield "beyond its predecessor", _beside(bill)
    for note in bill.missing:
        yield "not said", note


def _payback(found: Payback, *, at_best: bool) -> str:
    words = str(found.outlook)
    if found.outlook in (Outlook.PAID, Outlook.WILL):
        earliest = " at the earliest, as some costs are unknown" if at_best else ""
        return f"{words} on {_day(found.day)} {_ends(found)}{earliest}"
    if found.outlook is Outlook.NEVER and found.early is not None:
        return f"{words}; at the favourable end of its interval on {_day(found.early)}"
    if found.outlook is Outlook.NO_PACE:
        return "not yet; it takes a day in service to see a pace"
    return words


def _ends(found: Payback) -> str:
    late = _day(found.late) if found.late else "never"
    return f"[{_day(found.early)}, {late}]"


def _day(day: datetime | None) -> str:
    return f"{day:%Y-%m-%d}" if day else UNKNOWN


def _beside(bill: StudentBill) -> str:
    if bill.marginal is None:
        return f"cannot be told: {bill.untold}"
    return _marginal(bill.marginal, _named(bill.predecessor))


def _marginal(found: Marginal, before: str) -> str:
    each = Money(
        round(1000 * found.per_request), round(1000 * found.low), round(1000 * found.high), found.so_far.n
    )
    return (
        f"{money(each)} per 1,000 requests beside {before}, from the canary ({found.canary:,} requests to it "
        f"and {found.control:,} to that); over the {found.decided:,} it has decided {money(found.so_far)}"
    )
