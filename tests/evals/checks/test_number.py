"""Numbers in answers: read as people write them, and never read wrong without a sound."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.checks.number import Number, answered_number, numbers_in
from evals.checks.outcome import Subject
from stepdown.errors import CheckError
from stepdown.records import Verdict

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(FINITE)
def test_every_number_that_python_writes_is_read_back(value: float) -> None:
    assert numbers_in(f"it is {value!r}.") == [value]


@given(
    st.integers(-(10**15), 10**15),
    st.sampled_from(["{:,}", "${:,}", "**{}**", "\\boxed{{{}}}", "({})", "{}%"]),
)
def test_integers_are_read_in_the_dress_of_prose(value: int, dress: str) -> None:
    assert numbers_in("so " + dress.format(value)) == [float(value)]


@given(st.text(max_size=60))
def test_any_text_is_read_without_a_fall(text: str) -> None:
    assert all(isinstance(number, float) for number in numbers_in(text))


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("1,234.50 dollars and 5km", [1234.5, 5]),
        ("-$5, \N{MINUS SIGN}3, +2, -.5", [-5, -3, 2, -0.5]),
        ("7-3", [7, 3]),
        ("v2 x1 3rd", [3]),
        ("18.", [18]),
        ("1.2.3", [1.2]),
        ("6e2 1E-3", [600, 0.001]),
        ("none", []),
    ],
)
def test_forms(text: str, numbers: list[float]) -> None:
    assert numbers_in(text) == numbers


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("2 + 2 is 4, so #### 4", 4),
        ("Answer: 12 apples, not 13", 12),
        ("The answer is **$1,000**. That took 3 steps", 1000),
        ("first the answer is 1, no: the answer is 2", 2),
        (r"thus \boxed{-7} holds for 9", -7),
        ("3 and then 5", 5),
        ("5 is the answer", 5),
        ("**Answer:** 5 of 6", 5),
        ("Answer 12 of 13", 12),
        ("the long answer questions are worth 5 points, in total 26 + 15 = 41", 41),
        ("no idea", None),
    ],
)
def test_the_answered_number_follows_the_last_marker_or_is_the_last(text: str, number: float | None) -> None:
    assert answered_number(text) == number


@given(FINITE, FINITE, st.floats(0, 10), st.floats(0, 1))
def test_good_is_within_either_tolerance(got: float, wanted: float, absolute: float, relative: float) -> None:
    outcome = Number(absolute=absolute, relative=relative)(Subject(repr(got), wanted))
    near = got == wanted or abs(got - wanted) <= max(absolute, relative * abs(wanted))
    assert (outcome.verdict is Verdict.GOOD) == near
    assert outcome.score == float(near)


def test_relative_is_a_share_of_the_reference() -> None:
    check = Number(relative=0.1)
    assert check(Subject("110", 100)).verdict is Verdict.GOOD
    assert check(Subject("111", 100)).verdict is Verdict.BAD


def test_an_answer_without_a_number_is_bad() -> None:
    assert Number()(Subject("many", 3)).verdict is Verdict.BAD


@pytest.mark.parametrize("reference", [None, "", "3 of 4", [3], True])
def test_a_reference_that_is_not_one_number_is_refused(reference: object) -> None:
    with pytest.raises(CheckError, match="is not"):
        Number()(Subject("3", reference))
