"""A check that compares numbers, with their units where it is told to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import msgspec

from evals.checks.outcome import Outcome, Subject, judged
from evals.checks.text import reference_text
from evals.checks.units import converted, named_unit, raised, unit_beside
from stepdown.errors import CheckError

if TYPE_CHECKING:
    import pint

NUMBER = re.compile(
    r"(?<![\w.])[-+]?[$€£]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+|(?<=\d))(?:[eE][-+]?\d+)?(?![\d])"
)
ROUNDING = 1e-12
NOT_DIGITS = re.compile("[,$€£]")
# A bare "answer" is a word like any other ("long answer questions"): it marks only what it leads to.
MARKER = re.compile(r"(?i)(?:####|\banswer\b[\s*_]*(?:is\b|[:=]|(?=[-+$€£.]?\d))|\\boxed\{)")


class Found(NamedTuple):
    """A number in a text.

    Attributes:
        symbol: The money sign before it, or empty.
        after: The text after it.
    """

    value: float
    symbol: str
    after: str


def find_numbers(text: str) -> list[Found]:
    """All numbers of a text in order; thousands commas, money signs and U+2212 are understood."""
    plain = text.replace("\N{MINUS SIGN}", "-")
    return [
        Found(float(NOT_DIGITS.sub("", m.group())), "".join(set(m.group()) & set("$€£")), plain[m.end() :])
        for m in NUMBER.finditer(plain)
    ]


def numbers_in(text: str) -> list[float]:
    """The values of `find_numbers`."""
    return [found.value for found in find_numbers(text)]


def answered_number(text: str) -> float | None:
    """The value of `find_answer`."""
    found = find_answer(text)
    return None if found is None else found.value


def find_answer(text: str) -> Found | None:
    r"""The number that an answer gives: the first after its last marker, else the last one of all.

    Markers are `####`, `Answer:`, `answer is`, `Answer` right before a number, and `\\boxed{`.
    """
    marks = list(MARKER.finditer(text))
    if marks and (after := find_numbers(text[marks[-1].end() :])):
        return after[0]
    found = find_numbers(text)
    return found[-1] if found else None


class Number(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The answered number equals the reference within a tolerance.

    Attributes:
        absolute: Largest absolute difference that still counts as equal.
        relative: Largest difference, as a share of the reference, that still counts as equal.
        units: Whether numbers have units: "3,200 m" then equals "3.2 km", and "3.2 kg" or a bare "3.2" does
            not. Currencies must agree. A tolerance is in the reference's unit.
        unit: The unit of bare numbers, in the answer and in the reference; implies `units`.
    """

    version: ClassVar[str] = "2"
    absolute: float = 1e-9
    relative: float = 0.0
    units: bool = False
    unit: str | None = None

    def __post_init__(self) -> None:
        if min(self.absolute, self.relative) < 0:
            raise ValueError(f"tolerances must not be negative, got {self.absolute} and {self.relative}")
        if self.unit is not None:
            named_unit(self.unit)

    @property
    def needs_reference(self) -> bool:
        """Whether the check can say nothing without a reference."""
        return True

    def __call__(self, subject: Subject, /) -> Outcome:
        """Label one answer."""
        if self.units or self.unit is not None:
            return self._measured(subject)
        references = numbers_in(reference_text(subject))
        if len(references) != 1:
            raise CheckError(f"reference {subject.reference!r} is not one number")
        wanted, got = references[0], answered_number(subject.text)
        if got is None:
            return judged(False, f"no number in the answer, wanted {wanted:g}")
        return judged(self._equal(got, wanted), f"got {got:g}, wanted {wanted:g}")

    def _equal(self, got: float, wanted: float) -> bool:
        return got == wanted or abs(got - wanted) <= max(self.absolute, self.relative * abs(wanted))

    def _measured(self, subject: Subject) -> Outcome:
        value, unit = self._reference(raised(reference_text(subject)))
        answered, shown = find_answer(raised(subject.text)), f"wanted {value:g} {unit}"
        if answered is None:
            return judged(False, f"no number in the answer, {shown}")
        beside = unit_beside(answered.symbol, answered.after, unit)
        own = beside.unit if beside.unit is not None else self._bare
        if own is None:
            got_bare = f"got {answered.value:g} without a known unit, before {beside.followed_by!r}"
            return judged(False, f"{got_bare}; {shown}")
        got = converted(answered.value, own, unit)
        if got is None:
            return judged(False, f"got {answered.value:g} {own}, which cannot be converted; {shown}")
        near = abs(got - value) <= ROUNDING * abs(value)  # what converting loses
        return judged(near or self._equal(got, value), f"got {answered.value:g} {own} = {got:g}, {shown}")

    @property
    def _bare(self) -> pint.Unit | None:
        return None if self.unit is None else named_unit(self.unit)

    def _reference(self, text: str) -> tuple[float, pint.Unit]:
        found = find_numbers(text)
        if not found:
            raise CheckError(f"reference {text!r} is not one number with a unit")
        number, after = found[0], found[0].after.strip()
        if number.symbol:
            return number.value, named_unit(number.symbol)
        if after:
            return number.value, named_unit(after)
        if self._bare is None:
            raise CheckError(f"reference {text!r} has no unit; write one, or set `unit`")
        return number.value, self._bare
