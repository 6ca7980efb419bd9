"""Checks of structured answers, against answers that mean well and answers that do not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.checks.outcome import Subject
from evals.checks.structure import Json
from stepdown.errors import CheckError
from stepdown.records import Verdict

GOOD, BAD = Verdict.GOOD, Verdict.BAD
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(), VALUES, max_size=4)


@given(OBJECTS)
def test_json_is_equal_to_itself_in_any_layout(value: dict[str, Any]) -> None:
    for text in (
        json.dumps(value),
        "```json\n" + json.dumps(value, indent=1).replace("`", "\\u0060") + "\n```",
    ):
        outcome = Json()(Subject(text, value))
        assert (outcome.verdict, outcome.score) == (GOOD, 1.0)


@given(OBJECTS, st.text(), VALUES)
def test_json_with_one_field_too_many_is_bad(value: dict[str, Any], name: str, extra: Any) -> None:
    outcome = Json()(
        Subject(json.dumps({**value, name: extra}), {k: v for k, v in value.items() if k != name})
    )
    assert outcome.verdict is BAD
    assert outcome.score != 1.0


def test_a_fence_inside_of_a_json_string_is_part_of_it() -> None:
    value = {"code": "```py\nx\n```"}
    assert Json()(Subject(json.dumps(value), value)).verdict is GOOD


def test_json_score_is_the_share_of_right_fields() -> None:
    wanted = {"a": 1, "b": "Two", "c": [1.0], "d": True}
    outcome = Json()(Subject('{"a": 1, "b": " two", "c": [1], "d": 1}', wanted))
    assert (outcome.verdict, outcome.score) == (BAD, 0.75)
    assert "'d'" in outcome.evidence


def test_json_compares_the_fields_that_are_asked_for() -> None:
    check = Json(fields=("a",), tolerance=0.01)
    assert check(Subject('{"a": 100.5, "z": 0}', {"a": 100, "b": 1})).verdict is GOOD
    assert check(Subject('{"a": 102}', {"a": 100, "b": 1})).verdict is BAD
    with pytest.raises(CheckError, match=r"reference has no field \['a'\]; it has b"):
        check(Subject('{"a": 1}', {"b": 1}))


def test_json_without_a_reference_is_valid_with_what_is_required() -> None:
    check = Json(required=("a",))
    assert not check.needs_reference
    assert check(Subject('{"a": null}')).verdict is GOOD
    assert check(Subject('{"b": 1}')).verdict is BAD
    assert check(Subject("[1]")).verdict is BAD
    assert Json()(Subject("[1]")).verdict is GOOD


@pytest.mark.parametrize(
    "text", ["", "{", "nope", "[" * 100_000, '{"a": ' + "9" * 4000 + "}", "[1]", "\ud800"]
)
def test_json_that_is_not_what_was_asked_is_bad_and_breaks_nothing(text: str) -> None:
    assert Json()(Subject(text, {"a": 0.5})).verdict is BAD


def test_a_reference_in_text_must_be_json() -> None:
    assert Json()(Subject("[1, 2]", "[1, 2]")).verdict is GOOD
    with pytest.raises(CheckError, match=r"reference '\{' is not JSON"):
        Json()(Subject("1", "{"))
