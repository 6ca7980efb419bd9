"""The report as a tree of frozen values.

Invariant: everything shown in text, JSON or a picture is in here, and a figure that cannot be given is
None beside a line in `Report.missing` that says what it needs. Shares and qualities lie in [0, 1], money
is in micro-dollars. The tree does not know how it is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

from evals.metrics.intervals import Estimate
from evals.report.labels import Labels

E = TypeVar("E")


class Money(NamedTuple):
    """Micro-dollars with their interval; `n` rows were used to estimate them, 0 where all is known."""

    value: int
    low: int
    high: int
    n: int


class Count(NamedTuple):
    """How many requests had one value of something."""

    name: str
    requests: int


@dataclass(frozen=True, slots=True)
class Served:
    """What came in.

    Attributes:
        distinct_prompts: Requests that differ in more than case and white space.
        undecided: Requests without a decision in the ledger.
    """

    start: datetime
    end: datetime
    requests: int
    distinct_prompts: int
    undecided: int
    modes: tuple[Count, ...]
    reasons: tuple[Count, ...]
    statuses: tuple[Count, ...]


@dataclass(frozen=True, slots=True)
class CallLine:
    """All calls of one model in one role.

    Attributes:
        failed: Calls that the upstream did not answer with a 2xx.
        cost_usd_micros: Of the calls whose cost is known.
        unpriced: Answered calls whose cost is not known, and so is not in the sum.
        good: Share of good answers among the labelled.
        labelled: Calls labelled good or bad.
        unscored: Calls that a check failed to label; excluded.
        unlabelled: Answered calls without a label; excluded.
        judged: Of the labelled, those that only judges or users labelled.
        estimated: Calls whose tokens are an estimate, as their answer broke off.
    """

    model: str
    tier: str
    role: str
    calls: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd_micros: int
    unpriced: int
    good: Estimate
    labelled: int
    unscored: int
    unlabelled: int
    judged: int
    estimated: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BillWith(Generic[E]):
    """What was spent, and what always-strong would have been.

    `counterfactual - live - candidates = gross` and `gross - shadow - exploration - escalation - judge -
    evaluations - trials - rent - distillation = net`, to the micro-dollar. Always-strong pays for candidates
    too. Requests that named their model are not on the bill: nothing was decided there.

    Attributes:
        requests: Requests on the bill.
        answered_small: Those that the small model answered.
        live: Calls whose answer the client waited for.
        candidates: Answers of strong's portfolio that were not picked.
        shadow: Calls made to learn, outside of exploration.
        exploration: Shadow calls of explored requests. Strong's price for the answer itself is in `live`.
        escalation: Second calls after a small answer was refused.
        judge: Calls of judges, and what labels cost beside calls.
        evaluations: Answers that evaluations asked for; on the bill of all requests alone, as are trials.
        trials: Answers that prompt trials asked for.
        rent: Hours from the first to the last request times the task's part of its small model's rent.
        distillation: Hours of machines for the training and export of students, of known price; on the bill
            of all requests alone.
        actual: The sum of the above.
        counterfactual: What strong would have cost for the same requests.
        net_share: Net saving as a share of the counterfactual.
        excluded: Requests left out on both sides, because an answer's cost is not known.
        unpriced: Other calls whose cost is not known, and so is not on the bill.
        unpriced_machine_s: Seconds of distillation whose price is not known, and so is not on the bill.
        method: How the counterfactual was estimated.
    """

    requests: int
    answered_small: int
    live: int
    candidates: int
    shadow: int
    exploration: int
    escalation: int
    judge: int
    evaluations: int
    trials: int
    rent: int
    distillation: int
    actual: int
    counterfactual: Money
    gross: Money
    net: Money
    net_share: E
    excluded: int
    unpriced: int
    unpriced_machine_s: float
    method: str


class Bill(BillWith[Estimate]):
    """A bill as it is reckoned."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditWith(Generic[E]):
    """What the router's choices cost in quality, on explored requests: a random sample of its traffic.

    Attributes:
        explored: Explored requests.
        audited: Those with both answers labelled.
        judged: Of the audited, those with an answer that only judges or users labelled.
        policy: Quality had the policy had its way.
        strong: Quality of always-strong.
        difference: Policy minus always-strong on the same requests.
        regrets: Times strong was right and the policy would have given small's wrong answer.
        regret: Their share of the audited.
    """

    explored: int
    audited: int
    judged: int
    policy: E
    strong: E
    difference: E
    regrets: int
    regret: E


class Audit(AuditWith[Estimate]):
    """An audit as it is reckoned."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Promise:
    """The bound in force: P(regret) <= epsilon with confidence 1 - delta, from calibration labels.

    Attributes:
        spent: The part of delta that this router's certificate was given; refits share it.
        upper: Exact upper bound of the regret at the threshold, with confidence 1 - spent.
        n: Calibration prompts.
        judged_by: Whose word it rests on, where it rests on more than trusted labels.
    """

    artifact: str
    epsilon: float
    delta: float
    spent: float | None
    upper: float | None
    n: int | None
    regrets: int | None
    coverage: float | None
    threshold: float | None
    reason: str
    judged_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Received:
    """Quality of the answers that clients received from one model, as labelled."""

    model: str
    tier: str
    answers: int
    good: Estimate
    unscored: int
    unlabelled: int


@dataclass(frozen=True, slots=True)
class SliceLine:
    """One kind of query.

    Attributes:
        share: Of all requests.
        coverage: Share of its routed requests that small answered.
        strong: Quality of strong on its pairs; likewise `small`.
    """

    name: str
    requests: int
    share: float
    coverage: Estimate
    strong: Estimate
    small: Estimate


@dataclass(frozen=True, slots=True)
class Ranking:
    """How well one way to rank requests spends its strong calls, on held-out pairs.

    Attributes:
        quality: Quality at the router's coverage.
        quality_curve: Quality at each of `Curves.strong_share`.
    """

    name: str
    apgr: Estimate
    cpt50: Estimate
    cpt80: Estimate
    quality: Estimate
    quality_curve: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Curves:
    """The cost-quality curve and its baselines, on pairs that had no part in fitting the scores.

    Attributes:
        pairs: Held-out pairs.
        calibration: Those of them that chose the threshold.
        later: Those that came after the router was made.
        fit_pairs: Pairs that the baselines were fitted on, as the router was.
        strong_share: Grid of the curves, 0 to 1.
        low: Lower edge of the router's band; likewise `high`.
        coverage: Share that the router in force gives to small.
        policy: Its quality.
        difference: Its quality minus always-strong's.
        strong: Quality of always-strong; likewise `small`.
        shuffle: Quality of as many small answers given at random.
        strong_usd_micros: Mean cost of a strong answer, None where unknown; likewise `small_usd_micros`.
        rankings: The router first, then its baselines.
    """

    artifact: str
    pairs: int
    calibration: int
    later: int
    fit_pairs: int
    strong_share: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    coverage: Estimate
    policy: Estimate
    difference: Estimate
    strong: Estimate
    small: Estimate
    shuffle: Estimate
    strong_usd_micros: float | None
    small_usd_micros: float | None
    epsilon: float
    rankings: tuple[Ranking, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All of it. The same ledger gives the same report: it holds no clock and no chance.

    Attributes:
        confidence: Of every interval.
        bill: Of the whole period; `routed_bill` of its requests in mode route.
        coverage: Share of routed requests that small answered.
        labels: How far labels can be trusted; None where only checks label.
        missing: What could not be said, and what it needs.
        skipped_bodies: Prompts that could not be read from the ledger.
    """

    task: str
    mode: str
    confidence: float
    served: Served | None
    calls: tuple[CallLine, ...]
    bill: Bill | None
    routed_bill: Bill | None
    audit: Audit | None
    promise: Promise | None
    received: tuple[Received, ...]
    coverage: Estimate | None
    slices: tuple[SliceLine, ...]
    curves: Curves | None
    labels: Labels | None
    labelled_pairs: int
    labelled_prompts: int
    skipped_bodies: int
    missing: tuple[str, ...]
