"""The judge as a stage: both orders, rounds, and nothing guessed."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from evals.judge.judges import Judge
from evals.picking.judging import ByJudge
from router.picking import Candidate, Question
from router.prompt import Prompt
from router.wire import Answer, Hints
from stepdown.errors import CheckError
from stepdown.settings import JudgeSettings, ModelSettings

RUBRIC = "Shorter is better."


def stage(**settings: Any) -> ByJudge:
    judge = JudgeSettings(model="wise", rubric=RUBRIC, **settings)
    return ByJudge(Judge("default", "j", judge, ModelSettings(model="m", url="http://x/v1")))


@dataclass
class Referee:
    """A judge that prefers by rank, shown as A or as B.

    Attributes:
        better: Given the two texts as shown, `A`, `B` or `tie`, or the whole answer.
        asked: Every pair that it was shown, in the order shown.
    """

    better: Callable[[str, str], str]
    asked: list[tuple[str, str]] = field(default_factory=list)
    fields: list[Mapping[str, Any]] = field(default_factory=list)

    async def ask(self, alias: str, fields: Mapping[str, Any]) -> Answer | None:
        assert alias == "wise"
        self.fields.append(fields)
        shown = fields["messages"][1]["content"]
        a, b = re.findall(r"<<<BEGIN ANSWER [AB] \w+>>>\n(.*?)\n<<<END", shown, re.DOTALL)
        self.asked.append((a, b))
        said = self.better(a, b)
        if said in ("A", "B", "tie"):
            said = json.dumps({"reason": "because", "winner": said})
        return Answer(text=said, finish_reason="stop")


def by_rank(*best_first: str) -> Referee:
    return Referee(lambda a, b: "A" if best_first.index(a) < best_first.index(b) else "B")


async def left_of(referee: Referee, *texts: str, hints: Hints | None = None, **settings: Any) -> list[str]:
    question = Question(Prompt("", "", "why?", 1, frozenset(), None, None), hints or Hints())
    among = [Candidate(number, Answer(text=text)) for number, text in enumerate(texts)]
    return [c.text for c in await stage(**settings).narrow(question, among, referee.ask)]


async def test_of_two_the_better_in_both_orders_is_left() -> None:
    referee = by_rank("good", "poor")
    assert await left_of(referee, "poor", "good") == ["good"]
    assert sorted(referee.asked) == [("good", "poor"), ("poor", "good")]


@pytest.mark.parametrize("always", ["A", "tie"])
async def test_a_judge_that_goes_by_the_order_or_by_nothing_leaves_both(always: str) -> None:
    assert await left_of(Referee(lambda a, b: always), "x", "y") == ["x", "y"]


@pytest.mark.parametrize("count", [3, 4, 5, 7])
async def test_more_than_two_meet_in_rounds(count: int) -> None:
    texts = [f"t{number}" for number in range(count)]
    for best in texts:
        referee = by_rank(best, *(text for text in texts if text != best))
        assert await left_of(referee, *texts) == [best]
        assert len(referee.asked) == 2 * (count - 1)


async def test_where_nothing_is_decided_all_are_left() -> None:
    assert await left_of(Referee(lambda a, b: "tie"), "a", "b", "c", "d") == ["a", "b", "c", "d"]


async def test_a_tie_in_the_last_round_leaves_both() -> None:
    referee = Referee(lambda a, b: "tie" if {a, b} == {"b", "d"} else "A" if a in "bd" else "B")
    assert await left_of(referee, "a", "b", "c", "d") == ["b", "d"]


async def test_candidates_that_say_the_same_are_judged_once_or_not_at_all() -> None:
    referee = by_rank("Good", "poor")
    assert await left_of(referee, "poor", "Good", "good.", "Poor") == ["Good"]
    assert len(referee.asked) == 2
    assert await left_of(referee, "same", "Same.") == ["same", "Same."]
    assert len(referee.asked) == 2


@pytest.mark.parametrize(
    "said", ["A is better.", '{"winner": "C", "reason": ""}', "", '{"reason":"x","winner":"A","sure":1}']
)
async def test_a_judgement_that_cannot_be_read_is_an_error_and_never_a_guess(said: str) -> None:
    with pytest.raises(CheckError, match="judge 'j' did not compare"):
        await left_of(Referee(lambda a, b: said), "x", "y")


async def test_a_model_that_does_not_answer_is_an_error() -> None:
    async def silent(alias: str, fields: Mapping[str, Any]) -> None:
        return None

    question = Question(Prompt("", "", "why?", 1, frozenset(), None, None), Hints())
    among = [Candidate(0, Answer(text="x")), Candidate(1, Answer(text="y"))]
    with pytest.raises(CheckError, match="did not answer"):
        await stage().narrow(question, among, silent)


async def test_when_one_pair_fails_the_others_have_been_waited_for() -> None:
    ended: list[str] = []

    async def ask(alias: str, fields: Mapping[str, Any]) -> Answer:
        if "bad" in str(fields["messages"][1]):
            return Answer(text="prose")
        await asyncio.sleep(0.05)
        ended.append("judged")
        return Answer(text='{"reason": "", "winner": "tie"}')

    question = Question(Prompt("", "", "why?", 1, frozenset(), None, None), Hints())
    among = [Candidate(n, Answer(text=text)) for n, text in enumerate(("bad", "b", "c", "d"))]
    with pytest.raises(CheckError):
        await stage().narrow(question, among, ask)
    assert ended == ["judged", "judged"]


async def test_the_judge_sees_the_rubric_the_request_and_the_reference() -> None:
    referee = by_rank("x", "y")
    await left_of(referee, "x", "y", hints=Hints(reference='"forty-two"'), kind="single", votes=5)
    assert len(referee.asked) == 2, "one vote, and a single judge compares too"
    shown = json.dumps(referee.fields[0])
    assert all(part in shown for part in (RUBRIC, "why?", "forty-two"))
    await left_of(referee, "x", "y", hints=Hints(reference='{"a": 1}'))
    assert '{\\"a\\": 1}' in json.dumps(referee.fields[-1])
