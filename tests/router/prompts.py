"""Prompts for tests that care about their text only, and labelled ones that a router can learn from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from router.fitting.fit import Example
from router.prompt import Prompt, prompt_hash

WORDS = tuple(
    f"{a}{b}" for a in "kilo mega nano tera pico".split() for b in "gram metre volt watt litre".split()
)


def a_prompt(user: str = "What is 2 + 2?", **changes: Any) -> Prompt:
    """A prompt with this last message."""
    values: dict[str, Any] = {
        "system": "",
        "history": "",
        "user": user,
        "messages": 1,
        "needs": frozenset(),
        "max_tokens": None,
        "temperature": None,
    }
    return Prompt(**{**values, **changes})


def labelled(
    n: int,
    seed: int = 0,
    *,
    strong: Callable[[bool], float] = lambda hard: 0.95,
    small: Callable[[bool], float] = lambda hard: 0.1 if hard else 0.95,
) -> list[Example]:
    """Examples half of which are hard, and say so in one word; good with the given probabilities."""
    rng = np.random.default_rng(seed)
    examples = []
    for i in range(n):
        hard = bool(rng.random() < 0.5)
        words = [*rng.choice(WORDS, 8), "prove" if hard else "convert", str(i)]
        prompt = a_prompt(" ".join(rng.permutation(words)))
        good = rng.random(2) < (strong(hard), small(hard))
        examples.append(
            Example(prompt, prompt_hash(prompt), float(good[0]), float(good[1]), "hard" if hard else "easy")
        )
    return examples
