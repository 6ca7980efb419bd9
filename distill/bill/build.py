"""Builds the bills of a task's students from its ledger.

Invariant: what cannot be said of one student is named in its bill with what it needs, and stops no other's.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

import pandas as pd

from distill.bill.costs import ASKING, EXPORT, LABELLING, LIVE, TRAINING, cost_lines, total
from distill.bill.marginal import marginal
from distill.bill.material import Material, Student, claims_of, read_material
from distill.bill.payback import Account, pace, pace_start, payback
from distill.bill.service import in_service, predecessor, share_at
from distill.bill.tree import Cost, Marginal, Outlook, Payback, StudentBill
from evals.report.savings import OnStrong, on_strong
from evals.report.tree import Money
from stepdown.errors import NotEnoughEvidence
from stepdown.ids import now
from stepdown.ledger import Ledger
from stepdown.records import ANSWERING, Reason, Tier
from stepdown.settings import Settings
from stepdown.students import served_name

CONFIDENCE = 0.95
NEVER_TRIED = "it was on no canary, in which chance gives requests to it and to the one before it"


def student_bills(
    ledger: Ledger, settings: Settings, task: str, *, at: datetime | None = None
) -> list[StudentBill]:
    """The bills of all students that were ever trained for a task, the oldest first.

    Args:
        ledger: Where it was all written down.
        settings: For prices.
        task: Name of the task.
        at: The present; None is now.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    return bills_of(read_material(ledger, settings, task), at or now())


def bills_of(material: Material, at: datetime) -> list[StudentBill]:
    """The bill of each student, in the order of the material."""
    return [_bill(material, student, at) for student in material.students]


def unclaimed(material: Material) -> Cost:
    """The hours of machines that are on no student's bill: of trainings that made none."""
    claims = [claims_of(one, material.students) for one in material.students]
    left = [
        row.cost_usd_micros
        for row in material.spent.expenses
        if not any(claim.share(row.kind, row.subject) for claim in claims)
    ]
    return Cost(sum(cost for cost in left if cost is not None), sum(cost is None for cost in left))


class _Answers(NamedTuple):
    """What a student answered for clients: the priced answers, and how many are not."""

    priced: pd.DataFrame
    unpriced: int


def _bill(material: Material, student: Student, at: datetime) -> StudentBill:
    name, missing = student.artifact.id, list[str]()
    before = predecessor(material.history, name)
    lines = cost_lines(material.spent, name, claims_of(student, material.students))
    periods = in_service(material.history, name, at)
    costs = {kind: total(lines, kind) for kind in (TRAINING, EXPORT, LABELLING, ASKING, LIVE)}
    answers = _answers(material, name)
    estimated = _on_strong(material, answers.priced, missing)
    saved = _saved_rows(answers.priced, estimated)
    money = estimated.money if estimated else None
    account = Account(lines.dropna(), saved, money or Money(0, 0, 0, 0), periods, _per_hour(material), at)
    rent = Cost(round(account.rent_until(at)))
    spent = sum(cost.usd_micros for cost in costs.values()) + rent.usd_micros
    net = Money(money.value - spent, money.low - spent, money.high - spent, money.n) if money else None
    beside = _beside(material, name, before)
    return StudentBill(
        student=name,
        predecessor=before,
        shared_with=_siblings(material, student),
        training=costs[TRAINING],
        export=costs[EXPORT],
        labelling=costs[LABELLING],
        asking=costs[ASKING],
        rent=rent,
        service_s=sum(period.seconds for period in periods),
        answered=len(answers.priced) + answers.unpriced,
        excluded=answers.unpriced,
        live=costs[LIVE],
        saved=money,
        net=net,
        method=estimated.method if estimated else "",
        marginal=beside if isinstance(beside, Marginal) else None,
        untold=beside if isinstance(beside, str) else "",
        payback=_payback(material, account, answers.priced, net, missing),
        missing=tuple(dict.fromkeys(missing)),
    )


def _per_hour(material: Material) -> float:
    return material.rates.small_usd_per_hour


def _siblings(material: Material, student: Student) -> tuple[str, ...]:
    run = student.manifest.run if student.manifest else None
    same = (one for one in material.students if run and one.manifest and one.manifest.run == run)
    return tuple(one.artifact.id for one in same if one.artifact.id != student.artifact.id)


def _answers(material: Material, student: str) -> _Answers:
    """The requests on which a policy decided, and whose answer the client had from this student."""
    found = _last_answers(material)
    own = found[(found["tier"] == Tier.SMALL) & (found["model"] == served_name(student))]
    known = own["cost_usd_micros"].notna()
    return _Answers(own[known], int((~known).sum()))


def _last_answers(material: Material) -> pd.DataFrame:
    """Each decided request's answer, with its `prompt_hash`; the call as it is in `Outcomes.calls`."""
    requests, calls = material.outcomes.requests, material.outcomes.calls
    decided = requests[requests["reason"].notna() & (requests["reason"] != Reason.NAMED)]
    answers = calls[calls["ok"] & calls["role"].isin(ANSWERING)].drop_duplicates("request", keep="last")
    prompts = decided.set_index("id")["prompt_hash"]
    answers = answers[answers["request"].isin(prompts.index)]
    return answers.assign(prompt_hash=answers["request"].map(prompts)).reset_index(drop=True)


def _on_strong(material: Material, answers: pd.DataFrame, missing: list[str]) -> OnStrong | None:
    try:
        return on_strong(answers, material.pairs, material.rates, CONFIDENCE)
    except NotEnoughEvidence as error:
        missing.append(str(error))
        return None


def _saved_rows(answers: pd.DataFrame, estimated: OnStrong | None) -> pd.DataFrame:
    each = estimated.each if estimated else pd.Series(dtype=float)
    return answers.assign(usd_micros=each.reindex(answers.index).astype(float))[
        ["at", "usd_micros", "prompt_hash"]
    ].dropna()


def _payback(
    material: Material, account: Account, answers: pd.DataFrame, net: Money | None, missing: list[str]
) -> Payback:
    if net is None:
        return Payback(Outlook.UNTOLD)
    start, per_day = pace_start(account), None
    if start is not None:
        recent = _on_strong(material, answers[answers["at"] >= start], missing)
        per_day = pace(account, start, recent.money, CONFIDENCE) if recent else None
    return payback(account, net, per_day)


def _beside(material: Material, student: str, before: str | None) -> Marginal | str:
    """What the canary says of the student and the one before it, or why it says nothing."""
    rows = _trial(material, student, before)
    if rows.empty:
        return NEVER_TRIED
    try:
        spread = [_half(material, rows[rows["canary"] == arm]) for arm in (True, False)]
        saved = rows.dropna(subset=["saved_usd_micros"])
        return marginal(saved, (spread[0], spread[1]), material.decided.get(student, 0), CONFIDENCE)
    except NotEnoughEvidence as error:
        return str(error)


def _trial(material: Material, student: str, before: str | None) -> pd.DataFrame:
    """The answered requests of the student's canary, with their answering call and the share of the time."""
    arms, answers = material.arms, _last_answers(material).set_index("request", drop=False)
    canary = arms["canary"] & (arms["student"] == student)
    control = ~arms["canary"] & ((arms["student"] == before) if before else arms["student"].isna())
    rows = arms[canary | control].set_index("request")[["canary"]].join(answers, how="inner")
    came = material.outcomes.requests.set_index("id")["at"].reindex(rows.index)
    shares = [share_at(material.history, student, at) for at in _times(came)]
    rows = rows.assign(share=pd.Series(shares, index=rows.index, dtype=float))
    return rows.dropna(subset=["share"]).pipe(_with_saving, material)


def _times(times: Iterable[pd.Timestamp]) -> list[datetime]:
    return [time.to_pydatetime() for time in times]


def _with_saving(rows: pd.DataFrame, material: Material) -> pd.DataFrame:
    calls = material.outcomes.calls
    live = calls[calls["role"].isin(ANSWERING) & (calls["ok"] | calls["cost_usd_micros"].notna())]
    paid = live.groupby("request")["cost_usd_micros"].agg(lambda costs: costs.sum(skipna=False))
    instead = rows["cost_usd_micros"].astype("Float64")
    small = rows["tier"] == Tier.SMALL
    if small.any():
        estimated = on_strong(rows[small], material.pairs, material.rates, CONFIDENCE)
        instead = instead.where(~small, estimated.each.reindex(rows.index).astype("Float64"))
    return rows.assign(saved_usd_micros=instead - paid.reindex(rows.index).astype("Float64"))


def _half(material: Material, rows: pd.DataFrame) -> float:
    """Half the width of the interval of what strong would have cost for the small answers of an arm."""
    money = on_strong(rows[rows["tier"] == Tier.SMALL], material.pairs, material.rates, CONFIDENCE).money
    return (money.high - money.low) / 2
