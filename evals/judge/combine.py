"""From a judge's opinions to one ruling: both orders of a vote, then the majority of the votes.

Invariant: an opinion that could not be read never counts for anybody. Orders that disagree are a tie; a vote
with an unreadable order is unscored; all votes unscored is unscored. Pure: it asks nobody.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from evals.judge.verdict import Opinion, Unreadable

Reading = Opinion | Unreadable


class Side(enum.StrEnum):
    """Which of the two answers of a pair, in the order of the subjects."""

    FIRST = "first"
    SECOND = "second"
    TIE = "tie"


ORDERS_DISAGREED = " votes, the two orders disagreed in"
SCORES = {Side.FIRST: (1.0, 0.0), Side.SECOND: (0.0, 1.0), Side.TIE: (0.5, 0.5)}


class Part(NamedTuple):
    """One question to a judge among those that make a judgement.

    Attributes:
        vote: 1, 2, ….
        swapped: Whether the second answer is shown first; always False of a single judge.
    """

    vote: int
    swapped: bool = False

    @property
    def name(self) -> str:
        """`1`, or `1s` where swapped."""
        return f"{self.vote}{'s' if self.swapped else ''}"


def parts_of(kind: str, votes: int) -> tuple[Part, ...]:
    """All questions that a judgement needs."""
    orders = (False, True) if kind == "pairwise" else (False,)
    return tuple(Part(vote, swapped) for vote in range(1, votes + 1) for swapped in orders)


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a judgement comes to.

    Attributes:
        scores: Of each subject, in [0, 1]; of a pair 1 won, 0.5 tied, 0 lost; of a single answer the share of
            votes that say good. None where unscored.
        votes: Votes that counted.
        disagreed: Votes of which the two orders disagreed.
        words: How it came about, in words.
    """

    scores: tuple[float, ...] | None
    votes: int
    disagreed: int
    words: str


def rule(kind: str, votes: int, opinions: Mapping[str, Reading]) -> Ruling:
    """The ruling on all opinions, by the names of their parts."""
    return _rule_pair(votes, opinions) if kind == "pairwise" else _rule_single(votes, opinions)


def side_of(opinion: Opinion, swapped: bool) -> Side:
    """Whom an opinion on a pair favours."""
    if opinion.choice == "tie":
        return Side.TIE
    return Side.SECOND if (opinion.choice == "A") == swapped else Side.FIRST


def _rule_pair(votes: int, opinions: Mapping[str, Reading]) -> Ruling:
    counted: Counter[Side] = Counter()
    disagreed = 0
    reasons: dict[Side, str] = {}
    for vote in range(1, votes + 1):
        plain, swapped = opinions[Part(vote).name], opinions[Part(vote, True).name]
        if isinstance(plain, Unreadable) or isinstance(swapped, Unreadable):
            continue
        one, other = side_of(plain, False), side_of(swapped, True)
        side = one if one is other else Side.TIE
        disagreed += one is not other
        counted[side] += 1
        reasons.setdefault(side, plain.reason)
    scored = counted.total()
    if not scored:
        return Ruling(None, 0, 0, first_fault(opinions))
    winner = next((side for side in Side if 2 * counted[side] > scored), Side.TIE)
    return Ruling(SCORES[winner], scored, disagreed, _pair_words(winner, counted, disagreed, reasons))


def _pair_words(winner: Side, counted: Counter[Side], disagreed: int, reasons: Mapping[Side, str]) -> str:
    scored = counted.total()
    words = f"{counted[winner]} of {scored}"
    words += f"{ORDERS_DISAGREED} {disagreed}" if disagreed else " votes"
    reason = reasons.get(winner) or next(iter(reasons.values()))
    return f"{words}: {reason}"


def _rule_single(votes: int, opinions: Mapping[str, Reading]) -> Ruling:
    read = [opinions[Part(vote).name] for vote in range(1, votes + 1)]
    said = [opinion for opinion in read if isinstance(opinion, Opinion)]
    if not said:
        return Ruling(None, 0, 0, first_fault(opinions))
    good = sum(opinion.choice == "good" for opinion in said)
    if 2 * good == len(said):
        return Ruling(None, len(said), 0, f"the votes are split: {good} good, {good} bad")
    choice = "good" if 2 * good > len(said) else "bad"
    reason = next(opinion.reason for opinion in said if opinion.choice == choice)
    agreeing = max(good, len(said) - good)
    return Ruling((good / len(said),), len(said), 0, f"{agreeing} of {len(said)} votes {choice}: {reason}")


def first_fault(opinions: Mapping[str, Reading]) -> str:
    """Why the first unreadable opinion could not be read."""
    return next(opinion.why for opinion in opinions.values() if isinstance(opinion, Unreadable))
