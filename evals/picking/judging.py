"""The stage of a picker that asks a judge: which of two candidates is better, each pair in both orders.

Invariant: a judgement that cannot be read decides nothing: one such, and all candidates pass. More than two
candidates meet in rounds, the winners of one in the next; where a pair ties, the one declared first goes on.
So n candidates cost 2(n - 1) calls, whatever the judge says.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import msgspec

from evals.judge.combine import SCORES, Part, Reading, Side, rule
from evals.judge.judges import Judge
from evals.judge.prompts import Material
from evals.judge.verdict import Unreadable, read_opinion
from router.picking import JUDGE, Ask, Candidate, Question, normal_text
from stepdown.errors import CheckError

ORDERS = (Part(1), Part(1, swapped=True))
PAIRWISE = "pairwise"


class ByJudge:
    """The one that the judge prefers; both of the last two where it prefers neither.

    Args:
        judge: The task's judge, whose rubric and model are used; it is asked for one vote on each pair, and a
            single judge to compare.
    """

    name = JUDGE

    def __init__(self, judge: Judge) -> None:
        settings = msgspec.structs.replace(judge.settings, kind=PAIRWISE, votes=1)
        self._judge = Judge(judge.task, judge.name, settings, judge.model)

    async def narrow(
        self, question: Question, candidates: Sequence[Candidate], ask: Ask
    ) -> Sequence[Candidate]:
        """Let the candidates that differ meet in rounds.

        Raises:
            CheckError: A judgement could not be had or read.
        """
        left = _differing(candidates)
        if len(left) == 1:
            return candidates  # they say the same: nothing to judge
        decided = False
        while len(left) > 1:
            pairs = list(zip(left[::2], left[1::2], strict=False))
            sides = await self._round(question, pairs, ask)
            decided = decided or any(side is not Side.TIE for side in sides)
            if len(left) == 2 and sides[0] is Side.TIE:
                return left if decided else candidates
            odd = left[len(pairs) * 2 :]
            left = [_winner(pair, side) for pair, side in zip(pairs, sides, strict=True)] + odd
        return left

    async def _round(
        self, question: Question, pairs: Sequence[tuple[Candidate, Candidate]], ask: Ask
    ) -> list[Side]:
        """Whom the judge prefers of each pair; where one fails the others are waited for, being paid for."""
        meetings = (self._meet(question, pair, ask) for pair in pairs)
        sides = await asyncio.gather(*meetings, return_exceptions=True)
        for side in sides:
            if isinstance(side, BaseException):
                raise side
        return [side for side in sides if isinstance(side, Side)]

    async def _meet(self, question: Question, pair: tuple[Candidate, Candidate], ask: Ask) -> Side:
        material = Material(
            question.prompt.text, (pair[0].text, pair[1].text), _reference(question.hints.reference)
        )
        readings = await asyncio.gather(*(self._ask(material, part, ask) for part in ORDERS))
        ruling = rule(PAIRWISE, 1, {part.name: said for part, said in zip(ORDERS, readings, strict=True)})
        if ruling.scores is None:
            raise CheckError(f"judge {self._judge.name!r} did not compare two candidates: {ruling.words}")
        return next(side for side, scores in SCORES.items() if scores == ruling.scores)

    async def _ask(self, material: Material, part: Part, ask: Ask) -> Reading:
        answer = await ask(self._judge.settings.model, self._judge.fields(material, part))
        if answer is None:
            return Unreadable("the judge's model did not answer")
        return read_opinion(PAIRWISE, answer.text, answer.finish_reason)

    async def close(self) -> None:
        """Nothing is held open."""


def _differing(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The first of those that say the same."""
    found: dict[str, Candidate] = {}
    for candidate in candidates:
        found.setdefault(normal_text(candidate.text), candidate)
    return list(found.values())


def _winner(pair: tuple[Candidate, Candidate], side: Side) -> Candidate:
    return pair[1] if side is Side.SECOND else pair[0]


def _reference(reference: str | None) -> str | None:
    """The request's reference in the words that a judge reads."""
    if reference is None:
        return None
    decoded = json.loads(reference)
    return decoded if isinstance(decoded, str) else reference
