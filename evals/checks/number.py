"""A check that compares numbers."""

from __future__ import annotations

import re
from typing import ClassVar

import msgspec

from evals.checks.outcome import Outcome, Subject, judged
from evals.checks.text import reference_text
from stepdown.errors import CheckError

NUMBER = re.compile(
    r"(?<![\w.])[-+]?[$€£]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+|(?<=\d))(?:[eE][-+]?\d+)?(?![\d])"
)
NOT_DIGITS = re.compile("[,$€£]")
# A bare "answer" is a word like any other ("long answer questions"): it marks only what it leads to.
MARKER = re.compile(r"(?i)(?:####|\banswer\b[\s*_]*(?:is\b|[:=]|(?=[-+$€£.]?\d))|\\boxed\{)")


def numbers_in(text: str) -> list[float]:
    """All numbers of a text in order; thousands commas, money signs and U+2212 are understood."""
    plain = text.replace("\N{MINUS SIGN}", "-")
    return [float(NOT_DIGITS.sub("", m.group())) for m in NUMBER.finditer(plain)]


def answered_number(text: str) -> float | None:
    r"""The number that an answer gives: the first after its last marker, else the last one of all.

    Markers are `####`, `Answer:`, `answer is`, `Answer` right before a number, and `\\boxed{`.
    """
    marks = list(MARKER.finditer(text))
    if marks and (after := numbers_in(text[marks[-1].end() :])):
        return after[0]
    found = numbers_in(text)
    return found[-1] if found else None


class Number(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The answered number equals the reference within a tolerance.

    Attributes:
        absolute: Largest absolute difference that still counts as equal.
        relative: Largest difference, as a share of the reference, that still counts as equal.
    """

    version: ClassVar[str] = "2"
    absolute: float = 1e-9
    relative: float = 0.0

    def __post_init__(self) -> None:
        if min(self.absolute, self.relative) < 0:
            raise ValueError(f"tolerances must not be negative, got {self.absolute} and {self.relative}")

    @property
    def needs_reference(self) -> bool:
        """Whether the check can say nothing without a reference."""
        return True

    def __call__(self, subject: Subject, /) -> Outcome:
        """Label one answer."""
        references = numbers_in(reference_text(subject))
        if len(references) != 1:
            raise CheckError(f"reference {subject.reference!r} is not one number")
        wanted, got = references[0], answered_number(subject.text)
        if got is None:
            return judged(False, f"no number in the answer, wanted {wanted:g}")
        equal = got == wanted or abs(got - wanted) <= max(self.absolute, self.relative * abs(wanted))
        return judged(equal, f"got {got:g}, wanted {wanted:g}")
