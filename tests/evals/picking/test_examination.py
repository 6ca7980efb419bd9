"""What a check says of candidates: a finding for each, whatever becomes of the check."""

from __future__ import annotations

from typing import Any

import pytest

from evals.picking import examination
from evals.picking.examination import Examination, Said, examine
from router.wire import ToolCall


def verdicts(*texts: str, reference: str | None = "42", **settings: Any) -> list[str]:
    found = examine(
        Examination("c", {"c": {"kind": "number", **settings}}, reference, "asked", tuple(map(Said, texts)))
    )
    return [finding.verdict for finding in found]


def test_each_answer_has_its_verdict() -> None:
    assert verdicts("It is 42", "41", "none") == ["good", "bad", "bad"]


def test_without_the_reference_that_a_check_needs_nothing_is_scored_but_answers_can_be_compared() -> None:
    found = examine(
        Examination("c", {"c": {"kind": "number"}}, None, "", (Said("42"), Said("is 42.0"), Said("7")))
    )
    assert [finding.verdict for finding in found] == ["unscored"] * 3
    assert found[0].key == found[1].key != found[2].key


def test_a_check_that_needs_none_scores_without() -> None:
    assert verdicts("abc", "x", reference=None, kind="regex", pattern="b") == ["good", "bad"]


def test_a_reference_of_the_wrong_form_is_unscored() -> None:
    assert verdicts("42", reference='"no number"') == ["unscored"]
    assert verdicts("42", reference="{") == ["unscored"]


def test_a_check_that_cannot_be_built_is_said_and_unscored(capsys: pytest.CaptureFixture[str]) -> None:
    assert verdicts("42", "43", kind="nonsense") == ["unscored", "unscored"]
    assert "'nonsense'" in capsys.readouterr().err


def test_a_pattern_that_backtracks_for_ever_spoils_one_finding_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "LIMIT_S", 0.2)
    hostile = "a" * 40 + "b"
    assert verdicts("aaa", hostile, "a", reference='"(a+)+$"', kind="regex", match="whole") == [
        "good",
        "unscored",
        "good",
    ]


def test_a_check_may_be_made_of_the_tasks_others() -> None:
    declared: dict[str, dict[str, Any]] = {
        "right": {"kind": "number"},
        "short": {"kind": "regex", "pattern": "^.{0,9}$"},
        "both": {"kind": "all", "of": ["right", "short"]},
    }
    said = (Said("42"), Said("It is surely 42"), Said("7"), Said("42.0"))
    found = examine(Examination("both", declared, "42", "", said))
    assert [finding.verdict for finding in found] == ["good", "bad", "bad", "good"]
    assert found[0].key == found[3].key != found[2].key


def test_the_schema_that_the_request_asks_for_is_known() -> None:
    declared = {"shaped": {"kind": "schema"}}
    said = (Said('{"a": 1}'), Said('{"a": "x"}'))
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    found = examine(Examination("shaped", declared, None, "", said, schema))
    assert [finding.verdict for finding in found] == ["good", "bad"]


def test_a_tool_call_is_nothing_that_a_check_of_text_can_score() -> None:
    found = examine(
        Examination("c", {"c": {"kind": "number"}}, "42", "", (Said("", (ToolCall("f", "{}"),)), Said("42")))
    )
    assert [finding.verdict for finding in found] == ["unscored", "good"]
