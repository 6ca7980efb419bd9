"""The held-out evaluation: splits by prompt, labels by check, and counts of regret that add up."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from evals.replay.holdout import evaluate, outcomes, split
from router.model import Scores
from router.prompt import Prompt
from stepdown.settings import TaskSettings
from tests.evals.replay.pairs import made_pairs

TASK = TaskSettings(small="small", check="number", checks={"number": {"kind": "number"}})


@dataclass(frozen=True)
class ByWord:
    """A router that knows the words of hard prompts."""

    threshold: float

    def score(self, prompt: Prompt) -> Scores:
        hard = any(word in prompt.user for word in ("integrate", "prove", "derive"))
        return Scores(0.9, 0.2 if hard else 0.9)


def test_a_split_depends_on_the_prompts_and_on_nothing_else() -> None:
    pairs = list(made_pairs(100))
    learning, held = split(pairs, 0.4)
    assert (len(learning), len(held)) == (60, 40)
    assert {p.key for p in learning}.isdisjoint(p.key for p in held)
    assert split(pairs[::-1], 0.4) == (learning, held)


def test_a_perfect_router_has_no_regret_and_the_best_apgr() -> None:
    learning, held = split(list(made_pairs(200)), 0.5)
    result = evaluate(ByWord(0.1), outcomes(learning, TASK), outcomes(held, TASK))
    assert result.regrets == 0
    assert result.strong.value == 1.0
    assert result.coverage.value == result.small.value
    assert result.difference.value == 0.0
    # strong is worth asking on a share h of hard prompts: PGR rises to 1 at h, and is 1 from there
    hard = 1 - result.small.value
    assert result.apgr["router"].value == pytest.approx(1 - hard / 2)
    assert result.apgr["random"].value == pytest.approx(0.5)


def test_a_router_that_sends_all_to_small_regrets_every_hard_prompt() -> None:
    learning, held = split(list(made_pairs(200)), 0.5)
    held_outcomes = outcomes(held, TASK)
    result = evaluate(ByWord(1.0), outcomes(learning, TASK), held_outcomes)
    assert result.coverage.value == 1.0
    assert result.regrets == int((held_outcomes.gains > 0).sum())
    assert result.difference.value == pytest.approx(-result.regret.value)


def test_pairs_that_cannot_be_labelled_are_left_out_and_counted() -> None:
    pairs = list(made_pairs(10))
    pairs[0] = replace(pairs[0], reference="no number")
    pairs[1] = replace(pairs[1], check="undeclared")
    labelled = outcomes(pairs, TASK)
    assert (len(labelled.pairs), labelled.unscored) == (8, 2)
