"""Queries by what they return, on databases that are given and on databases made of a prompt."""

from __future__ import annotations

from pathlib import Path

import pytest

from evals.checks.outcome import Subject
from evals.checks.sql import Sql
from stepdown.errors import CheckError
from stepdown.records import Verdict

GOOD, BAD = Verdict.GOOD, Verdict.BAD
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
