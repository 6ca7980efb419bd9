"""A check beside published marks: agreement, confusion, kappa, and every mismatch."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from bench.labels.adjudicate import Mismatch, Right, adjudicate, reproduced
from bench.labels.marked import Marked, Model
from evals.checks import Check, Subject
from evals.metrics.agreement import Agreement, agreement
from stepdown.records import Verdict


class Compared(NamedTuple):
    """One model's answers, marked and checked.

    Attributes:
        agreement: Of the check with the marks, which stand for the truth here.
        reproduced: Marks that are explained by the reading that `adjudicate` attributes to them.
        unscored: Answers that the check failed to label; they count as mismatches of nobody.
    """

    model: Model
    answers: int
    agreement: Agreement
    reproduced: int
    unscored: int
    mismatches: tuple[Mismatch, ...]

    @property
    def met(self) -> bool:
        """Whether the agreement is what was asked for."""
        return self.agreement.share.value >= self.model.least

    @property
    def right(self) -> Counter[Right]:
        """How many mismatches each is right about."""
        return Counter(mismatch.right for mismatch in self.mismatches)


def compare(model: Model, answers: list[Marked], check: Check) -> Compared:
    """Run the check over a model's answers."""
    verdicts = [check(Subject(answer.answer, answer.reference)).verdict for answer in answers]
    scored = [
        (answer, verdict is Verdict.GOOD)
        for answer, verdict in zip(answers, verdicts, strict=True)
        if verdict is not Verdict.UNSCORED
    ]
    return Compared(
        model,
        len(answers),
        agreement(
            [answer.marked_good for answer, _ in scored],
            [good for _, good in scored],
            groups=[answer.group for answer, _ in scored],
        ),
        sum(reproduced(answer) for answer in answers),
        len(answers) - len(scored),
        tuple(adjudicate(answer, good) for answer, good in scored if good is not answer.marked_good),
    )
