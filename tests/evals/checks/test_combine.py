"""Checks made of checks: what settles them, and what does not."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
import pytest

from evals.checks import KINDS, Outcome, Subject, build_check, build_checks
from evals.checks.outcome import limit_s, reads_prompt, reads_tools
from evals.time_limit import OutOfTime, time_limit
from router.wire import ToolCall
from stepdown.errors import CheckError
from stepdown.records import Verdict

GOOD, BAD, UNSCORED = Verdict.GOOD, Verdict.BAD, Verdict.UNSCORED
G, B, U = "good", "bad", "unscored"


class Says(msgspec.Struct, frozen=True):
    """A check that says what it is told to."""

    version: ClassVar[str] = "1"
    verdict: str
    score: float | None = None
    needs_reference: bool = False

    def __call__(self, subject: Subject, /) -> Outcome:
        if self.verdict == "late":
            raise OutOfTime("late")
        if self.verdict == U:
            raise ZeroDivisionError("mine")
        given = float(self.verdict == G) if self.score is None else self.score
        return Outcome(Verdict(self.verdict), given, "as told")


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "says", Says)


def says(verdict: str, score: float | None = None) -> dict[str, Any]:
    return {"kind": "says", "verdict": verdict, "score": score}


@pytest.mark.parametrize(
    ("kind", "parts", "verdict", "score"),
    [
        ("all", [G, G], GOOD, 1.0),
        ("all", [G, B], BAD, 0.5),
        ("all", [G, U], UNSCORED, None),
        ("all", [B, U], BAD, 0.0),
        ("any", [B, G], GOOD, 1.0),
        ("any", [U, G], GOOD, 1.0),
        ("any", [B, B], BAD, 0.0),
        ("any", [B, U], UNSCORED, None),
    ],
)
def test_what_settles_a_combination(
    kind: str, parts: list[str], verdict: Verdict, score: float | None
) -> None:
    for order in (parts, parts[::-1]):
        outcome = build_check("c", {"kind": kind, "of": [says(part) for part in order]})(Subject("x"))
        assert (outcome.verdict, outcome.score) == (verdict, score)


@pytest.mark.parametrize(("part", "verdict", "score"), [(G, BAD, 0.0), (B, GOOD, 1.0), (U, UNSCORED, None)])
def test_not_turns_a_verdict_and_leaves_none_as_it_is(
    part: str, verdict: Verdict, score: float | None
) -> None:
    outcome = build_check("c", {"kind": "not", "of": says(part)})(Subject("x"))
    assert (outcome.verdict, outcome.score) == (verdict, score)


def test_the_score_is_the_weighted_mean_and_the_verdict_everyones() -> None:
    parts = [says(G), says(B, 0.5), says(B, 0.0)]
    assert build_check("c", {"kind": "all", "of": parts, "weights": [2, 1, 1]})(Subject("")).score == 0.625
    heavy = build_check("c", {"kind": "all", "of": parts, "weights": [1, 0, 0]})(Subject(""))
    assert (heavy.verdict, heavy.score) == (BAD, 1.0)


def test_evidence_names_each_part_with_its_reason() -> None:
    outcome = build_check("c", {"kind": "all", "of": [says(G), says(U)]})(Subject("x"))
    assert outcome.evidence == "says good: as told; says unscored: ZeroDivisionError: mine"


def test_parts_are_named_or_declared_in_place_and_nested() -> None:
    declared: dict[str, dict[str, Any]] = {
        "amount": {"kind": "number"},
        "short": {"kind": "regex", "pattern": "^.{0,20}$", "match": "part"},
        "ok": {"kind": "all", "of": ["amount", {"kind": "any", "of": ["short", {"kind": "answered"}]}]},
        "vague": {"kind": "not", "of": "ok"},
    }
    checks = build_checks(declared)
    assert checks["ok"](Subject("It is 4", 4)).verdict is GOOD
    assert checks["vague"](Subject("It is 4", 4)).verdict is BAD
    assert checks["ok"](Subject("It is 5", 4)).verdict is BAD
    assert checks["ok"].needs_reference


def test_the_version_follows_the_settings_of_the_parts_wherever_they_are() -> None:
    def version(relative: float) -> str:
        declared: dict[str, dict[str, Any]] = {
            "amount": {"kind": "number", "relative": relative},
            "ok": {"kind": "all", "of": ["amount"]},
        }
        return build_checks(declared)["ok"].version

    assert version(0.1) == version(0.1) != version(0.2)


def test_what_the_parts_can_read_the_combination_can() -> None:
    both = build_check("c", {"kind": "any", "of": [{"kind": "tools"}, {"kind": "sql"}, {"kind": "number"}]})
    assert reads_tools(both)
    assert reads_prompt(both)
    plain = build_check("c", {"kind": "any", "of": [{"kind": "number"}]})
    assert not reads_tools(plain)
    assert not reads_prompt(plain)
    assert limit_s(plain, 10.0) == 10.0


def test_a_part_that_reads_text_alone_is_unscored_for_a_tool_call() -> None:
    called = Subject("", {"name": "f"}, tool_calls=(ToolCall("f", "{}"),), finish_reason="tool_calls")
    either = build_check("c", {"kind": "any", "of": [{"kind": "tools"}, {"kind": "exact"}]})
    both = build_check("c", {"kind": "all", "of": [{"kind": "tools"}, {"kind": "exact"}]})
    assert either(called).verdict is GOOD
    assert both(called).verdict is UNSCORED


def test_the_time_of_a_part_is_the_time_of_all() -> None:
    """Else a part that never ends would be left, and the next begun without a limit."""
    check = build_check("c", {"kind": "any", "of": [says("late"), says(G)]})
    with pytest.raises(OutOfTime, match="late"):
        check(Subject("x"))
    slow = {"kind": "regex", "pattern": "(a+)+$", "match": "whole"}
    with pytest.raises(OutOfTime, match="no verdict within"), time_limit(0.2):
        build_check("c", {"kind": "any", "of": [slow, slow]})(Subject("a" * 64 + "b"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kind": "all", "of": []}, "`of` must name at least one check"),
        ({"kind": "any", "of": []}, "`of` must name at least one check"),
        ({"kind": "all"}, "missing required field `of`"),
        (
            {"kind": "all", "of": ["gone"]},
            "`of` names 'gone', which is no check of the task; its checks: c, d",
        ),
        ({"kind": "all", "of": ["d"]}, "it is made of itself: c > d > c"),
        ({"kind": "not", "of": "c"}, "it is made of itself: c > c"),
        ({"kind": "all", "of": [{"kind": "numbr"}]}, "check 'numbr' has kind 'numbr'; known kinds"),
        ({"kind": "all", "of": [{"kind": "number", "absolute": -1}]}, "must not be negative"),
        ({"kind": "all", "of": [{}]}, "has kind None"),
        ({"kind": "all", "of": [{"kind": "exact"}], "weights": [1, 2]}, "must be 1, none negative"),
        ({"kind": "all", "of": [{"kind": "exact"}], "weights": [-1]}, "must be 1, none negative"),
        ({"kind": "all", "of": [{"kind": "exact"}], "weights": [0]}, "not all 0"),
    ],
)
def test_a_combination_that_makes_no_sense_is_refused(settings: dict[str, Any], said: str) -> None:
    declared = {"c": settings, "d": {"kind": "not", "of": "c"}}
    with pytest.raises(CheckError, match=said):
        build_check("c", settings, declared)
