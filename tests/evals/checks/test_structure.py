"""Checks of structured answers, against answers that mean well and answers that do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.checks.outcome import Subject
from evals.checks.structure import Json, Sql
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


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n)"
SETUP = "CREATE TABLE t (a INT, b TEXT); INSERT INTO t VALUES (1, 'x'), (2, 'y'), (3, 'y');"


def reference(query: str = "SELECT b FROM t", setup: str = SETUP) -> dict[str, str]:
    return {"setup": setup, "query": query}


@pytest.mark.parametrize(
    ("answer", "wanted", "verdict"),
    [
        ("SELECT b FROM t ORDER BY a DESC", "SELECT b FROM t", GOOD),
        ("```sql\nSELECT b FROM t;\n```", "SELECT b FROM t", GOOD),
        ("SELECT DISTINCT b FROM t", "SELECT b FROM t", BAD),
        ("SELECT a FROM t ORDER BY a DESC", "SELECT a FROM t\nORDER\tBY a", BAD),
        ("SELECT a FROM t ORDER BY a DESC", "SELECT a FROM (SELECT a FROM t ORDER BY a)", GOOD),
        ("WITH RECURSIVE n(i) AS (SELECT 1 UNION SELECT i+1 FROM n WHERE i<3) SELECT i FROM n",
         "SELECT a FROM t", GOOD),
        ("", "SELECT a FROM t WHERE a > 9", BAD),
        ("-- nothing", "SELECT a FROM t WHERE a > 9", BAD),
    ],
)  # fmt: skip
def test_sql_is_judged_by_what_it_returns(answer: str, wanted: str, verdict: Verdict) -> None:
    assert Sql()(Subject(answer, reference(wanted))).verdict is verdict


@pytest.mark.parametrize(
    "answer",
    [
        "SELEC b FROM t",
        "SELECT b FROM t; SELECT 1",
        "DELETE FROM t",
        "DROP TABLE t",
        "PRAGMA database_list",
        "SELECT load_extension('x')",
        "SELECT b\0 FROM t",
        "SELECT '\ud800'",
        f"{ENDLESS} SELECT count(*) FROM n",
        "SELECT randomblob(100000000)",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n LIMIT 20000) SELECT i FROM n",
        "The query is: SELECT b FROM t",
    ],
)
def test_an_answer_that_is_no_harmless_query_is_bad(answer: str) -> None:
    outcome = Sql()(Subject(answer, reference()))
    assert (outcome.verdict, outcome.evidence[:12]) == (BAD, "query failed")


@pytest.mark.parametrize(
    "statement", ["ATTACH '{}' AS f", "VACUUM INTO '{}'", "PRAGMA temp_store_directory = '{}'"]
)
def test_neither_answer_nor_reference_can_touch_a_file(statement: str, tmp_path: Path) -> None:
    file = tmp_path / "out.db"
    order = statement.format(file)
    assert Sql()(Subject(order, reference())).verdict is BAD
    with pytest.raises(CheckError, match=r"not authorized|authorization denied"):
        Sql()(Subject("SELECT 1", reference(setup=order)))
    assert not file.exists()


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        "SELECT 1",
        {"setup": SETUP},
        reference("SELECT nope FROM t"),
        reference("SELECT 1; SELECT 2"),
        reference(setup="CREATE"),
        reference(setup=f"CREATE TABLE t AS {ENDLESS} SELECT i FROM n"),
    ],
)
def test_a_reference_that_does_not_run_is_refused(wrong: object) -> None:
    with pytest.raises(CheckError, match="reference"):
        Sql()(Subject("SELECT 1", wrong))
