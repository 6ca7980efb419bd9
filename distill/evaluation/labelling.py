"""Labels what a student was asked, at once: the checks first, and then the judges.

Invariant: labels are made by the ordinary sweeps, so they are those that any call would get.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from distill.evaluation.asking import CLOCK, declared_task
from evals.judge.counts import JudgeCounts
from evals.judge.sweep import first_unjudged, judge_all
from evals.labelling import LabelCounts, first_unlabelled, label_all
from stepdown.errors import OutOfBudget
from stepdown.ledger import Ledger
from stepdown.settings import Settings, TaskSettings


@dataclass(frozen=True, slots=True)
class Labelled:
    """What was labelled by checks and judged by judges."""

    checks: LabelCounts
    judges: JudgeCounts

    @property
    def unscored(self) -> int:
        """Answers that were given no verdict."""
        return self.checks.unscored + self.judges.unscored

    def __str__(self) -> str:
        """Both, in words."""
        return f"checked {self.checks}; judged {self.judges}"


def label_now(
    ledger: Ledger, settings: Settings, environ: Mapping[str, str], task: str, deadline: float = math.inf
) -> Labelled:
    """Label and judge the whole backlog of a task, without a batch endpoint, which answers some day.

    Raises:
        OutOfBudget: The deadline (of `CLOCK`) came and something is left; what was labelled is kept.
        SettingsError: The task is not declared.
        LedgerError: The ledger refused.
    """
    declared = declared_task(settings, task)
    budget_s = max(0.0, deadline - CLOCK())
    checks = label_all(ledger, {task: declared}, batch=settings.worker.batch, budget_s=budget_s)
    at_once = _without_batches(settings)
    judges = judge_all(ledger, at_once, environ, budget_s=max(0.0, deadline - CLOCK()), task=task)
    labelled = Labelled(checks, judges)
    if CLOCK() >= deadline and _is_left(ledger, settings, task, declared):
        raise OutOfBudget(f"the time was up: {labelled}; what was labelled is kept")
    return labelled


def _without_batches(settings: Settings) -> Settings:
    models = {name: msgspec.structs.replace(model, batch=False) for name, model in settings.models.items()}
    return msgspec.structs.replace(settings, models=models)


def _is_left(ledger: Ledger, settings: Settings, task: str, declared: TaskSettings) -> bool:
    if first_unlabelled(ledger, task, declared) is not None:
        return True
    return first_unjudged(ledger, task, declared, settings.models) is not None
