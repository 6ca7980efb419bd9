"""The shapes of the documents, as they are kept in JSON.

Invariant: every estimate has its interval and its n. Money is in micro-dollars, times are in UTC, shares and
qualities lie in [0, 1]. The module does not know how a figure is made.
"""

from __future__ import annotations

import math
from dataclasses import fields
from datetime import datetime
from typing import Any, Literal, Self

from msgspec import Struct

from evals.metrics.intervals import Estimate
from evals.report.tree import Audit, AuditWith, Bill, BillWith, Money, Promise


class Measured(Struct, frozen=True):
    """An estimate as JSON knows it: what is undefined, and an end that does not exist, is None."""

    value: float | None
    low: float | None
    high: float | None
    n: int

    @classmethod
    def of(cls, estimate: Estimate) -> Self:
        """An estimate as it is kept."""
        value, low, high = (end if math.isfinite(end) else None for end in estimate[:3])
        return cls(value, low, high, estimate.n)


class Billed(BillWith[Measured]):
    """A bill as it is kept."""

    __slots__ = ()

    @classmethod
    def of(cls, bill: Bill) -> Self:
        """A bill as it is kept."""
        return cls(**_kept(bill))


class Audited(AuditWith[Measured]):
    """An audit of explored requests as it is kept."""

    __slots__ = ()

    @classmethod
    def of(cls, audit: Audit) -> Self:
        """An audit as it is kept."""
        return cls(**_kept(audit))


def _kept(reckoned: Bill | Audit) -> dict[str, Any]:
    """The fields of a bill or an audit, with estimates as JSON knows them."""
    values = {field.name: getattr(reckoned, field.name) for field in fields(reckoned)}
    return {k: Measured.of(v) if isinstance(v, Estimate) else v for k, v in values.items()}


class Period(Struct, frozen=True, kw_only=True):
    """One hour or one day.

    Attributes:
        start: It lasts until the next one's start.
        requests: All that came, whatever was decided on them.
        bill: None where none can be made; `why_no_bill` says why.
        coverage: Share of its routed requests that small answered; None where none was routed.
        audit: Of its explored requests; None where there are none.
        audit_so_far: Of all explored requests since the router in force was put in force, up to the end of
            this period. Its intervals hold for one period each, not for all of them at once.
    """

    start: datetime
    requests: int
    bill: Billed | None = None
    why_no_bill: str = ""
    coverage: Measured | None = None
    audit: Audited | None = None
    audit_so_far: Audited | None = None


class Days(Struct, frozen=True, kw_only=True):
    """A task's history, period by period without gaps, the oldest first.

    Attributes:
        at: The present, when it was made.
        since: Requests from before are left out, as there are too many; None leaves out none.
        bucket: How long a period is.
        confidence: Of every interval.
        router_since: When the router in force was put in force.
    """

    at: datetime
    since: datetime | None
    bucket: Literal["hour", "day"]
    confidence: float
    router_since: datetime | None = None
    periods: tuple[Period, ...] = ()


class Window(Struct, frozen=True, kw_only=True):
    """What a stretch of time up to the present comes to; see `Period` for what is None when.

    Attributes:
        start: None where it is all that the ledger has.
    """

    start: datetime | None
    requests: int
    bill: Billed | None = None
    why_no_bill: str = ""
    coverage: Measured | None = None
    audit: Audited | None = None


class Totals(Struct, frozen=True, kw_only=True):
    """What a task comes to.

    Attributes:
        windows: By name: `24h`, `7d`, `30d`, `all`; the last is all since `since`.
        mode: That is in force.
        promise: The bound in force, or that of the newest router where none is in force.
        in_force: Whether the router of the promise is in force.
        bound: Largest allowed share of regrets, as it is asked for now.
        audit_of_router: Of all explored requests since the router in force was put in force.
        labelled_pairs: Requests with both answers labelled; `labelled_prompts` distinct prompts among them.
    """

    at: datetime
    since: datetime | None
    confidence: float
    mode: str
    windows: dict[str, Window]
    bound: float
    promise: Promise | None = None
    in_force: bool = False
    audit_of_router: Audited | None = None
    labelled_pairs: int = 0
    labelled_prompts: int = 0


class Alarm(Struct, frozen=True):
    """Something that a person should look at.

    Attributes:
        severity: `error`: a promise is broken or work stands still. `warning`: it will be, if nobody acts.
        about: One word for what it is about.
        text: In words.
    """

    severity: Literal["error", "warning"]
    about: str
    text: str


class Saving(Struct, frozen=True, kw_only=True):
    """What routing a task would bring.

    Attributes:
        usd_micros: A month, with the interval of a resampling of prompts.
        coverage: Share of requests that small would answer.
        at_most: Whether it is a bound from above and no projection.
        method: How it was reckoned.
    """

    usd_micros: Money
    coverage: Measured
    at_most: bool
    method: str


class Outlook(Struct, frozen=True, kw_only=True):
    """What a task is missing, and what it would bring.

    Attributes:
        prompts: Distinct prompts labelled for both models; `certifiable` are those a bound may rest on.
        labels_to_router: Prompts yet to be labelled until the first router; 0 where there is one.
        labels_to_certificate: Likewise until the first certificate, if none of them is a regret.
        bound: Largest allowed share of regrets.
        confidence: With which it is to hold.
        rate_per_day: Prompts newly labelled a day, lately; None where nothing came lately.
        days_to_go: Until the larger of both is reached at that rate.
        requests_a_month: If traffic stays as it was lately; `extrapolated` says since when that is.
        saving: None where nothing can be said yet.
        lines: All that in words.
    """

    at: datetime
    since: datetime | None
    mode: str
    prompts: int
    certifiable: int
    min_labels: int
    labels_to_router: int
    labels_to_certificate: int
    bound: float
    confidence: float
    rate_per_day: float | None = None
    days_to_go: float | None = None
    requests_a_month: int = 0
    extrapolated: str = ""
    saving: Saving | None = None
    lines: tuple[str, ...] = ()
    alarms: tuple[Alarm, ...] = ()


class SliceLine(Struct, frozen=True, kw_only=True):
    """One slice; the fields are those of `evals.slices.report.SliceRow`, its costs and its verdict.

    Attributes:
        cost_strong: Mean micro-dollars of a request on strong; likewise `cost_small`.
        may: May it step down: `yes`, `no`, `need` or `no_unless`; `why` in words.
        more: Labels that it needs until yes, if the observed rate of regrets holds.
        examples: Ids of its newest requests, of different prompts.
    """

    id: str
    name: str
    terms: tuple[str, ...]
    requests: int
    prompts: int
    share: Measured
    cost_share: float | None
    cost_strong: Measured
    cost_small: Measured
    cost_method: str
    strong: Measured
    small: Measured
    regret: Measured
    saving: Measured | None
    may: str
    why: str
    more: int | None
    examples: tuple[str, ...] = ()


class SlicesDocument(Struct, frozen=True, kw_only=True):
    """The query-type map of a task, by share of cost, the largest first.

    Attributes:
        artifact: Id of the slices.
        requests: Of the task; `looked_at` are those that shares and costs are of.
        bound: Largest allowed share of regrets.
        confidence: With which all verdicts of yes hold together.
    """

    at: datetime
    since: datetime | None
    artifact: str
    requests: int
    looked_at: int
    bound: float
    confidence: float
    certify_on: str
    rows: tuple[SliceLine, ...] = ()
    new: tuple[str, ...] = ()
    vanished: tuple[str, ...] = ()


class Operations(Struct, frozen=True, kw_only=True):
    """What is left to do, of all tasks.

    Attributes:
        label_backlog: Answers that wait for a label of a check or a judge, by task.
        oldest_unlabelled_s: Age of the oldest of them; None where there is none.
        queue_age_s: How long the oldest work of a queue has waited; None where there is none.
        capped: Tasks whose backlog is larger than it was counted.
        frontiers: Where the search for each backlog goes on: before, nothing waited.
        whole_look_at: When all of the ledger was last searched.
    """

    at: datetime
    label_backlog: dict[str, int] = {}
    oldest_unlabelled_s: dict[str, float | None] = {}
    queue_age_s: dict[str, float | None] = {}
    capped: tuple[str, ...] = ()
    frontiers: dict[str, datetime] = {}
    whole_look_at: datetime | None = None
