"""What a candidate is expected to save, and what it has cost: the parts of both, from the ledger.

Invariant: a cost that is not known is missing and counted, never zero. Where the coverage is from is said.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from distill.bill.costs import cost_lines
from distill.bill.material import claims_of, read_material
from distill.evidence import Economy
from evals.metrics.intervals import Estimate, Floats, proportion
from evals.month import MONTH_DAYS, traffic_of
from evals.outcomes import Outcomes, training_examples
from evals.promotion import promise_of
from evals.refit import ROUTER
from router.fitting.bound import certify, prompts_needed
from router.fitting.fit import MIN_LABELS, Example, fit_model, thresholds_from
from router.fitting.two_head import GOOD
from stepdown.bound_in_force import bounded
from stepdown.errors import ArtifactError
from stepdown.ids import now
from stepdown.ledger import Ledger
from stepdown.prices import rent_usd_micros, rented_per_hour
from stepdown.registry import Registry
from stepdown.settings import Settings, TaskSettings

DAY_S = 86_400.0


@dataclass(frozen=True)
class Trial:
    """Whose economy is looked at.

    Attributes:
        outcomes: Of the task, with the candidate's answers as small's.
        requests: The sample: ids of the requests that the candidate may be counted on.
    """

    task: str
    candidate: str
    incumbent: str | None
    outcomes: Outcomes
    requests: Collection[str]


def economy(ledger: Ledger, settings: Settings, trial: Trial) -> Economy:
    """All of it.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    task = bounded(Registry(ledger), trial.task, settings.tasks[trial.task])
    pairs = trial.outcomes.labelled_pairs
    own = pairs[pairs["id"].isin(trial.requests)].reset_index(drop=True)
    coverage, source = _coverage(ledger, task, trial, own)
    answered = trial.outcomes.pairs
    answered = answered[answered["id"].isin(trial.requests)]
    spent, unpriced = _spent(ledger, settings, trial)
    return Economy(
        requests_per_day=traffic_of(trial.outcomes.requests, now()).requests_a_month / MONTH_DAYS,
        coverage=coverage,
        coverage_from=source,
        strong=_costs(answered, "strong"),
        small=_costs(answered, "small"),
        exploration=task.exploration,
        rent_per_day=rent_usd_micros(rented_per_hour(settings, task), DAY_S),
        spent=spent,
        unpriced=unpriced,
    )


def _costs(pairs: pd.DataFrame, tier: str) -> Floats:
    costs = pairs[f"{tier}_cost_usd_micros"].astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
    return np.asarray(costs, dtype=np.float64)


def _coverage(
    ledger: Ledger, task: TaskSettings, trial: Trial, own: pd.DataFrame
) -> tuple[Estimate | None, str]:
    """From the candidate's own answers where they can support the bound, else the incumbent's certificate."""
    promise = promise_of(task)
    examples = training_examples(ledger, own, certify_on=task.certify_on)
    certain = len({example.group for example in examples if example.certifiable})
    wanted = max(MIN_LABELS, prompts_needed(promise.epsilon, promise.delta))
    if certain >= wanted:
        found = _cross_fitted(examples, promise.epsilon, promise.delta)
        return found, f"cross-fitted on {found.n:,} of its own labelled prompts"
    few = f"{certain:,} of its prompts are labelled for it and for strong, {wanted:,} are needed"
    try:
        router = Registry(ledger).newest(ROUTER, trial.task, student=trial.incumbent)
    except ArtifactError as error:
        return None, f"{few}; the router of the student in service: {error}"
    certificate = router.summary["certificate"] if router else {}
    if not certificate.get("coverage"):
        return None, f"{few}; nor has the student in service a router that gives it requests"
    found = proportion(int(certificate["served"]), int(certificate["n"]))
    return found, "that of the student in service, for want of labels"


def _cross_fitted(examples: Sequence[Example], epsilon: float, delta: float) -> Estimate:
    """The share that a bound at this many prompts allows, each prompt scored by heads that never saw it."""
    ordered = sorted(examples, key=lambda e: (e.group, not e.certifiable, e.prompt.text))
    _, gains, _ = fit_model(ordered)
    counted = np.array([example.certifiable for example in ordered])
    first = np.array([i == 0 or ordered[i - 1].group != one.group for i, one in enumerate(ordered)])
    chosen = counted & first
    regrets = np.array([e.strong_good >= GOOD > e.small_good for e in ordered])
    allowed = certify(
        gains[chosen], regrets[chosen], thresholds=thresholds_from(gains), epsilon=epsilon, delta=delta
    )
    return proportion(allowed.served, allowed.n)


def _spent(ledger: Ledger, settings: Settings, trial: Trial) -> tuple[int, int]:
    """Micro-dollars spent on the candidate so far, and parts of it of unknown cost: as on its bill."""
    material = read_material(ledger, settings, trial.task)
    own = next(student for student in material.students if student.artifact.id == trial.candidate)
    costs = cost_lines(material.spent, trial.candidate, claims_of(own, material.students))["usd_micros"]
    return round(float(costs.sum())), int(costs.isna().sum())
