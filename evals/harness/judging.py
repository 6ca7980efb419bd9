"""Scores by a judge the answers that no check scores: one by one, or against the baseline's.

Invariant: a judgement that could not be had, or not be read, leaves the answer unscored, with the reason.
Judgements are cached as answers are. A pairwise judge sees both orders; the baseline itself, which is what
the others are compared with, has the score of a tie.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from evals.answering import Answered, Answering
from evals.harness.asking import Replies, Reply, all_of, may_come_later
from evals.harness.suite import Case, Suite
from evals.judge.combine import Part, Reading, rule
from evals.judge.judges import Judge
from evals.judge.material import reference_text, request_text
from evals.judge.prompts import Material
from evals.judge.verdict import Unreadable, read_opinion
from router.wire import Answer, parse_chat
from stepdown.errors import SettingsError
from stepdown.settings import ModelSettings

TIE = 0.5

Judged = tuple[float | None, str]


@dataclass(slots=True)
class Judgements:
    """What a judge said.

    Attributes:
        scores: By contender, case and number of the sample.
        cost_usd_micros: Of all judgements, those of the cache too, as far as it is known.
        asked: Judgements that were not in the cache, of which `unpriced` have no known cost.
        spent_usd_micros: What those cost just now.
        failed: Questions that the judge did not answer; `may_come` of them it may answer another time.
    """

    scores: dict[tuple[str, str, int], Judged] = field(default_factory=dict)
    cost_usd_micros: int = 0
    asked: int = 0
    unpriced: int = 0
    spent_usd_micros: int = 0
    failed: int = 0
    may_come: int = 0

    def count(self, answered: Answered) -> None:
        """Count one question."""
        if answered.answer is None:
            self.failed += 1
            self.may_come += may_come_later(answered.status)
        self.cost_usd_micros += (answered.kept.cost_usd_micros or 0) if answered.kept else 0
        if answered.fresh:
            self.asked += 1
            self.unpriced += answered.spent_usd_micros is None
            self.spent_usd_micros += answered.spent_usd_micros or 0


def judge_of_suite(suite: Suite, models: Mapping[str, ModelSettings]) -> Judge | None:
    """The judge that a suite needs, or None where checks score every case.

    Raises:
        SettingsError: Its model is not declared.
    """
    if suite.judge is None or all(case.check is not None for case in suite.cases):
        return None
    name, settings = suite.judge
    if settings.model not in models:
        known = ", ".join(models) or "none"
        raise SettingsError(f"judge {name!r}: model {settings.model!r} is not declared; declared: {known}")
    return Judge(suite.task, name, settings, models[settings.model])


async def judge_all(
    judge: Judge, answering: Answering, suite: Suite, replies: Replies, baseline: str, *, concurrency: int
) -> Judgements:
    """Judge every answer to a case that names no check.

    Args:
        judge: Who judges.
        answering: Answers of the judge's model.
        suite: The cases.
        replies: The answers, by contender and case.
        baseline: Name of the contender that a pairwise judge compares the others with.
        concurrency: Judgements at once.
    """
    bench = _Bench(judge, answering, asyncio.Semaphore(concurrency))
    cases = {case.id: case for case in suite.cases if case.check is None}
    await all_of(
        bench.sample(
            (name, case_id, number),
            cases[case_id],
            reply,
            replies[baseline, case_id] if judge.pairwise and name != baseline else None,
            baseline,
        )
        for (name, case_id), many in replies.items()
        if case_id in cases
        for number, reply in enumerate(many)
    )
    return bench.found


class _Bench:
    """A judge at work, and what it found so far."""

    def __init__(self, judge: Judge, answering: Answering, places: asyncio.Semaphore) -> None:
        self.found = Judgements()
        self._judge = judge
        self._answering = answering
        self._places = places

    async def sample(
        self,
        key: tuple[str, str, int],
        case: Case,
        reply: Reply,
        others: Sequence[Reply] | None,
        baseline: str,
    ) -> None:
        answer = _answer(reply)
        if answer is None:
            return
        if self._judge.pairwise and others is None:
            self.found.scores[key] = (TIE, "what the others are compared with")
            return
        texts = [said(answer)]
        if others is not None:
            other = _answer(others[min(key[2], len(others) - 1)])
            if other is None:
                self.found.scores[key] = (None, f"{baseline} gave no answer to compare with")
                return
            texts.append(said(other))
        self.found.scores[key] = await self._judged(case, texts)

    async def _judged(self, case: Case, texts: Sequence[str]) -> Judged:
        if len(texts) == 2 and texts[0].strip() == texts[1].strip():
            return TIE, "the answers are the same"
        prompt = parse_chat(msgspec.json.encode({**case.fields, "model": "-"})).prompt
        reference = None if case.reference is None else msgspec.json.encode(case.reference).decode()
        material = Material(request_text(prompt), tuple(texts), reference_text(reference))
        opinions: dict[str, Reading] = {}
        async with self._places:
            for part in self._judge.parts:
                opinions[part.name] = await self._put(material, part)
        settings = self._judge.settings
        ruling = rule(settings.kind, settings.votes, opinions)
        return (None if ruling.scores is None else ruling.scores[0]), ruling.words

    async def _put(self, material: Material, part: Part) -> Reading:
        settings = self._judge.settings
        answered = await self._answering.answer(settings.model, self._judge.fields(material, part))
        self.found.count(answered)
        if answered.answer is None:
            return Unreadable(answered.error or "the judge gave no answer")
        return read_opinion(settings.kind, answered.answer.text, answered.answer.finish_reason)


def _answer(reply: Reply) -> Answer | None:
    return reply.answered.answer if reply.answered is not None else None


def said(answer: Answer) -> str:
    """All that an answer says: its text, its words of refusal, and the tools it calls."""
    tools = [f"[calls tool {tool.name} with {tool.arguments}]" for tool in answer.tool_calls]
    return "\n".join(part for part in (answer.text, answer.refusal, *tools) if part)
