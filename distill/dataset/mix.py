"""How much of what: old examples among new ones, within a budget of tokens.

Invariant: of what there is, at least the share that was asked for comes from earlier datasets and the general
set; and the budget is kept, an example of weight 2 counting twice. Pure: the same examples give the same mix.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import NamedTuple

from distill.dataset.example import Example
from router.fitting.splits import position

SALT = "reservoir"
MOST_GENERAL = 0.95  # of a training set, or a share of 1 would ask for endlessly many


class Mix(NamedTuple):
    """What is trained on.

    Attributes:
        new: Examples that no earlier dataset had.
        old: Examples that an earlier dataset was trained on.
        general: Examples of the general set.
        over: Examples that the budget had no room for, those of the general set left out of account.
    """

    new: list[Example]
    old: list[Example]
    general: list[Example]
    over: int


def mix(
    new: Sequence[Example],
    old: Sequence[Example],
    general: Sequence[Example],
    *,
    share: float,
    budget: int,
    seed: int,
) -> Mix:
    """Choose what is trained on.

    Where there is room for all, all of the task's own examples are taken. Where there is not, `share` of
    the budget is kept for the old ones, drawn evenly from all their slices, and the new ones are taken in
    their order. The general set makes up half of `share` of the examples, and what the old ones are too few
    for of the other half.

    Args:
        new: In the order in which they are wanted.
        old: In any order.
        general: In any order.
        share: Of the examples that are old or general.
        budget: Tokens, at most.
        seed: Of the draw.
    """
    wanted = min(max(share / 2 * budget, share * budget - cost(old)), MOST_GENERAL * budget)
    for_general = min(wanted, cost(general))
    for_old = min(share * budget - for_general, cost(old))
    new_taken = fill(new, budget - for_general - for_old)
    old_taken = fill(reservoir(old, seed), budget - for_general - cost(new_taken))
    own = len(new_taken) + len(old_taken)
    beside = _general_beside(len(new_taken), len(old_taken), share)
    left = budget - cost(new_taken) - cost(old_taken)
    general_taken = fill(reservoir(general, seed)[:beside], left)
    return Mix(new_taken, old_taken, general_taken, len(new) + len(old) - own)


def _general_beside(new: int, old: int, share: float) -> int:
    """How many general examples make up half of `share`, or, where few are old, all that those lack."""
    own, half, most = new + old, share / 2, min(share, MOST_GENERAL)
    return max(round(own * half / (1 - half)), round((most * own - old) / (1 - most)))


def fill(examples: Iterable[Example], budget: float) -> list[Example]:
    """The examples in their order, without those that the budget has no room left for."""
    taken, left = [], budget
    for example in examples:
        if (price := example.tokens * example.weight) <= left:
            taken.append(example)
            left -= price
    return taken


def reservoir(examples: Sequence[Example], seed: int) -> list[Example]:
    """All examples in an order whose every beginning is even in slices; within a slice, by hash.

    A beginning of it is a stratified sample, and stays the same, but for new slices, as examples come.
    """
    strata: dict[str, list[Example]] = defaultdict(list)
    for example in sorted(examples, key=lambda e: (position(e.prompt_hash, seed, SALT), e.id)):
        strata[example.slice or ""].append(example)
    rounds = zip_longest(*(strata[name] for name in sorted(strata)))
    return [example for one in rounds for example in one if example is not None]


def cost(examples: Iterable[Example]) -> float:
    """Tokens of one epoch."""
    return sum(example.tokens * example.weight for example in examples)
