"""Numbers in answers: read as people write them, and never read wrong without a sound."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.checks import build_check
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


UNITS = Number(units=True)


@pytest.mark.parametrize(
    ("text", "reference", "good"),
    [
        ("It is **3,200 m** long.", "3.2 km", True),
        ("3.2 kg", "3.2 km", False),
        ("3.2 km", "3.2 miles", False),
        ("It takes 90 minutes", "1.5 hours", True),
        (r"\boxed{36\ \text{km/h}}", "10 m/s", True),
        ("60 miles per hour", "60 mph", True),
        ("The area is 12 m^2", "120000 cm²", True),
        ("12 sq ft of carpet", "12 ft^2", True),
        ("The answer is 20 °C.", "68 degF", True),
        ("$20.00", "20 USD", True),
        ("20 dollars a day", "$20", True),
        ("20 euros", "$20", False),
        ("€20", "20 EUR", True),
        ("20 pounds", "£20", True),
        ("20 pounds", "320 oz", True),
        ("50 cents", "$0.50", True),
        ("5%", "0.05 %", False),
        ("2 fl oz", "2 fluid ounces", True),
        ("a 5-mile walk", "5 mi", True),
    ],
)
def test_numbers_with_units_are_compared_in_the_references_unit(
    text: str, reference: str, good: bool
) -> None:
    assert (UNITS(Subject(text, reference)).verdict is Verdict.GOOD) == good


@given(st.floats(1e-6, 1e6), st.sampled_from(["km", "hour", "kg", "USD", "m/s", "l"]))
def test_a_quantity_equals_itself(value: float, unit: str) -> None:
    assert UNITS(Subject(f"So it is {value!r} {unit}.", f"{value!r} {unit}")).verdict is Verdict.GOOD


def test_a_bare_number_needs_a_unit_that_is_set() -> None:
    bare = UNITS(Subject("3200", "3.2 km"))
    assert (bare.verdict, bare.evidence[:30]) == (Verdict.BAD, "got 3200 without a known unit,")
    assert Number(unit="m")(Subject("3200", "3.2 km")).verdict is Verdict.GOOD
    assert Number(unit="km")(Subject("5 in total", 5)).verdict is Verdict.GOOD
    assert Number(unit="km")(Subject("5 in", 5)).verdict is Verdict.BAD
    with pytest.raises(CheckError, match="'5' has no unit; write one, or set `unit`"):
        UNITS(Subject("5 km", 5))


def test_tolerance_is_in_the_references_unit() -> None:
    assert Number(units=True, absolute=0.1)(Subject("3250 m", "3.2 km")).verdict is Verdict.GOOD
    assert Number(units=True, absolute=0.1)(Subject("3350 m", "3.2 km")).verdict is Verdict.BAD
    assert Number(units=True, relative=0.01)(Subject("1.61 km", "1 mile")).verdict is Verdict.GOOD


def test_an_unknown_unit_is_named() -> None:
    assert "before 'flurbs'" in UNITS(Subject("3.2 flurbs", "3.2 km")).evidence
    with pytest.raises(CheckError, match="unit 'flurbs' is not known"):
        UNITS(Subject("3", "3 flurbs"))
    with pytest.raises(CheckError, match="check 'n' of kind 'number': unit 'kmx' is not known"):
        build_check("n", {"kind": "number", "unit": "kmx"})


@pytest.mark.parametrize(
    "unit", ["m" * 100_000, "m^999999999", "m**9**9**9", "__import__('os')", "\x00", "m/0"]
)
def test_a_hostile_unit_does_no_harm(unit: str) -> None:
    assert UNITS(Subject(f"5 {unit}", "5 km")).verdict is Verdict.BAD


@given(st.text(max_size=60))
def test_any_text_may_follow_a_number(text: str) -> None:
    assert UNITS(Subject("5 " + text, "5 km")).verdict in (Verdict.GOOD, Verdict.BAD)
