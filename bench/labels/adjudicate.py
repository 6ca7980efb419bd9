"""Mark or check: which of the two is right where they differ, told by rule from the answer itself.

The published marks are consistent with one reading: the last run of digits of the answer, without commas,
equals the digits of the reference (`mark_reads`; how many of the marks that reproduces is printed beside the
result). It takes the cents of `$20.00` for the answer, and drops a sign and whatever stands before a decimal
point. The check reads whole numbers, and of them the one that is marked (`#### 20`) or else the last.

Invariant: nothing here knows a row by name; what is right follows from the answer, the reference and the two
readings, and where no rule applies neither is called right. Pure.
"""

from __future__ import annotations

import enum
import re
from typing import NamedTuple

from bench.labels.marked import Marked
from evals.checks.number import answered_number, numbers_in

DIGITS = re.compile(r"\d+")
WHOLE = re.compile(r"[-+\N{MINUS SIGN}]?[$€£]?\d+(?:,\d{3})*(?:\.\d+)?|[-+\N{MINUS SIGN}]?[$€£]?\.\d+")


class Right(enum.StrEnum):
    """Which of the two is right."""

    CHECK = "check"
    MARK = "mark"
    UNDECIDED = "undecided"


class Mismatch(NamedTuple):
    """One answer on which mark and check differ.

    Attributes:
        check_reads: The number that the check takes for the answer, None where there is none.
        mark_reads: The digits that the published marks take for it.
        ends_in: The last whole number of the answer, as it is written there.
    """

    answer: Marked
    check_good: bool
    check_reads: float | None
    mark_reads: str
    ends_in: str
    right: Right
    why: str


def mark_reads(text: str) -> str:
    """The last run of digits, commas left out: what the published marks read."""
    found = DIGITS.findall(text.replace(",", ""))
    return found[-1] if found else ""


def reproduced(answer: Marked) -> bool:
    """Whether that reading gives the published mark."""
    read = mark_reads(answer.answer)
    return (read != "" and float(read) == abs(answer.reference)) == answer.marked_good


def adjudicate(answer: Marked, check_good: bool) -> Mismatch:
    """Say who is right about an answer that mark and check differ on."""
    text, wanted = answer.answer, float(answer.reference)
    written = WHOLE.findall(text)
    ends_in = written[-1] if written else ""
    last = numbers_in(ends_in)
    reads = answered_number(text)
    right, why = _ruled(wanted, check_good, reads, mark_reads(text), ends_in, last[-1] if last else None)
    return Mismatch(answer, check_good, reads, mark_reads(text), ends_in, right, why)


def _ruled(
    wanted: float, check_good: bool, reads: float | None, digits: str, ends_in: str, last: float | None
) -> tuple[Right, str]:
    if check_good and last == wanted and digits and float(digits) != abs(last):
        return Right.CHECK, f"{ends_in!r} is {wanted:g}; the mark read its last digits, {digits!r}"
    if check_good and reads == wanted and last != wanted:
        return Right.CHECK, f"the answer marks {reads:g} as its own; the mark read what follows, {ends_in!r}"
    if not check_good and last == wanted and reads != wanted:
        return Right.MARK, f"the answer ends in {ends_in!r}; the check took {_shown(reads)} from before it"
    if not check_good and reads == last != wanted and digits and float(digits) == abs(wanted):
        not_equal = f"{ends_in!r} is not {wanted:g}{_related(last, wanted)}"
        return Right.CHECK, f"{not_equal}; the mark read only {digits!r}"
    return Right.UNDECIDED, f"no rule explains it: the check read {_shown(reads)}, the mark {digits!r}"


def _related(got: float | None, wanted: float) -> str:
    """How a wrong number comes near the right one, for who wants to be lenient."""
    if got is None:
        return ""
    if got == -wanted:
        return " but its negative"
    if abs(got * 100 - wanted) < 1e-9:
        return ", but as much in a unit a hundred times as large, which was not asked for"
    return ""


def _shown(value: float | None) -> str:
    return "nothing" if value is None else f"{value:g}"
