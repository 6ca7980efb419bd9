"""Checks of structured answers, against answers that mean well and answers that do not."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.checks import build_check
from evals.checks.equality import parse_path
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


ORDER: dict[str, Any] = {
    "id": 7,
    "total": 100.0,
    "items": [{"sku": "a", "price": 10.0}, {"sku": "b", "price": 20.0}],
}


def order(**changes: Any) -> str:
    return json.dumps({**ORDER, **changes})


@pytest.mark.parametrize(
    ("settings", "changes", "good"),
    [
        ({}, {}, True),
        ({}, {"total": 100.005}, False),
        ({"tolerances": {"total": 0.01}}, {"total": 100.005}, True),
        ({"tolerances": {"total": 0.01}}, {"total": 100.02}, False),
        ({"tolerances": {"total": "1%"}}, {"total": 101}, True),
        ({"tolerances": {"total": "1%"}}, {"total": 101.1}, False),
        (
            {"tolerances": {"items[].price": 0.5}},
            {"items": [{"sku": "a", "price": 10.5}, ORDER["items"][1]]},
            True,
        ),
        (
            {"tolerances": {"items[1].price": 0.5}},
            {"items": [{"sku": "a", "price": 10.5}, ORDER["items"][1]]},
            False,
        ),
        ({"tolerances": {"price": 0.5}}, {"items": [{"sku": "a", "price": 10.5}, ORDER["items"][1]]}, False),
        ({}, {"items": ORDER["items"][::-1]}, False),
        ({"unordered": True}, {"items": ORDER["items"][::-1]}, True),
        ({"unordered": ("items",)}, {"items": ORDER["items"][::-1]}, True),
        ({"unordered": ("others",)}, {"items": ORDER["items"][::-1]}, False),
        ({"unordered": True}, {"items": [ORDER["items"][0]] * 2}, False),
        ({"fields": ("id", "items[].sku")}, {"total": 0, "items": [{"sku": "A"}, {"sku": "b"}]}, True),
        ({"fields": ("items[].sku",)}, {"items": [{"sku": "b"}, {"sku": "a"}]}, False),
        ({"fields": ("items[].sku",)}, {"items": [{"sku": "a"}]}, False),
        ({"fields": ("items[1].sku",)}, {"items": [0, {"sku": "b"}]}, True),
    ],
)
def test_json_is_compared_by_path(settings: dict[str, Any], changes: dict[str, Any], good: bool) -> None:
    assert (
        build_check("j", {"kind": "json", **settings})(Subject(order(**changes), ORDER)).verdict is GOOD
    ) == good


def test_a_place_that_fits_two_is_given_to_the_one_that_fits_no_other() -> None:
    check = Json(unordered=True, tolerances={"v[]": 1.0})
    assert check(Subject('{"v": [2, 3]}', {"v": [3, 1]})).verdict is GOOD
    assert check(Subject('{"v": [2, 2]}', {"v": [3, 5]})).verdict is BAD


@given(st.lists(st.integers(0, 3), max_size=6), st.randoms(use_true_random=False))
def test_without_order_a_list_equals_its_shuffle_and_nothing_else(values: list[int], random: Random) -> None:
    other = random.sample(values, len(values))
    assert Json(unordered=True)(Subject(json.dumps(other), json.dumps(values))).verdict is GOOD
    changed = [*other, 9]
    assert Json(unordered=True)(Subject(json.dumps(changed), json.dumps([*values, 8]))).verdict is BAD


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"tolerances": {"a..b": 1.0}}, "path 'a..b' must be like"),
        ({"tolerances": {"a": -1.0}}, "tolerance -1.0 must not be negative"),
        ({"tolerances": {"a": "ten"}}, "tolerance 'ten' must be a number, or a share"),
        ({"tolerance": -0.1}, "must not be negative"),
        ({"unordered": ["a["]}, r"path 'a\[' must be like"),
        ({"fields": [""]}, "path '' must be like"),
    ],
)
def test_paths_and_tolerances_that_are_none_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(CheckError, match=said):
        build_check("j", {"kind": "json", **settings})


@given(
    st.lists(st.text(st.characters(exclude_characters='\\"'), min_size=1) | st.integers(0, 99), min_size=1)
)
def test_any_names_and_places_make_a_path(steps: list[str | int]) -> None:
    written = "".join(f"[{step}]" if isinstance(step, int) else f'["{step}"]' for step in steps)
    assert parse_path(written) == tuple(steps)
