"""Queries by what they return, on databases that are given and on databases made of a prompt."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.checks.outcome import Subject
from evals.checks.sql import Sql
from evals.checks.tables import statements_in
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


PROMPT = """Given this schema, in MySQL:
```sql
CREATE TABLE customers (
  id INTEGER PRIMARY KEY AUTO_INCREMENT, -- the id; really
  name VARCHAR(50) NOT NULL COMMENT 'the name (full)',
  city TEXT,
  kind ENUM('a', 'b'),
  KEY by_city (city)
) ENGINE=InnoDB;
CREATE TABLE public.orders (
  id INT PRIMARY KEY, customer_id INT REFERENCES customers(id), amount DECIMAL(10,2), day DATE DEFAULT now()
)
```
Write a query (one only): total per city of orders over 100."""
TOTALS = (
    "SELECT city, SUM(amount) FROM customers c JOIN orders o ON o.customer_id = c.id "
    "WHERE amount > 100 GROUP BY city"
)


@pytest.mark.parametrize(
    ("answer", "wanted", "verdict"),
    [
        (TOTALS, TOTALS, GOOD),
        ("SELECT c.city, SUM(o.amount) FROM orders o, customers c "
         "WHERE c.id = o.customer_id AND NOT o.amount <= 100 GROUP BY 1", TOTALS, GOOD),
        (TOTALS.replace("> 100", ">= 100"), TOTALS, BAD),
        (TOTALS.replace("SUM", "AVG"), TOTALS, BAD),
        (TOTALS.replace("city", "name"), TOTALS, BAD),
        ("SELECT id FROM customers WHERE name LIKE 'Al%'", "SELECT id FROM customers WHERE name = 'Al'", BAD),
        ("SELECT id FROM customers WHERE name = 'Bo'", "SELECT id FROM customers WHERE name = 'Al'", BAD),
        ("SELECT DISTINCT city FROM customers", "SELECT city FROM customers", BAD),
        ("SELECT city FROM customers WHERE city IS NOT NULL", "SELECT city FROM customers", BAD),
        ("SELECT id FROM customers ORDER BY id DESC", "SELECT id FROM customers ORDER BY id", BAD),
        ("SELECT id FROM customers ORDER BY city, id DESC", "SELECT id FROM customers ORDER BY city", GOOD),
        ("SELECT COUNT(*) FROM customers c LEFT JOIN orders o ON o.customer_id = c.id",
         "SELECT COUNT(*) FROM customers c JOIN orders o ON o.customer_id = c.id", BAD),
        ("SELECT id FROM orders WHERE day >= '2022-01-01'",
         "SELECT id FROM orders WHERE day > '2022-01-01'", BAD),
        ("DROP TABLE customers", TOTALS, BAD),
        ("I would join the tables.", TOTALS, BAD),
    ],
)  # fmt: skip
def test_a_query_runs_on_random_rows_of_the_prompts_schema(
    answer: str, wanted: str, verdict: Verdict
) -> None:
    for reference in (wanted, {"query": wanted}):
        assert Sql()(Subject(answer, reference, prompt=PROMPT)).verdict is verdict


def test_rows_that_the_prompt_inserts_are_the_tables_rows() -> None:
    prompt = (
        "CREATE TABLE t (a INT, b TEXT)\nINSERT INTO t (a, b) VALUES (1, 'x;'), (2, 'y')\n"
        "INSERT INTO t VALUES (3, 'z');"
        "\nWhat is the largest a (of t)?"
    )
    assert Sql()(Subject("SELECT 3", "SELECT MAX(a) FROM t", prompt=prompt)).verdict is GOOD
    assert Sql()(Subject("SELECT 2", "SELECT MAX(a) FROM t", prompt=prompt)).verdict is BAD


def test_the_same_question_gets_the_same_verdict() -> None:
    subject = Subject(TOTALS.replace("> 100", ">= 100"), TOTALS, prompt=PROMPT)
    assert len({Sql()(subject) for _ in range(5)}) == 1


@pytest.mark.parametrize(
    ("wanted", "prompt", "said"),
    [
        (TOTALS, "no tables here", "the reference has no setup, and the prompt no CREATE TABLE"),
        ("SELECT nope FROM customers", PROMPT, "does not run on the prompt's tables: no such column: nope"),
        ("SELECT name FROM customers LIMIT 1", PROMPT, "returns nothing certain on random rows"),
        ("SELECT id FROM customers WHERE 1 = 0", PROMPT, "returns nothing certain"),
        (
            "SELECT 1",
            "CREATE TABLE t (a INT, a INT)",
            "does not run on the prompt's tables: duplicate column",
        ),
        ({"queri": "x"}, PROMPT, "is no query and not {setup, query}"),
        (7, PROMPT, "is no query and not {setup, query}"),
    ],
)
def test_a_reference_that_cannot_judge_on_the_prompts_tables_is_refused(
    wanted: object, prompt: str, said: str
) -> None:
    with pytest.raises(CheckError, match=re.escape(said)):
        Sql()(Subject("SELECT 1", wanted, prompt=prompt))


def test_a_prompt_cannot_touch_a_file(tmp_path: Path) -> None:
    file = tmp_path / "out.db"
    prompt = f"CREATE TABLE t (a INT);\nATTACH '{file}' AS f; INSERT INTO t SELECT writefile('{file}', 'x');"
    with pytest.raises(CheckError, match="no such function"):
        Sql()(Subject("SELECT a FROM t", "SELECT a FROM t", prompt=prompt))
    assert not file.exists()


def test_statements_are_told_from_the_text_around_them() -> None:
    found = statements_in(
        "Use CREATE TABLE a (x INT) and then create table if not exists A (y INT, z INT). Ok?"
    )
    assert found.create == ("create table if not exists A (y INT, z INT)",)
    assert statements_in("INSERT INTO t VALUES ('it''s; (', 2) -- why\n, (3, 4) and so on").insert == (
        "INSERT INTO t VALUES ('it''s; (', 2) -- why\n, (3, 4)",
    )


@given(st.text(max_size=200))
def test_any_text_may_stand_around_statements(text: str) -> None:
    statements_in(text + " CREATE TABLE t (" + text)
    found = statements_in("CREATE TABLE t (a INT); " + text.replace("CREATE", ""))
    assert found.create[:1] == ("CREATE TABLE t (a INT)",)
