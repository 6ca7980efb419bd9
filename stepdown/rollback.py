"""What a rollback of a task puts in force, read from its promotions.

Invariant: nothing is deleted; a rollback is a promotion that names those it takes back. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from stepdown.records import ACTOR, Deployed, Promotion

ROLLBACK_OF = "rollback_of"


def not_taken_back(history: Sequence[Promotion]) -> list[Promotion]:
    """Of a task's promotions, oldest first, those that no later rollback took back, without the rollbacks."""
    standing: list[Promotion] = []
    for promotion in history:
        if ROLLBACK_OF in promotion.evidence:
            gone = _sequences(promotion.evidence[ROLLBACK_OF])
            standing = [p for p in standing if p.sequence not in gone]
        else:
            standing.append(promotion)
    return standing


def _sequences(named: int | Sequence[int]) -> frozenset[int]:
    return frozenset([named] if isinstance(named, int) else named)


def author_of(history: Sequence[Promotion]) -> str | None:
    """By whose word what is in force is so: of a rollback that nobody asked for, by that of what it put back.

    None is nobody's: it is as it was before the first promotion.
    """
    if not history:
        return None
    last = history[-1]
    if last.actor != ACTOR or ROLLBACK_OF not in last.evidence:
        return last.actor
    first = min(_sequences(last.evidence[ROLLBACK_OF]))
    return author_of([promotion for promotion in history if promotion.sequence < first])


class Rollback(NamedTuple):
    """What a rollback puts in force, and the promotions that it takes back, oldest first."""

    to: Deployed
    takes_back: tuple[int, ...]

    @property
    def named(self) -> str:
        """The numbers of the promotions that it takes back, for people."""
        return ", ".join(map(str, self.takes_back))

    @property
    def evidence(self) -> dict[str, Any]:
        """What makes a promotion this rollback."""
        return {ROLLBACK_OF: list(self.takes_back)}


def rollback_of(history: Sequence[Promotion]) -> Rollback | None:
    """What a rollback of a task does; None where nothing is left to take back.

    A candidate under trial is dropped, with all its steps; else the last promotion is taken back, and with
    a student that went live all the steps by which it did. Before the first promotion is mode strong.
    """
    standing = not_taken_back(history)
    if not standing:
        return None
    last = standing.pop()
    takes_back = [last.sequence]
    while standing and standing[-1].candidate is not None:
        takes_back.append(standing.pop().sequence)
    to = standing[-1].deployed if standing else Deployed()
    if last.candidate is not None:
        to = last.deployed.settled
    return Rollback(to, tuple(reversed(takes_back)))
