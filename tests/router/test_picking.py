"""The pick: stages narrow what is left, and nothing they do leaves a client without an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router import picking
from router.picking import (
    Ask,
    Candidate,
    Majority,
    Pick,
    Question,
    largest_group,
    normal_text,
    pick,
    plain_stages,
)
from router.prompt import Prompt
from router.wire import NO_HINTS, Answer
from stepdown.errors import SettingsError
from stepdown.settings import CandidateSettings, PortfolioSettings, TaskSettings

QUESTION = Question(Prompt("", "", "q", 1, frozenset(), None, None), NO_HINTS)


def candidates(*texts: str) -> list[Candidate]:
    return [Candidate(number, Answer(text=text)) for number, text in enumerate(texts)]


async def nobody(alias: str, fields: Any) -> None:
    raise AssertionError("no stage here asks a model")


class Keeps:
    """A stage that keeps those of some numbers, or fails."""

    def __init__(self, name: str, *numbers: int, fails: Exception | None = None) -> None:
        self.name = name
        self.saw: list[int] = []
        self._numbers = numbers
        self._fails = fails

    async def narrow(self, question: Question, left: Sequence[Candidate], ask: Ask) -> Sequence[Candidate]:
        self.saw = [candidate.number for candidate in left]
        if self._fails:
            raise self._fails
        return [candidate for candidate in left if candidate.number in self._numbers]

    async def close(self) -> None: ...


async def picked(*stages: Any, among: Sequence[Candidate]) -> tuple[Pick, list[str]]:
    failed: list[str] = []
    return await pick(stages, QUESTION, among, nobody, failed.append), failed


async def test_each_stage_sees_what_the_one_before_left() -> None:
    first, second, third = Keeps("check", 0, 2, 3), Keeps("judge", 3), Keeps("majority", 0)
    assert await picked(first, second, third, among=candidates(*"abcd")) == (Pick(3, "judge"), [])
    assert (first.saw, second.saw, third.saw) == ([0, 1, 2, 3], [0, 2, 3], [])


async def test_a_stage_that_fails_or_keeps_none_passes_all_on() -> None:
    fails, none = Keeps("check", fails=ZeroDivisionError()), Keeps("judge")
    last = Keeps("majority", 1)
    assert await picked(fails, none, last, among=candidates("a", "b")) == (Pick(1, "majority"), ["check"])
    assert last.saw == [0, 1]


async def test_a_stage_that_hangs_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hangs(Keeps):
        async def narrow(self, *_: Any) -> Sequence[Candidate]:
            await asyncio.Event().wait()
            raise AssertionError

    monkeypatch.setattr(picking, "STAGE_LIMIT_S", 0.01)
    assert await picked(Hangs("judge"), among=candidates("a", "b")) == (Pick(0, "first"), ["judge"])


async def test_one_that_is_alone_needs_no_stage() -> None:
    alone = [Candidate(3, Answer(text="a"))]
    stage = Keeps("check", 3)
    assert await picked(stage, among=alone) == (Pick(3, "only"), [])
    assert stage.saw == []


@pytest.mark.parametrize(
    ("texts", "number", "by"),
    [
        (["no", "Yes.", " yes"], 1, "majority"),
        (["a", "b", "b", "a"], 0, "first"),
        (["c", "a", "b", "b", "a"], 1, "first"),
        (["a", "b", "c"], 0, "first"),
        (["same", "same"], 0, "majority"),
        (["", "", "said"], 2, "majority"),
        (["", ""], 0, "first"),
    ],
)
async def test_the_majority(texts: list[str], number: int, by: str) -> None:
    assert await picked(Majority(), among=candidates(*texts)) == (Pick(number, by), [])


@given(st.lists(st.sampled_from("abc "), min_size=2, max_size=9))
def test_the_picked_text_is_one_that_no_other_outnumbers(texts: list[str]) -> None:
    pick, _ = asyncio.run(picked(Majority(), among=candidates(*texts)))
    votes = [texts.count(text) for text in texts if text.strip()]
    assert not votes or texts.count(texts[pick.number]) == max(votes)


def test_a_group_is_led_by_the_first_declared() -> None:
    four = candidates(*"wxyz")
    assert [c.number for c in largest_group(four, ["n", "m", "m", None])] == [1]


@pytest.mark.parametrize(
    ("one", "same"), [("The  Cat.", "the cat"), ("“x”", "“X”"), ("ﬁne", "fine"), ("`a`", "a")]
)
def test_texts_that_are_taken_for_the_same(one: str, same: str) -> None:
    assert normal_text(one) == normal_text(same)


def test_a_refusal_is_what_a_candidate_says() -> None:
    assert Candidate(0, Answer(refusal="I cannot.")).text == "I cannot."


def test_a_picker_whose_stages_cannot_be_had_is_refused() -> None:
    portfolio = PortfolioSettings(candidates=(CandidateSettings(model="strong"),))
    assert [stage.name for stage in plain_stages("t", TaskSettings(portfolio=portfolio))] == ["majority"]
    checked = TaskSettings(portfolio=portfolio, checks={"n": {"kind": "number"}})
    with pytest.raises(SettingsError, match=r"tasks\.t\.portfolio\.picker has 'check'"):
        plain_stages("t", checked)
