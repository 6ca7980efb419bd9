"""Runs suites with the candidate and the student in service side by side, and gives their scores by case.

Invariant: what was answered before is not asked again, and each run is kept as an evaluation. A suite that
cannot be run says why, and stops no other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from distill.evidence import Pairs
from evals.harness.compare import scores_of
from evals.harness.contender import Contender
from evals.harness.evaluate import Plan, evaluate
from evals.harness.form import Evaluation
from evals.harness.keep import keep_evaluation
from evals.harness.load import Reading, load_suite
from evals.harness.measure import NO_SLICE, mean_score
from stepdown.errors import OutOfBudget, SuiteError
from stepdown.ledger import Ledger
from stepdown.settings import Settings


class Ran(NamedTuple):
    """A suite that was run: what came of it, and the evaluation as it is kept."""

    name: str
    pairs: Pairs
    evaluation: str | None


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What suites are run with.

    Attributes:
        settings: All settings, the students in them as models.
        candidate: Alias of the candidate; `incumbent` that of the student in service.
        deadline: Time of `evals.harness.asking.CLOCK` at which no more is asked.
    """

    ledger: Ledger
    settings: Settings
    environ: Mapping[str, str]
    task: str
    candidate: str
    incumbent: str
    deadline: float = math.inf


def run_suite(bench: Bench, path: str) -> Ran:
    """Run one suite.

    Raises:
        OutOfBudget: The deadline came; what was answered is kept.
        SettingsError: A model's key is not set.
        LedgerError: The ledger refused.
    """
    try:
        suite = load_suite(Path(path), Reading(tasks=bench.settings.tasks, task=bench.task))
        plan = Plan(
            suite=suite,
            contenders=[Contender(name=name, alias=name) for name in (bench.incumbent, bench.candidate)],
            baseline=bench.incumbent,
            settings=bench.settings,
            environ=bench.environ,
            deadline=bench.deadline,
        )
        done = evaluate(bench.ledger, plan)
    except SuiteError as error:
        return Ran(path, Pairs.none(str(error)), None)
    if done.out_of_time:
        raise OutOfBudget(
            f"suite {suite.name!r}: the time was up after {done.spent.asked:,} new answers, which are kept"
        )
    return Ran(suite.name, _pairs(bench, done.evaluation), keep_evaluation(bench.ledger, done.evaluation).id)


def _pairs(bench: Bench, evaluation: Evaluation) -> Pairs:
    ids = [case.id for case in evaluation.cases]
    scores = [
        scores_of({case.id: mean_score(case.samples[name]) for case in evaluation.cases}, ids)
        for name in (bench.candidate, bench.incumbent)
    ]
    return Pairs(
        scores[0],
        scores[1],
        np.array([case.prompt_hash for case in evaluation.cases], dtype=str),
        np.array([case.slice or NO_SLICE for case in evaluation.cases], dtype=str),
    )
