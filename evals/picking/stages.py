"""The stages of a task's picker: by a check's verdict, by a judge, by the majority of what is answered.

Invariant: the check that picks is the one that would label: the request's own, or else the task's. What a
check cannot score is neither preferred to a good answer nor dropped for a bad one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from evals.judge.judges import judge_of
from evals.picking.examination import Examination, Finding, Said
from evals.picking.judging import ByJudge
from evals.picking.processes import Examiners
from router.picking import (
    CHECK,
    JUDGE,
    MAJORITY,
    Ask,
    Candidate,
    Majority,
    Question,
    Stage,
    StagesOf,
    largest_group,
)
from stepdown.records import Verdict
from stepdown.settings import Settings, TaskSettings

ORDER = {Verdict.GOOD: 2, Verdict.UNSCORED: 1, Verdict.BAD: 0}


def picking_stages(settings: Settings, environ: Mapping[str, str]) -> StagesOf:
    """What makes the stages of each task's picker, in its order; they share their processes.

    Args:
        settings: All settings.
        environ: The process's environment, of which checks see what a program needs to run.
    """
    examiners = Examiners(environ)

    def stages_of(name: str, task: TaskSettings) -> Sequence[Stage]:
        assert task.portfolio is not None
        made: dict[str, Stage] = {MAJORITY: AnswerMajority(task, examiners)}
        if task.checks:
            made[CHECK] = ByCheck(task, examiners)
        if task.portfolio.judge is not None:
            made[JUDGE] = ByJudge(judge_of(settings, name, task.portfolio.judge))
        return [made[wanted] for wanted in task.portfolio.picker if wanted in made]

    return stages_of


class ByCheck:
    """Those that the check finds good; where it finds none good, those that it does not find bad."""

    name = CHECK

    def __init__(self, task: TaskSettings, examiners: Examiners) -> None:
        self._task = task
        self._examiners = examiners

    async def narrow(
        self, question: Question, candidates: Sequence[Candidate], ask: Ask
    ) -> Sequence[Candidate]:
        """The candidates of the best verdict."""
        examination = examination_of(self._task, question, candidates)
        if examination is None:
            return candidates
        ranks = [ORDER[Verdict(f.verdict)] for f in await self._examiners.examine(examination)]
        return [c for c, rank in zip(candidates, ranks, strict=True) if rank == max(ranks)]

    async def close(self) -> None:
        """End the examining processes."""
        await self._examiners.close()


class AnswerMajority:
    """The largest group of answers that the check takes for the same; without a check, of equal texts."""

    name = MAJORITY

    def __init__(self, task: TaskSettings, examiners: Examiners) -> None:
        self._task = task
        self._examiners = examiners
        self._by_text = Majority()

    async def narrow(
        self, question: Question, candidates: Sequence[Candidate], ask: Ask
    ) -> Sequence[Candidate]:
        """The first of the largest group; the first of each where several are as large."""
        examination = examination_of(self._task, question, candidates)
        if examination is None:
            return await self._by_text.narrow(question, candidates, ask)
        found: list[Finding] = await self._examiners.examine(examination)
        if all(finding.key is None for finding in found):
            return await self._by_text.narrow(question, candidates, ask)
        return largest_group(candidates, [finding.key for finding in found])

    async def close(self) -> None:
        """End the examining processes."""
        await self._examiners.close()


def examination_of(
    task: TaskSettings, question: Question, candidates: Sequence[Candidate]
) -> Examination | None:
    """What the applying check is to look at; None where none applies, or the task does not declare it."""
    name = question.hints.check or task.check
    if name is None or name not in task.checks:
        return None
    said = tuple(
        Said(c.answer.text, c.answer.tool_calls, c.answer.finish_reason, c.answer.refusal) for c in candidates
    )
    asked = question.prompt.text, said, _schema(question.response_format)
    return Examination(name, task.checks, question.hints.reference, *asked)


def _schema(response_format: bytes) -> Any:
    """The JSON Schema that a request asks for."""
    inner = (msgspec.json.decode(response_format) or {}).get("json_schema")
    return inner.get("schema") if isinstance(inner, dict) else None
