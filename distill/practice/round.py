"""One round of self-practice: what the student failed, what it can do after all, and what is kept of it.

Invariant: a student practises a dataset once; what is kept are references to prompts and answers, never
text. A round whose time was up keeps what it had tried, and says how much that was.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from distill.practice.choose import EASY_FROM, KEPT_PER_PROMPT, Sample, worth_learning
from distill.practice.gain import PRACTICE, Gain, gain_of, rounds_of
from distill.practice.prompts import ToPractise, failed_prompts
from distill.practice.sampling import TEMPERATURE, Sampled, Tried, sample_all
from distill.practice.stop import Round, why_over
from evals.answering import Answering
from evals.labelling import labellers
from evals.metrics.intervals import proportion
from router.ask import open_asker
from stepdown import __version__
from stepdown.errors import OutOfBudget, ServingError, SettingsError
from stepdown.ledger import Ledger
from stepdown.records import Artifact, Verdict
from stepdown.registry import Registry
from stepdown.settings import Settings, StudentSettings, TaskSettings
from stepdown.students import manifest_of, served_name, with_student

log = logging.getLogger(__name__)


def practise(
    ledger: Ledger,
    settings: Settings,
    environ: Mapping[str, str],
    task: str,
    student: Artifact,
    dataset: Artifact,
    *,
    deadline: float = float("inf"),
) -> Artifact | None:
    """Have a student practise the training prompts of a dataset that it failed.

    Args:
        ledger: Where everything is.
        settings: All settings.
        environ: Where the upstreams' keys are.
        task: Name of the task.
        student: Which its small model's servers have.
        dataset: Of whose training prompts.
        deadline: Time of `time.monotonic` at which no more prompts are begun.

    Returns:
        The round, of kind `practice`; None where there is to be none, and the reason is in the log and from
        `why_no_round`.

    Raises:
        SettingsError: The task has no small model, or distils no students.
        OutOfBudget: The deadline came before any prompt was tried; what was asked is kept.
        ServingError: The student did not answer.
        ArtifactError: An artifact is none of its kind.
        LedgerError: The ledger refused.
    """
    why_not = why_no_round(ledger, settings, task, student, dataset)
    if why_not is not None:
        log.info("task %s: no practice: %s", task, why_not)
        return None
    of_task, of_student = _declared(settings, task)
    to_practise = failed_prompts(ledger, task, of_task, student.id, dataset)
    if not to_practise.prompts:
        log.info("task %s: no practice: %s", task, _nothing(to_practise))
        return None
    sampled = asyncio.run(_sample(ledger, settings, environ, task, student, to_practise, deadline))
    if not sampled.tried:
        _refuse(sampled)
    return _keep(ledger, task, of_task, of_student, student, dataset, to_practise, sampled)


def why_no_round(
    ledger: Ledger, settings: Settings, task: str, student: Artifact, dataset: Artifact
) -> str | None:
    """Why a student is not to practise a dataset, or None where it is.

    Raises:
        SettingsError: The task has no small model, or distils no students.
    """
    of_task, of_student = _declared(settings, task)
    rounds = rounds_of(ledger, task)
    if any(kept.parents == (student.id, dataset.id) for kept in rounds):
        return "this student has practised this dataset; the next round is of the next student"
    recipe = _recipe(of_task, of_student, student)
    chain = [kept for kept in rounds if kept.settings.get("recipe") == recipe]
    return why_over([round_of(ledger, task, kept) for kept in chain], of_student.practice_rounds)


def round_of(ledger: Ledger, task: str, kept: Artifact) -> Round:
    """A kept round, with its gain as it is known now."""
    gain = gain_of(ledger, task, kept, float(kept.settings["confidence"]))
    return Round(int(kept.summary["round"]), int(kept.summary["kept"]), gain.difference if gain else None)


def round_to_mix(ledger: Ledger, task: str) -> Artifact | None:
    """The round that the next dataset is to have mixed in: the newest that is not known to have hurt.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    rounds = reversed(rounds_of(ledger, task))
    return next((kept for kept in rounds if not round_of(ledger, task, kept).hurt), None)


def _declared(settings: Settings, task: str) -> tuple[TaskSettings, StudentSettings]:
    of_task = settings.tasks.get(task)
    if of_task is None or of_task.small is None or of_task.student is None:
        raise SettingsError(
            f"task {task!r} distils no students: declare tasks.{task}.small and tasks.{task}.student"
        )
    return of_task, of_task.student


def _recipe(task: TaskSettings, of_student: StudentSettings, student: Artifact) -> dict[str, Any]:
    """What makes rounds of one kind, so that they can be counted and compared."""
    return {
        "base_hash": manifest_of(student).base_hash,
        "samples": of_student.practice_samples,
        "temperature": TEMPERATURE,
        "easy_from": EASY_FROM,
        "kept_per_prompt": KEPT_PER_PROMPT,
        "checks": {one.name: one.version for one in labellers(task)},
    }


def _nothing(to_practise: ToPractise) -> str:
    if to_practise.unchecked:
        return f"of {to_practise.unchecked:,} failed training prompts none has a check and its reference"
    return "the student failed none of its training prompts, as far as is labelled"


async def _sample(
    ledger: Ledger,
    settings: Settings,
    environ: Mapping[str, str],
    task: str,
    student: Artifact,
    to_practise: ToPractise,
    deadline: float,
) -> Sampled:
    of_task, of_student = _declared(settings, task)
    alias = served_name(student.id)
    served = with_student(settings, str(of_task.small), student.id)
    async with open_asker(served, environ, [alias], until=deadline) as asker:
        return await sample_all(
            Answering(asker, served.models, ledger, task=task, purpose=PRACTICE),
            alias,
            ledger,
            to_practise.prompts,
            samples=of_student.practice_samples,
            concurrency=settings.worker.concurrency,
            deadline=deadline,
        )


def _refuse(sampled: Sampled) -> None:
    why = sampled.stopped or f"the texts of all {sampled.unreadable:,} prompts are no longer kept"
    if sampled.away:
        raise ServingError(f"no practice: {why}; `stepdown status` says what its servers have")
    raise OutOfBudget(f"no practice: {why} before any prompt was tried")


def _keep(
    ledger: Ledger,
    task: str,
    of_task: TaskSettings,
    of_student: StudentSettings,
    student: Artifact,
    dataset: Artifact,
    to_practise: ToPractise,
    sampled: Sampled,
) -> Artifact:
    rounds = rounds_of(ledger, task)
    number = 1 + max((int(kept.summary["round"]) for kept in rounds), default=0)
    chosen = [(one, sample) for one in sampled.tried for sample in worth_learning(one.samples)]
    content = {
        "task": task,
        "student": student.id,
        "round": number,
        "kept": [
            {"request": one.prompt.request, "body": one.prompt.body, "answer": sample.answer}
            for one, sample in chosen
        ],
    }
    before = gain_of(ledger, task, rounds[-1], of_task.confidence) if rounds else None
    return Registry(ledger).keep(
        PRACTICE,
        task,
        msgspec.json.encode(content),
        parents=(student.id, dataset.id),
        settings={
            "student": student.id,
            "recipe": _recipe(of_task, of_student, student),
            "practice_rounds": of_student.practice_rounds,
            "confidence": of_task.confidence,
            "code_version": __version__,
        },
        summary={
            "round": number,
            **_summary(to_practise, sampled, chosen),
            "gain_of_previous": _gain_json(before),
        },
    )


def _summary(to_practise: ToPractise, sampled: Sampled, chosen: list[tuple[Tried, Sample]]) -> dict[str, Any]:
    tried, samples = sampled.tried, [sample for one in sampled.tried for sample in one.samples]
    with_some = len({one.prompt.request for one, _ in chosen})
    share = proportion(with_some, len(tried))
    return {
        "prompts": len(to_practise.prompts),
        "tried": len(tried),
        "unchecked": to_practise.unchecked,
        "unreadable": sampled.unreadable,
        "stopped": sampled.stopped,
        "samples": len(samples),
        "right": sum(sample.verdict is Verdict.GOOD for sample in samples),
        "unscored": sum(sample.verdict is Verdict.UNSCORED for sample in samples),
        "unanswered": sum(one.unanswered for one in tried),
        "kept": len(chosen),
        "kept_of_prompts": with_some,
        "share": {"value": share.value, "low": share.low, "high": share.high, "n": share.n},
        "cost_usd_micros": sum(one.cost_usd_micros for one in tried),
        "unpriced": sum(one.unpriced for one in tried),
    }


def _gain_json(gain: Gain | None) -> dict[str, Any] | None:
    if gain is None or not gain.difference.n:
        return None
    return {**gain.difference._asdict(), "before": gain.before, "after": gain.after}
