"""The bill of a student as a tree of frozen values.

Invariant: money is in micro-dollars, and what is not known is counted beside what is, never added as zero. A
figure that cannot be given is None beside the reason. The tree does not know how it is shown.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from evals.report.tree import Money


class Cost(NamedTuple):
    """Money spent: the sum of what is known, and how many items have an unknown price."""

    usd_micros: int = 0
    unknown: int = 0

    def plus(self, other: Cost) -> Cost:
        """Both together."""
        return Cost(self.usd_micros + other.usd_micros, self.unknown + other.unknown)


class Outlook(enum.StrEnum):
    """Whether a student pays itself back."""

    PAID = "paid back"
    WILL = "will pay itself back"
    NEVER = "never at this pace"
    NO_PACE = "too short in service for a pace"
    NOT_IN_SERVICE = "not in service yet"
    IDLE = "nothing to pay back, and nothing earned"
    TAKEN_OUT = "taken out of service before it had paid itself back"
    UNTOLD = "cannot be told"


class Payback(NamedTuple):
    """When a student's net turns, and stays, positive.

    Attributes:
        day: When it did or will, None where it does not.
        early: The same at the favourable ends of the intervals of its saving and of its pace.
        late: The same at the unfavourable ends; None where it then never does.
        per_day: Its net saving a day at its present pace, n the answers it is taken from; None without one.
        pace_days: Days of service from which the pace is taken.
    """

    outlook: Outlook
    day: datetime | None = None
    early: datetime | None = None
    late: datetime | None = None
    per_day: Money | None = None
    pace_days: float | None = None


class Marginal(NamedTuple):
    """What a student earns beyond the one before it, from the requests that chance gave to either.

    Attributes:
        per_request: Micro-dollars saved a request, less what the one before saved; n is both arms together.
        low: Lower end of its interval; likewise `high`.
        canary: Requests that the student's policy decided; `control` those of the one before, meanwhile.
        decided: Requests that the student's policy has decided until now.
        so_far: The difference times `decided`, if both kept to what they did then.
    """

    per_request: float
    low: float
    high: float
    canary: int
    control: int
    decided: int
    so_far: Money


@dataclass(frozen=True, slots=True)
class StudentBill:
    """What one student cost and earned. `saved - live - spent = net`.

    Attributes:
        student: Its artifact id.
        predecessor: The student that was in service when it was first tried; None is the small model as
            declared, or that it was never tried.
        shared_with: Other students of the same training, each of whose bills has the whole of it too.
        training: Hours of machines.
        export: Likewise.
        labelling: What judges took for its answers, and its labels beside.
        asking: Shadow calls, evaluations and practice: answers of it that no client received.
        rent: Of the small model's hardware while this student was in service.
        service_s: Seconds for which it was.
        answered: Requests whose answer the client had from it.
        excluded: Of these, those left out on both sides, because what its answer cost is not known.
        live: What its live calls cost, the failed ones too.
        saved: What strong would have cost for the same requests; None where it cannot be estimated.
        net: What is left of that; None likewise. Where costs are unknown it is less than this.
        method: How `saved` was estimated.
        marginal: Beside the student before it; None where that cannot be told, for the reason in `untold`.
        missing: What could not be said, and why.
    """

    student: str
    predecessor: str | None
    shared_with: tuple[str, ...]
    training: Cost
    export: Cost
    labelling: Cost
    asking: Cost
    rent: Cost
    service_s: float
    answered: int
    excluded: int
    live: Cost
    saved: Money | None
    net: Money | None
    method: str
    marginal: Marginal | None
    untold: str
    payback: Payback
    missing: tuple[str, ...]

    @property
    def spent(self) -> Cost:
        """All that it cost beside its live calls."""
        total = Cost()
        for part in (self.training, self.export, self.labelling, self.asking, self.rent):
            total = total.plus(part)
        return total

    @property
    def unknown(self) -> int:
        """How many of its costs are unknown."""
        return self.spent.unknown + self.live.unknown
