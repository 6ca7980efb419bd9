"""What an answer comes down to, as the check that applies would read it."""

from __future__ import annotations

from typing import Any

import pytest

from evals.checks import build_check
from evals.picking.answered import answered


def key(text: str, kind: str | None, **settings: Any) -> str | None:
    return answered(build_check("c", {"kind": kind, **settings}) if kind else None, text)


@pytest.mark.parametrize(
    ("kind", "one", "same"),
    [
        ("number", "So 6 x 7 = 42.", "The answer is 42.0"),
        ("number", "1,000", "1e3"),
        ("number", "-0.0", "0"),
        ("choice", "The answer is B.", "B"),
        ("exact", "```\nParis\n```", "paris."),
        ("json", '{"a": 1, "b": 2}', '```json\n{"b":2,"a":1}\n```'),
        ("sql", "SELECT  1", "select 1"),
        (None, "Yes!", " yes"),
    ],
)
def test_answers_that_say_the_same(kind: str | None, one: str, same: str) -> None:
    assert key(one, kind) == key(same, kind) is not None


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("number", "41", "42"),
        ("choice", "A", "B"),
        ("exact", "a b", "ab"),
        ("json", "[1]", "[2]"),
        (None, "a", "b"),
    ],
)
def test_answers_that_do_not(kind: str | None, one: str, other: str) -> None:
    assert key(one, kind) != key(other, kind)


@pytest.mark.parametrize(
    ("kind", "text"),
    [("number", "I do not know"), ("choice", "A or B"), ("exact", " "), ("json", "{"), (None, "")],
)
def test_what_answers_nothing_has_no_vote(kind: str | None, text: str) -> None:
    assert key(text, kind) is None


@pytest.mark.parametrize(
    ("one", "same"), [("3,200 m", "It is 3.2 km."), ("$5", "5 USD"), ("90 min", "1.5 hours")]
)
def test_numbers_with_units_are_compared_as_what_they_measure(one: str, same: str) -> None:
    assert key(one, "number", units=True) == key(same, "number", units=True) is not None
    assert key("3.2 kg", "number", units=True) != key("3.2 km", "number", units=True)
    assert key("3.2", "number", unit="km") == key("3200 m", "number", unit="km")
