"""Suites that a task's models have not run yet: found and run by a worker.

Invariant: what is due follows from the settings, the suite files and the ledger alone, so a worker that is
killed, or whose time is up, loses nothing, and running again what is done does nothing. A suite that is
broken, and a model that is away, are said and stop nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evals.harness.asking import CLOCK
from evals.harness.contender import Contender
from evals.harness.evaluate import Plan, evaluate
from evals.harness.keep import has_run, keep_evaluation, kept_evaluations
from evals.harness.load import Reading, load_suite
from evals.harness.suite import Suite
from stepdown.errors import StepdownError, SuiteError
from stepdown.ledger import Ledger
from stepdown.settings import Settings, TaskSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SuiteRun:
    """What came of one suite of one task.

    Attributes:
        suite: Path of the suite, as the settings name it.
        due: Aliases that had not run it.
        evaluation: Id of the evaluation that was made, or None.
        error: Why there is none, or which models are to run it again; None where all is done.
    """

    task: str
    suite: str
    due: Sequence[str]
    evaluation: str | None
    error: str | None


def run_due_suites(
    ledger: Ledger, settings: Settings, environ: Mapping[str, str], *, budget_s: float
) -> list[SuiteRun]:
    """Run what is due, all of a task's models side by side: what was answered before costs nothing.

    Args:
        ledger: Where answers and evaluations are kept.
        settings: All settings.
        environ: Where the models' keys are.
        budget_s: Seconds after which nothing more is asked; what is left is due again, its answers kept.

    Returns:
        What was run or could not be; a suite that nobody is due to run is not in it.
    """
    deadline = CLOCK() + budget_s
    runs: list[SuiteRun] = []
    for name, task in settings.tasks.items():
        for path in task.suites:
            if CLOCK() >= deadline:
                return runs
            done = _run_if_due(ledger, settings, environ, name, path, deadline)
            if done is not None:
                _say(done)
                runs.append(done)
    return runs


def models_of(task: TaskSettings) -> list[str]:
    """Aliases of all models that run a task's suites."""
    return list(dict.fromkeys(a for a in (task.strong, task.small, *task.challengers) if a is not None))


def _run_if_due(
    ledger: Ledger, settings: Settings, environ: Mapping[str, str], name: str, path: str, deadline: float
) -> SuiteRun | None:
    due: list[str] = []
    try:
        suite = load_suite(Path(path), Reading(tasks=settings.tasks, task=name))
        due = _due(ledger, settings, name, suite)
        return _run(ledger, settings, environ, suite, due, path, deadline) if due else None
    except StepdownError as error:
        return SuiteRun(name, path, due, None, str(error))


def _due(ledger: Ledger, settings: Settings, name: str, suite: Suite) -> list[str]:
    kept = kept_evaluations(ledger, name)
    return [
        alias
        for alias in models_of(settings.tasks[name])
        if not has_run(kept, suite.hash, _as_is(alias).identity(settings.models[alias]))
    ]


def _as_is(alias: str) -> Contender:
    return Contender(name=alias, alias=alias)


def _run(
    ledger: Ledger,
    settings: Settings,
    environ: Mapping[str, str],
    suite: Suite,
    due: Sequence[str],
    path: str,
    deadline: float,
) -> SuiteRun:
    def plan_of(aliases: Sequence[str]) -> Plan:
        return Plan(
            suite=suite,
            contenders=[_as_is(alias) for alias in aliases],
            baseline=next((alias for alias in aliases if alias == suite.baseline), aliases[0]),
            settings=settings,
            environ=environ,
            deadline=deadline,
        )

    aliases = models_of(settings.tasks[suite.task])
    done = evaluate(ledger, plan_of(aliases))
    if done.out_of_time:
        raise SuiteError(f"the time was up after {done.spent.asked} new answers; the rest is asked for later")
    lost = [column.name for column in done.evaluation.columns if column.incomplete]
    error = f"not all answers could be had of {', '.join(lost)}; to be run again" if lost else None
    if not set(due) - set(lost):
        return SuiteRun(suite.task, path, due, None, error)
    if lost:  # the others' answers are all in the cache
        done = evaluate(ledger, plan_of([alias for alias in aliases if alias not in lost]))
    return SuiteRun(suite.task, path, due, keep_evaluation(ledger, done.evaluation).id, error)


def _say(run: SuiteRun) -> None:
    if run.error is None:
        log.info("task %s: %s ran suite %s: evaluation %s", run.task, run.due, run.suite, run.evaluation)
    else:
        log.warning("task %s, suite %s: %s", run.task, run.suite, run.error)
