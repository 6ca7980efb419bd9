"""How far labelling is: what one person has done, and how good all labellers were last found to be.

Invariant: nothing here says which model gave an answer. What takes long to estimate is read from the newest
report, and said to be as old as that is.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import msgspec
from sqlalchemy import func, select

from evals.metrics.intervals import Estimate
from evals.report.keep import REPORT
from stepdown.labellers import Kind, labeller_name
from stepdown.ledger import Ledger, schema
from stepdown.records import Verdict
from stepdown.registry import Registry

_l, _c, _r = schema.labels, schema.calls, schema.requests


class Ends(msgspec.Struct, frozen=True, kw_only=True):
    """An estimate as reports have it: `null` is not a number."""

    value: float | None
    low: float | None
    high: float | None
    n: int

    @property
    def estimate(self) -> Estimate | None:
        """The estimate, where there is one."""
        if self.value is None or self.low is None or self.high is None or not self.n:
            return None
        return Estimate(self.value, self.low, self.high, self.n)


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """A labeller beside those whose word is taken for true."""

    confusion: dict[str, int]
    share: Ends
    kappa: Ends
    sensitivity: Ends
    specificity: Ends

    @property
    def error(self) -> Estimate | None:
        """The share of its verdicts that are wrong."""
        right = self.share.estimate
        return Estimate(1 - right.value, 1 - right.high, 1 - right.low, right.n) if right else None


class LabellerLine(msgspec.Struct, frozen=True, kw_only=True):
    """One labeller; `unscored` answers it could not tell."""

    labeller: str
    against: str
    labels: int
    unscored: int
    agreement: Agreement

    @property
    def measured(self) -> bool:
        """Whether anything could be compared."""
        return sum(self.agreement.confusion.values()) > 0


class PeoplePair(msgspec.Struct, frozen=True, kw_only=True):
    """Two people, and Cohen's kappa on the answers that both labelled."""

    first: str
    second: str
    kappa: Ends


class LabellerErrors(msgspec.Struct, frozen=True, kw_only=True):
    """All labellers of a task."""

    lines: tuple[LabellerLine, ...]
    people: Ends
    pairs: tuple[PeoplePair, ...]
    contradicted: int

    @property
    def shown(self) -> list[LabellerLine]:
        """The lines without the empty ones of labellers that were measured against somebody else."""
        known = {line.labeller for line in self.lines if line.measured}
        return [line for line in self.lines if line.measured or line.labeller not in known]


class _Labels(msgspec.Struct, frozen=True, kw_only=True):
    errors: LabellerErrors


class _Report(msgspec.Struct, frozen=True, kw_only=True):
    labels: _Labels | None = None


class Measured(NamedTuple):
    """What the newest report says of labellers; None where only checks label."""

    at: datetime
    errors: LabellerErrors | None


def newest_measured(ledger: Ledger, task: str) -> Measured | None:
    """How good the labellers of a task were last found to be; None before the first report.

    Raises:
        LedgerError: The ledger cannot be read.
        ArtifactError: The report is corrupt.
    """
    report = Registry(ledger).newest(REPORT, task)
    if report is None:
        return None
    try:
        found = msgspec.json.decode(report.content, type=_Report)
    except msgspec.DecodeError:  # of another version
        return None
    return Measured(report.at, found.labels.errors if found.labels else None)


def labelled_since(ledger: Ledger, task: str, annotator: str, since: datetime) -> int:
    """How many items of a task a person has labelled since a time, skipped ones left out.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    joined = _l.join(_c, _c.c.id == _l.c.subject).join(_r, _r.c.id == _c.c.request)
    own = (_l.c.labeller == labeller_name(Kind.PERSON, annotator)) & (_l.c.at >= since)
    given = (_l.c.verdict != Verdict.UNSCORED) & (_r.c.task == task)
    query = select(func.count(_c.c.request.distinct())).select_from(joined)
    return int(ledger.rows(query.where(schema.OF_PEOPLE, own, given))[0][0])
