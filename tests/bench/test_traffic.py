"""The generated prompts are the same every time, and a right answer passes its own check."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from bench.traffic import GENERATORS, Prompt, generate
from evals.checks import Check, Subject, build_check
from stepdown.records import Verdict

DEMO = Path(__file__).parents[2] / "bench" / "demo.toml"
EACH = 15
EXPRESSIONS = {
    "the last": "xs[-{n}:]",
    "the first": "xs[:{n}]",
    "multiplied": "[x * {n} for x in xs]",
    "greater": "[x for x in xs if x > {n}]",
    "largest": "sorted(xs, reverse=True)[:{n}]",
    "how many": "xs.count({n})",
    "without": "xs[{n}:]",
    "every {n}th": "xs[::{n}]",
    "squares": "sum(x ** 2 for x in xs) + {n}",
    "divisible": "any(x % {n} == 0 for x in xs)",
}


@pytest.fixture(scope="module")
def checks() -> dict[str, Check]:
    declared = tomllib.loads(DEMO.read_text())["tasks"]["default"]["checks"]
    return {name: build_check(name, settings) for name, settings in declared.items()}


def right_answer(prompt: Prompt) -> str:
    if prompt.check == "sql":
        query: str = json.loads(prompt.reference)["query"]
        return f"```sql\n{query};\n```"
    if prompt.check == "expression":
        n = next(c for c in prompt.text if c.isdigit())
        return next(e for k, e in EXPRESSIONS.items() if k.format(n=n) in prompt.text).format(n=n)
    return str(prompt.reference)


def wrong_answer(prompt: Prompt) -> str:
    answers: dict[str, Any] = {"json": "{}", "sql": "SELECT 'nothing of the kind'", "letter": "none of them"}
    return str(answers.get(prompt.check, "-12345"))


@pytest.mark.parametrize("kind", GENERATORS)
def test_a_right_answer_passes_and_a_wrong_one_fails(kind: str, checks: dict[str, Check]) -> None:
    for prompt in generate(5, {kind: EACH}):
        check = checks[prompt.check]
        right = check(Subject(right_answer(prompt), prompt.reference))
        assert right.verdict == Verdict.GOOD, (prompt, right)
        assert check(Subject(wrong_answer(prompt), prompt.reference)).verdict == Verdict.BAD, prompt


def test_the_same_seed_gives_the_same_prompts() -> None:
    counts = dict.fromkeys(GENERATORS, 5)
    assert list(generate(7, counts)) == list(generate(7, counts))
    assert list(generate(7, counts)) != list(generate(8, counts))


def test_prompts_are_distinct() -> None:
    texts = [prompt.text for prompt in generate(1, dict.fromkeys(GENERATORS, 40))]
    assert len(set(texts)) == len(texts) == 40 * len(GENERATORS)


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(ValueError, match="riddle"):
        list(generate(1, {"riddle": 1}))


def test_more_prompts_than_a_kind_can_write_are_refused() -> None:
    with pytest.raises(ValueError, match="letter_count"):
        list(generate(1, {"letter_count": 100_000}))
