"""The sweep: what it finds, what it says of what cannot be labelled, and that it counts nothing twice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from evals import labelling
from evals.answers import upload_answers
from evals.checks import KINDS, Outcome, Subject
from evals.checks.number import Number
from evals.labelling import LabelCounts, first_unlabelled, label_all, label_backlog
from evals.sandbox import why_not
from router.wire import read_answer
from stepdown.errors import RecordingError
from stepdown.ledger import Body, Ledger, schema
from stepdown.records import Verdict
from stepdown.settings import TaskSettings
from tests.traffic import answered, chat_body, prompt_key

ON_BOTH_DATABASES = True

NUMBER: dict[str, dict[str, Any]] = {"number": {"kind": "number"}}
TASK = TaskSettings(check="number", checks=NUMBER)


def verdicts(ledger: Ledger) -> dict[str, tuple[str, str]]:
    rows = ledger.rows(select(schema.labels))
    return {row.subject: (row.verdict, row.evidence) for row in rows}


def rewrite_request(ledger: Ledger, request: str, fields: dict[str, Any]) -> None:
    """Have the request have asked with these fields too."""
    (row,) = ledger.rows(select(schema.requests.c.body).where(schema.requests.c.id == request))
    body = Body.of(json.dumps({**json.loads(ledger.body(row.body)), **fields}).encode())
    ledger.append([body])
    with ledger.writing() as connection:
        wanted = schema.requests.c.id == request
        connection.execute(update(schema.requests).where(wanted).values(body=body.digest))


def sweep(ledger: Ledger, task: TaskSettings = TASK) -> LabelCounts:
    return label_all(ledger, {"sums": task}, batch=10, budget_s=60)


def test_labels_live_and_shadow_calls_once(ledger: Ledger) -> None:
    live = answered(ledger, "sums", "2+2?", "It is 4.", reference="4", shadow="It is 5.")
    assert sweep(ledger) == LabelCounts(good=1, bad=1)
    assert sweep(ledger) == LabelCounts()
    assert {k: v for k, (v, _) in verdicts(ledger).items()} == {live.call: "good", live.shadow: "bad"}


def test_a_batch_is_no_larger_than_its_limit(ledger: Ledger) -> None:
    for n in range(7):
        answered(ledger, "sums", f"{n}?", str(n), reference=str(n))
    assert label_backlog(ledger, "sums", TASK, limit=5).labelled == 5
    assert label_backlog(ledger, "sums", TASK, limit=5).labelled == 2


def test_leaves_other_tasks_and_unfinished_calls_alone(ledger: Ledger) -> None:
    answered(ledger, "other", "2+2?", "4", reference="4")
    answered(ledger, "sums", "2+2?", "4", reference="4", status=500)
    answered(ledger, "sums", "2+2?", "4", reference="4", complete=False)
    assert sweep(ledger) == LabelCounts()


def test_a_call_without_its_reference_waits_for_the_answer_file(ledger: Ledger) -> None:
    call = answered(ledger, "sums", "2+2?", "4").call
    assert sweep(ledger) == LabelCounts(waiting=1)
    upload_answers(ledger, "sums", [json.dumps({"prompt": "2+2?", "reference": 4})])
    assert sweep(ledger) == LabelCounts(good=1)
    assert verdicts(ledger)[call][0] == "good"


def test_the_requests_own_reference_goes_before_the_answer_file(ledger: Ledger) -> None:
    call = answered(ledger, "sums", "2+2?", "4", reference="4").call
    upload_answers(ledger, "sums", [json.dumps({"prompt": "2+2?", "reference": 5})])
    sweep(ledger)
    assert verdicts(ledger)[call][0] == "good"


def test_the_named_check_goes_before_the_default(ledger: Ledger) -> None:
    checks = {**NUMBER, "same": {"kind": "exact"}}
    answered(ledger, "sums", "2+2?", "It is 4", reference="4", check="same")
    assert sweep(ledger, TaskSettings(check="number", checks=checks)) == LabelCounts(bad=1)


def test_an_undeclared_check_is_unscored_and_named(ledger: Ledger) -> None:
    call = answered(ledger, "sums", "2+2?", "4", reference="4", check="poetry").call
    assert sweep(ledger) == LabelCounts(unscored=1)
    assert "'poetry'" in verdicts(ledger)[call][1]
    assert sweep(ledger) == LabelCounts()


def test_a_check_with_bad_settings_is_unscored_until_they_are_right(ledger: Ledger) -> None:
    answered(ledger, "sums", "2+2?", "4", reference="4")
    broken = TaskSettings(check="number", checks={"number": {"kind": "numbr"}})
    assert sweep(ledger, broken) == LabelCounts(unscored=1)
    assert sweep(ledger) == LabelCounts(good=1)


def test_new_settings_of_a_check_make_new_labels(ledger: Ledger) -> None:
    answered(ledger, "sums", "pi?", "3.1", reference="3.14")
    assert sweep(ledger) == LabelCounts(bad=1)
    loose = TaskSettings(check="number", checks={"number": {"kind": "number", "relative": 0.1}})
    assert sweep(ledger, loose) == LabelCounts(good=1)


def test_one_bad_call_does_not_harm_its_batch(ledger: Ledger) -> None:
    bad = [
        answered(ledger, "sums", "a?", "4", reference='{"not": "a number"}'),
        answered(ledger, "sums", "b?", "4", reference="not JSON"),
        answered(ledger, "sums", "c?", "4", reference="4", body=b"<html>"),
        answered(ledger, "sums", "d?", "4 dogs", reference="4"),
        answered(ledger, "sums", "e?", "4 elks", reference="4"),
    ]
    bodies = schema.bodies
    with ledger.writing() as connection:
        connection.execute(
            update(bodies).where(bodies.c.digest == bad[3].body).values(content=b"not zstandard")
        )
        connection.execute(bodies.delete().where(bodies.c.digest == bad[4].body))
    good = answered(ledger, "sums", "2+2?", "4.0", reference="4")
    assert sweep(ledger) == LabelCounts(good=1, unscored=5)
    found = verdicts(ledger)
    assert found[good.call][0] == "good"
    assert "corrupt" in found[bad[3].call][1]
    assert "retention" in found[bad[4].call][1]
    assert "not a chat completion" in found[bad[2].call][1]


def test_a_check_that_never_ends_is_unscored(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labelling, "CHECK_LIMIT_S", 0.2)
    endless = {"slow": {"kind": "regex", "pattern": "(a+)+$", "match": "whole"}}
    call = answered(ledger, "sums", "a?", "a" * 64 + "b").call
    assert sweep(ledger, TaskSettings(check="slow", checks=endless)) == LabelCounts(unscored=1)
    assert "no verdict within" in verdicts(ledger)[call][1]


def test_a_check_that_fails_in_its_own_way_is_unscored(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fails(Number, frozen=True):
        def __call__(self, _: Subject, /) -> Outcome:
            raise ZeroDivisionError("by the check itself")

    monkeypatch.setitem(KINDS, "number", Fails)
    call = answered(ledger, "sums", "2+2?", "4", reference="4").call
    assert sweep(ledger) == LabelCounts(unscored=1)
    assert verdicts(ledger)[call][1] == "ZeroDivisionError: by the check itself"


def test_a_tool_call_is_unscored(ledger: Ledger) -> None:
    choice = {"message": {"content": None, "tool_calls": []}, "finish_reason": "tool_calls"}
    body = json.dumps({"choices": [choice]}).encode()
    answered(ledger, "sums", "2+2?", "", reference="4", body=body)
    assert sweep(ledger) == LabelCounts(unscored=1)


TOOLS: dict[str, dict[str, Any]] = {
    "tools": {"kind": "tools"},
    "either": {"kind": "any", "of": ["tools", {"kind": "exact"}]},
}


@pytest.mark.parametrize("name", TOOLS)
def test_a_check_of_tools_sees_the_calls(ledger: Ledger, name: str) -> None:
    def body(city: str) -> bytes:
        call = {"type": "function", "function": {"name": "weather", "arguments": json.dumps({"city": city})}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        return json.dumps({"choices": [{"message": message, "finish_reason": "tool_calls"}]}).encode()

    wanted = json.dumps({"name": "weather", "arguments": {"city": "Paris"}})
    right = answered(ledger, "sums", "Weather?", "", reference=wanted, body=body("Paris")).call
    wrong = answered(ledger, "sums", "Weather?", "", reference=wanted, body=body("Rome")).call
    assert sweep(ledger, TaskSettings(check=name, checks=TOOLS)).labelled == 2
    found = verdicts(ledger)
    assert found[right][0] == "good"
    assert found[wrong][0] == ("bad" if name == "tools" else "unscored")


def test_a_check_sees_how_an_answer_ended(ledger: Ledger) -> None:
    whole = {"message": {"content": "It is 4"}, "finish_reason": "stop"}
    cut = {**whole, "finish_reason": "length"}
    refused = {"message": {"content": None, "refusal": "I cannot."}, "finish_reason": "stop"}
    calls = [
        answered(ledger, "sums", "2+2?", "", body=json.dumps({"choices": [choice]}).encode()).call
        for choice in (whole, cut, refused)
    ]
    task = TaskSettings(check="answered", checks={"answered": {"kind": "answered"}})
    assert sweep(ledger, task) == LabelCounts(good=1, bad=2)
    found = verdicts(ledger)
    assert [found[call][0] for call in calls] == ["good", "bad", "bad"]


def test_a_check_sees_the_prompt_and_the_schema_that_it_asks_for(ledger: Ledger) -> None:
    schema = {"type": "object", "required": ["a"]}
    sql = answered(
        ledger,
        "sums",
        "CREATE TABLE t (a INT); All of a?",
        "SELECT a FROM t",
        reference='"SELECT a FROM t"',
        check="sql",
    )
    good = answered(ledger, "sums", "As JSON", '{"a": 1}', check="schema")
    bad = answered(ledger, "sums", "As JSON, please", '{"b": 1}', check="schema")
    asked = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    for call in (good, bad):
        rewrite_request(ledger, call.request, {"response_format": asked})
    checks = {"sql": {"kind": "sql"}, "schema": {"kind": "schema"}}
    assert sweep(ledger, TaskSettings(checks=checks)) == LabelCounts(good=2, bad=1)
    found = verdicts(ledger)
    assert [found[call][0] for call in (sql.call, good.call, bad.call)] == ["good", "good", "bad"]


def test_a_check_that_needs_the_prompt_says_so_where_it_was_not_kept(ledger: Ledger) -> None:
    call = answered(ledger, "sums", "CREATE TABLE t (a INT)", "SELECT 1", reference='"SELECT a FROM t"')
    other = answered(ledger, "sums", "2+2?", "4", reference="4", check="number")
    with ledger.writing() as connection:
        for row in connection.execute(select(schema.requests.c.body)).all():
            connection.execute(schema.bodies.delete().where(schema.bodies.c.digest == row.body))
    task = TaskSettings(check="sql", checks={"sql": {"kind": "sql"}, **NUMBER})
    assert sweep(ledger, task) == LabelCounts(good=1, unscored=1)
    found = verdicts(ledger)
    assert "the prompt no CREATE TABLE statement" in found[call.call][1]
    assert found[other.call][0] == "good"


def test_new_settings_of_a_part_make_new_labels(ledger: Ledger) -> None:
    answered(ledger, "sums", "pi?", "3.1", reference="3.14")

    def task(relative: float) -> TaskSettings:
        parts: dict[str, dict[str, Any]] = {
            "n": {"kind": "number", "relative": relative},
            "ok": {"kind": "all", "of": ["n"]},
        }
        return TaskSettings(check="ok", checks=parts)

    assert sweep(ledger, task(0.0)) == LabelCounts(bad=1)
    assert sweep(ledger, task(0.1)) == LabelCounts(good=1)
    assert sweep(ledger, task(0.1)) == LabelCounts()


def test_code_without_a_sandbox_is_unscored_with_the_remedy_and_judged_when_there_is_one(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = f"import pathlib\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\ndef f(x): return x"
    call = answered(ledger, "sums", "Code", answer, reference='"assert f(1) == 1"').call
    task = TaskSettings(check="code", checks={"code": {"kind": "python"}})
    monkeypatch.setenv("PATH", str(tmp_path))
    assert sweep(ledger, task) == LabelCounts(unscored=1)
    assert "install bubblewrap" in verdicts(ledger)[call][1]
    assert not (tmp_path / "ran").exists()
    monkeypatch.undo()
    if (why := why_not()) is not None:
        pytest.skip(f"NO SANDBOX HERE, ONLY THAT WAS TESTED: {why}")
    assert sweep(ledger, task) == LabelCounts(bad=1)
    assert not (tmp_path / "ran").exists()


def test_what_a_check_returns_is_looked_at(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd(Number, frozen=True):
        def __call__(self, subject: Subject, /) -> Any:
            odd = {"a": None, "b": Outcome(Verdict.GOOD, 2.0, ""), "c": Outcome(Verdict.GOOD, None, "")}
            return odd.get(subject.text, Outcome(Verdict.GOOD, 1.0, ""))

    monkeypatch.setitem(KINDS, "number", Odd)
    for text in ("a", "b", "c", "d"):
        answered(ledger, "sums", text, text, reference="4")
    assert sweep(ledger) == LabelCounts(good=1, unscored=3)


def test_a_changed_reference_takes_the_old_labels_back(ledger: Ledger) -> None:
    call = answered(ledger, "sums", "2+2?", "4").call
    answers: Mapping[str, Any] = {"messages": [{"role": "user", "content": "2+2?"}], "reference": 5}
    upload_answers(ledger, "sums", [json.dumps(answers)])
    sweep(ledger)
    assert verdicts(ledger)[call][0] == "bad"
    same = upload_answers(ledger, "sums", [json.dumps(answers)])
    assert (same.unchanged, same.relabel) == (1, 0)
    other = upload_answers(ledger, "sums", [json.dumps({**answers, "reference": 4})])
    assert (other.changed, other.relabel) == (1, 1)
    sweep(ledger)
    assert verdicts(ledger)[call][0] == "good"


def test_a_reference_changed_during_the_sweep_leaves_no_stale_label(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = answered(ledger, "sums", "2+2?", "4").call
    upload_answers(ledger, "sums", [json.dumps({"prompt": "2+2?", "reference": 5})])

    def upload_meanwhile(body: bytes) -> Any:
        upload_answers(ledger, "sums", [json.dumps({"prompt": "2+2?", "reference": 4})])
        return read_answer(body)

    monkeypatch.setattr("evals.labelling.read_answer", upload_meanwhile)
    assert sweep(ledger).labelled == 0
    monkeypatch.undo()
    sweep(ledger)
    assert verdicts(ledger)[call][0] == "good"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2: "),
        ('{"prompt": "a"}', "line 2: .*reference"),
        ('{"reference": 1}', "line 2: give either prompt or messages"),
        ('{"prompt": "a", "messages": [], "reference": 1}', "line 2: give either"),
        ('{"messages": [], "reference": 1}', "line 2: messages is empty"),
        ('{"prompt": 3, "reference": 1}', r"line 2: .*\$.prompt"),
        ('{"prompt": "a", "reference": 1, "colour": 2}', "line 2: .*colour"),
        ('{"prompt": "a", "reference": null}', "line 2: reference is null"),
        ('{"prompt": " 2+2? ", "reference": 5}', "line 2: another answer .* line 1"),
        (b'{"prompt": "\xff", "reference": 1}', "line 2: "),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_kept(ledger: Ledger, line: str | bytes, said: str) -> None:
    first = json.dumps({"prompt": "2+2?", "reference": 4})
    with pytest.raises(RecordingError, match=said):
        upload_answers(ledger, "sums", [first, line])
    assert ledger.rows(select(schema.answers)) == []


def test_a_prompt_is_the_same_in_a_file_and_in_a_request() -> None:
    assert prompt_key(chat_body("2 + 2?")) == prompt_key(chat_body(" 2  +  2? "))


def test_the_oldest_calls_are_labelled_first_whatever_their_check(ledger: Ledger) -> None:
    """Else a backlog that is labelled in part would hold the queries of some checks and not of others."""
    checks = {"number": {"kind": "number"}, "exact": {"kind": "exact"}}
    task = TaskSettings(check="number", checks=checks)
    for n in range(10):
        answered(ledger, "t", f"prompt {n}", str(n), reference=str(n), check=("number", "exact")[n % 2])
    label_backlog(ledger, "t", task, limit=4)
    table = schema.calls.join(schema.labels, schema.labels.c.subject == schema.calls.c.id)
    done = ledger.rows(select(schema.labels.c.labeller).select_from(table).order_by(schema.calls.c.at))
    assert [row.labeller for row in done] == ["check:number", "check:exact"] * 2
    oldest_left = ledger.rows(select(schema.requests.c.at).order_by(schema.requests.c.at).offset(4).limit(1))
    assert first_unlabelled(ledger, "t", task) == oldest_left[0].at
    label_all(ledger, {"t": task}, batch=3, budget_s=60)
    assert first_unlabelled(ledger, "t", task) is None
