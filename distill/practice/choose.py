"""Which of a student's samples are worth learning: those that are right where it is mostly wrong.

Invariant: a prompt that the student mostly gets right teaches it nothing new and gives no sample, and no
prompt gives more than `KEPT_PER_PROMPT`, or the easiest of the hard ones would make up the round. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stepdown.records import Verdict

EASY_FROM = 0.75  # share of right samples from which on a prompt is not hard for the student
KEPT_PER_PROMPT = 2


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer of the student, checked.

    Attributes:
        answer: Digest of the answer's body.
        said: Its text and tool calls: what makes it another answer than the next.
        verdict: The check's; unscored where it has none.
    """

    answer: str
    said: str
    verdict: Verdict


def pass_rate(samples: Sequence[Sample]) -> float | None:
    """The share of right samples among those that the check could score; None where it could score none."""
    scored = [sample for sample in samples if sample.verdict is not Verdict.UNSCORED]
    if not scored:
        return None
    return sum(sample.verdict is Verdict.GOOD for sample in scored) / len(scored)


def worth_learning(samples: Sequence[Sample]) -> list[Sample]:
    """The samples of one prompt that are kept: right, different, the first ones; none of an easy prompt."""
    rate = pass_rate(samples)
    if rate is None or rate >= EASY_FROM:
        return []
    different: dict[str, Sample] = {}
    for sample in samples:
        if sample.verdict is Verdict.GOOD:
            different.setdefault(" ".join(sample.said.split()), sample)
    return list(different.values())[:KEPT_PER_PROMPT]
