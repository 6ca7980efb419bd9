"""Tool calls, against references in the forms in which people have them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.checks import build_check
from evals.checks.outcome import Subject, applied
from evals.checks.tools import Tools
from router.wire import ToolCall
from stepdown.errors import CheckError
from stepdown.records import Verdict

GOOD, BAD = Verdict.GOOD, Verdict.BAD
PARIS = {"name": "weather", "arguments": {"city": "Paris", "days": 3}}
ROME = {"name": "weather", "arguments": {"city": "Rome", "days": 3}}
TIME = {"name": "clock", "arguments": {}}


def calls(*made: dict[str, Any], text: str = "") -> Any:
    tools = tuple(ToolCall(call["name"], json.dumps(call["arguments"])) for call in made)
    return lambda reference: Subject(text, reference, tool_calls=tools, finish_reason="tool_calls")


@pytest.mark.parametrize(
    "reference",
    [
        PARIS,
        [PARIS],
        json.dumps(PARIS),
        {"name": "weather", "arguments": '{"days": 3, "city": "Paris"}'},
        [
            {
                "id": "call_1",
                "type": "function",
                "function": {**PARIS, "arguments": json.dumps(PARIS["arguments"])},
            }
        ],
        {"tool_calls": [{"function": PARIS}]},
        {"name": "weather"},
        ["weather"],
    ],
)
def test_a_reference_in_any_form(reference: Any) -> None:
    assert Tools()(calls(PARIS)(reference)).verdict is GOOD
    assert Tools()(calls(TIME)(reference)).verdict is BAD
    assert Tools()(calls(PARIS, TIME)(reference)).verdict is BAD
    assert Tools()(calls()(reference)).verdict is BAD


@pytest.mark.parametrize(
    ("settings", "made", "wanted", "score"),
    [
        ({}, [ROME], [PARIS], 0.0),
        ({"match": "name"}, [ROME], [PARIS], 1.0),
        ({"match": "name"}, [TIME], [PARIS], 0.0),
        ({}, [PARIS, ROME], [ROME, PARIS], 0.0),
        ({"ordered": False}, [PARIS, ROME], [ROME, PARIS], 1.0),
        ({"ordered": False}, [PARIS, PARIS], [ROME, PARIS], 0.5),
        ({}, [PARIS, TIME], [PARIS, ROME], 0.5),
        ({}, [PARIS], [PARIS, ROME], 0.5),
        ({}, [], [], 1.0),
        ({}, [TIME], [], 0.0),
        ({}, [{"name": "weather", "arguments": {"city": "paris", "days": 3}}], [PARIS], 0.0),
        (
            {"ignore_case": True},
            [{"name": "weather", "arguments": {"city": "paris", "days": 3}}],
            [PARIS],
            1.0,
        ),
        ({"ignore_case": True}, [{"name": "Weather", "arguments": PARIS["arguments"]}], [PARIS], 0.0),
        ({"ignore": ("city",)}, [ROME], [PARIS], 1.0),
        (
            {"tolerances": {"days": 1.0}},
            [{"name": "weather", "arguments": {"city": "Paris", "days": 4}}],
            [PARIS],
            1.0,
        ),
        ({"tolerance": 0.1}, [{"name": "weather", "arguments": {"city": "Paris", "days": 4}}], [PARIS], 0.0),
    ],
)
def test_how_calls_are_compared(settings: dict[str, Any], made: Any, wanted: Any, score: float) -> None:
    outcome = build_check("t", {"kind": "tools", **settings})(calls(*made)(wanted))
    assert (outcome.score, outcome.verdict) == (score, GOOD if score == 1 else BAD)


@pytest.mark.parametrize("arguments", ["", "{", "[1]", "null", "[" * 100_000, '{"city": "Paris"'])
def test_arguments_that_are_no_object_are_wrong_and_break_nothing(arguments: str) -> None:
    subject = Subject("", PARIS, tool_calls=(ToolCall("weather", arguments),))
    assert Tools()(subject).verdict is BAD


def test_no_arguments_are_written_in_two_ways() -> None:
    assert Tools()(Subject("", TIME, tool_calls=(ToolCall("clock", ""),))).verdict is GOOD


@pytest.mark.parametrize(
    "reference",
    [None, 7, {"arguments": {}}, {"name": "x", "arguments": [1]}, {"name": "x", "arguments": "["}, [None]],
)
def test_a_reference_that_names_no_call_is_refused(reference: Any) -> None:
    with pytest.raises(CheckError, match=r"is not {name, arguments}, a list of them, or tool_calls"):
        Tools()(calls(PARIS)(reference))


def test_it_judges_answers_without_text_and_answers_in_text() -> None:
    assert applied(Tools(), calls(PARIS)(PARIS)).verdict is GOOD
    assert applied(Tools(), Subject("It is sunny in Paris.", PARIS)).verdict is BAD
    assert applied(Tools(), Subject("I need no tool.", [])).verdict is GOOD


@given(st.lists(st.sampled_from([PARIS, ROME, TIME]), max_size=5), st.randoms(use_true_random=False))
def test_without_order_calls_equal_their_shuffle(made: list[Any], random: Any) -> None:
    other = random.sample(made, len(made))
    assert Tools(ordered=False)(calls(*other)(made)).score == 1.0
    assert Tools(ordered=False)(calls(*other)([*made, {"name": "more", "arguments": {}}])).verdict is BAD
