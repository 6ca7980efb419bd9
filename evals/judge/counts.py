"""What a sweep of the judges did, in numbers. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JudgeCounts:
    """What a sweep did, in items: a pair, or a single answer.

    Attributes:
        judged: Items that were given a verdict.
        ties: Of those, pairs that tied.
        unscored: Items that were given none, for the reason that their label's evidence says.
        failed: Items of which a question was not answered; a later sweep asks again.
        waiting: Items left alone because a question of theirs failed only just now.
        batched: Items sent to a batch endpoint, to be read by a later sweep.
        cost_usd_micros: What the judges' calls cost, as far as prices are known.
        notes: What is to be said of single judges: why one was stopped, what became of a batch.
    """

    judged: int = 0
    ties: int = 0
    unscored: int = 0
    failed: int = 0
    waiting: int = 0
    batched: int = 0
    cost_usd_micros: int = 0
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The counts that are not zero, in words."""
        counted = {
            "tied": self.ties,
            "unscored": self.unscored,
            "failed and to be asked again": self.failed,
            "waiting": self.waiting,
            "in a batch": self.batched,
        }
        others = "".join(f", {count:,} {name}" for name, count in counted.items() if count)
        return f"{self.judged:,} items{others}"

    def __add__(self, other: JudgeCounts) -> JudgeCounts:
        """The sum of two sweeps."""
        return JudgeCounts(
            self.judged + other.judged,
            self.ties + other.ties,
            self.unscored + other.unscored,
            self.failed + other.failed,
            self.waiting + other.waiting,
            self.batched + other.batched,
            self.cost_usd_micros + other.cost_usd_micros,
            self.notes + other.notes,
        )


Progress = Callable[[JudgeCounts], None]
