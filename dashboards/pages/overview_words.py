"""The overview's numbers as they are written: each with its interval, its n and its period.

Invariant: a number is coloured good or bad only where its whole interval is.
"""

from __future__ import annotations

from typing import NamedTuple

from markupsafe import Markup

from dashboards.figures import estimate
from dashboards.queries.overview import Traffic
from dashboards.queries.period import Period
from dashboards.render import count, dollars_of, money, percent, share
from dashboards.site import Visit
from evals.report.tree import Money
from evals.summary.documents import Billed, Outlook, Totals, Window
from stepdown.records import Mode

CENT, TEN_DOLLARS = 10_000, 10_000_000  # in micro-dollars


class Stat(NamedTuple):
    """One number of the first row.

    Attributes:
        tone: `good`, `bad` or empty.
        path: Of the page that explains it.
    """

    name: str
    value: Markup
    note: str
    tone: str
    path: str
    link: str


class Step(NamedTuple):
    """Something to be labelled: `done` of `wanted` distinct prompts for both models."""

    name: str
    done: int
    wanted: int


class BillLine(NamedTuple):
    """A line of the bill; the amounts between two sums lead from the one to the other."""

    name: str
    amount: Markup
    is_sum: bool = False


def stats(
    visit: Visit, period: Period, traffic: Traffic, totals: Totals | None, window: Window | None
) -> list[Stat]:
    """The first row: what matters most, first."""
    bill = window.bill if window else None
    why = _why(totals, window)
    return [
        _net(visit, period, traffic, bill, why),
        _share_saved(visit, period, bill, why),
        _quality(visit, period, totals, window),
        _coverage(visit, period, traffic, window),
        _spend(visit, period, traffic, window),
    ]


def headline(outlook: Outlook) -> str:
    """What a task is missing until it may be routed, in a sentence; empty where nothing can be said."""
    wanted = max(outlook.labels_to_router, outlook.labels_to_certificate)
    needs = f"needs about {wanted:,} more labels" if wanted else ""
    saving = outlook.saving
    brings = ""
    if saving is not None:
        first = "could save at most" if saving.at_most else "projected saving"
        brings = f"{first} {about(saving.usd_micros)} a month"
    said = "; ".join(filter(None, (needs, brings)))
    return said[:1].upper() + said[1:]


def about(amount: Money) -> str:
    """An amount and the longer arm of its interval, in round numbers: $410 ± 60."""
    arm = max(amount.high - amount.value, amount.value - amount.low)
    largest = max(abs(amount.value), arm)
    digits = 0 if largest >= TEN_DOLLARS else 2 if largest >= CENT else 4
    sign = "-" if amount.value < 0 else ""
    return f"{sign}${abs(amount.value) / 1e6:,.{digits}f} ± {arm / 1e6:,.{digits}f}"


def steps_of(outlook: Outlook) -> list[Step]:
    """What has to be labelled until a task may be routed."""
    router = Step("a first router", outlook.prompts, outlook.prompts + outlook.labels_to_router)
    more = outlook.labels_to_certificate
    bound = f"a certificate of at most {100 * outlook.bound:g}% regrets"
    certificate = Step(bound, outlook.certifiable, outlook.certifiable + more)
    return [step for step in (router, certificate) if step.wanted]


def bill_lines(bill: Billed) -> list[BillLine]:
    """The bill as it is added up: what strong would have cost, less each part, is the net saving."""
    lines = [
        BillLine("Always strong would have cost", money(bill.counterfactual), is_sum=True),
        BillLine("Answers to clients", _less(bill.live)),
        BillLine("Other candidates of strong", _less(bill.candidates)),
        BillLine("Gross saving", money(bill.gross), is_sum=True),
        BillLine("Shadow calls, to learn", _less(bill.shadow)),
        BillLine("Exploration", _less(bill.exploration)),
        BillLine("Escalations", _less(bill.escalation)),
        BillLine("Judges and labels", _less(bill.judge)),
        BillLine("Evaluations", _less(bill.evaluations)),
        BillLine("Prompt trials", _less(bill.trials)),
        BillLine("Rent of the small model", _less(bill.rent)),
        BillLine("Distillation of students", _less(bill.distillation)),
        BillLine("Net saving", money(bill.net), is_sum=True),
    ]
    return [line for line in lines if line.is_sum or line.amount]


def _less(micros: int) -> Markup:
    return Markup("−{}").format(dollars_of(micros)) if micros else Markup("")


def _why(totals: Totals | None, window: Window | None) -> str:
    if totals is None or window is None:
        return "comes with the first report of the workers"
    return window.why_no_bill


def _net(visit: Visit, period: Period, traffic: Traffic, bill: Billed | None, why: str) -> Stat:
    link = visit.link("/", range=period.name) + "#bill"
    if bill is None:
        return Stat("Net saving", money(None), why, "", link, "The bill")
    if not traffic.routed:
        note = f"what learning cost, {period.words}; it saves from mode route on"
        return Stat("Net saving", money(bill.net), note, "", link, "The bill")
    low, high = (bill.net.low, bill.net.high) if bill.net.n else (bill.net.value, bill.net.value)
    tone = "good" if low > 0 else "bad" if high < 0 else ""
    note = f"{period.words}; all that was spent to learn is paid"
    return Stat("Net saving", money(bill.net), note, tone, link, "The bill")


def _share_saved(visit: Visit, period: Period, bill: Billed | None, why: str) -> Stat:
    name, link = "Saved of always-strong's cost", visit.link("/frontier")
    if bill is None:
        return Stat(name, money(None), why, "", link, "What a bound buys")
    whole = bill.counterfactual.value
    found = estimate(bill.net_share)
    known = Markup("<span class=figure>{}</span>").format(share(bill.net.value / whole if whole else None))
    note = f"of {dollars_of(whole)} that {period.words} would have cost on strong"
    return Stat(name, percent(found) if found and found.n else known, note, "", link, "What a bound buys")


def _quality(visit: Visit, period: Period, totals: Totals | None, window: Window | None) -> Stat:
    name, link = "Quality against always strong", visit.link("/promotions")
    bound = totals.bound if totals else None
    promised = (
        f"promised: loses at most {100 * bound:g}%" if bound is not None and _is_promised(totals) else ""
    )
    audit = window.audit if window else None
    found = estimate(audit.difference) if audit else None
    if audit is None or found is None or not found.n:
        asked = promised or "measured on the explored share of mode route"
        return Stat(name, percent(None), asked, "", link, "What is in force")
    tone = "" if bound is None else "good" if found.low >= -bound else "bad" if found.high < -bound else ""
    note = f"{promised or 'nothing is promised'}; {audit.regrets:,} regrets of {audit.audited:,} audited"
    return Stat(name, percent(found, signed=True), note, tone, link, "What is in force")


def _is_promised(totals: Totals | None) -> bool:
    return totals is not None and totals.in_force and totals.mode == Mode.ROUTE


def _coverage(visit: Visit, period: Period, traffic: Traffic, window: Window | None) -> Stat:
    name, link = "Answered by small", visit.link("/requests", mode="route", tier="small", since=period.query)
    found = estimate(window.coverage) if window else None
    note = f"{traffic.routed_small:,} of {traffic.routed:,} requests of mode route, {period.words}"
    if found is not None and found.n:
        return Stat(name, percent(found), note, "", link, "Those requests")
    counted = Markup("<span class=figure>{}</span>").format(share(traffic.coverage))
    if traffic.coverage is None:
        return Stat(name, counted, "nothing was in mode route", "", link, "Those requests")
    return Stat(name, counted, note, "", link, "Those requests")


def _spend(visit: Visit, period: Period, traffic: Traffic, window: Window | None) -> Stat:
    bill = window.bill if window else None
    amount = bill.actual if bill else traffic.known_cost
    note = f"{count(window.requests if window and bill else traffic.total)} requests, {period.words}"
    if bill is None:
        note += "; calls alone"
    unpriced = (bill.unpriced + bill.excluded) if bill else traffic.unpriced
    if unpriced:
        note += f"; {unpriced:,} of unknown cost are not in it"
    value = Markup("<span class=figure>{}</span>").format(dollars_of(amount))
    return Stat("Spent", value, note, "", visit.link("/requests", since=period.query), "Those requests")
