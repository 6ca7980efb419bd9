"""Prompts about SQL and Python."""

from __future__ import annotations

import json
import random

from bench.traffic.prompt import CITIES, LAST, Drawn

SCHEMA = (
    "CREATE TABLE employees (id INTEGER, name TEXT, city TEXT, salary INTEGER, department TEXT);\n"
    "CREATE TABLE orders (id INTEGER, employee_id INTEGER, amount INTEGER, status TEXT);"
)
DEPARTMENTS = ("sales", "support", "design", "finance")
STATUSES = ("open", "paid", "late")


def sql(rng: random.Random) -> Drawn:
    """A query over a given schema, verified by what it returns on a filled database."""
    city, department, status = rng.choice(CITIES[:6]), rng.choice(DEPARTMENTS), rng.choice(STATUSES)
    salary, top = rng.randint(30, 80) * 100, rng.randint(2, 5)
    asks = [
        (f"the names of all employees in {city}", f"SELECT name FROM employees WHERE city = '{city}'"),
        (
            f"how many employees earn more than {salary}",
            f"SELECT COUNT(*) FROM employees WHERE salary > {salary}",
        ),
        (
            f"the average salary in the {department} department",
            f"SELECT AVG(salary) FROM employees WHERE department = '{department}'",
        ),
        (
            f"the total amount of all orders with status '{status}'",
            f"SELECT SUM(amount) FROM orders WHERE status = '{status}'",
        ),
        (
            f"the names of the {top} best paid employees, best paid first",
            f"SELECT name FROM employees ORDER BY salary DESC LIMIT {top}",
        ),
        (
            "each department with its number of employees",
            "SELECT department, COUNT(*) FROM employees GROUP BY department",
        ),
        (
            f"the names of employees who have an order with status '{status}' "
            f"and an amount above {top * 100}, without duplicates",
            "SELECT DISTINCT e.name FROM employees e JOIN orders o ON o.employee_id = e.id "
            f"WHERE o.status = '{status}' AND o.amount > {top * 100}",
        ),
        (
            f"each city whose employees earn more than {salary} on average",
            f"SELECT city FROM employees GROUP BY city HAVING AVG(salary) > {salary}",
        ),
        (
            f"the name and total order amount of each employee in the {department} department who has orders",
            "SELECT e.name, SUM(o.amount) FROM employees e JOIN orders o ON o.employee_id = e.id "
            f"WHERE e.department = '{department}' GROUP BY e.id, e.name",
        ),
    ]
    wish, query = rng.choice(asks)
    lead = rng.choice(("Write one SQLite query that returns", "Give a single SQL query (SQLite) for"))
    return Drawn(
        f"{SCHEMA}\n\n{lead} {wish}. Reply with the query only.",
        "sql",
        json.dumps({"setup": _database(rng), "query": query}),
    )


def _database(rng: random.Random) -> str:
    """SQL that creates the schema and fills it so that wrong queries show."""
    names = rng.sample(LAST, 16)
    people = ", ".join(
        f"({i}, '{name}', '{rng.choice(CITIES[:6])}', {rng.randint(2500, 9000)}, '{rng.choice(DEPARTMENTS)}')"
        for i, name in enumerate(names, 1)
    )
    orders = ", ".join(
        f"({i}, {rng.randint(1, 16)}, {rng.randint(20, 900)}, '{rng.choice(STATUSES)}')" for i in range(1, 31)
    )
    return f"{SCHEMA}\nINSERT INTO employees VALUES {people};\nINSERT INTO orders VALUES {orders};"


def python_expression(rng: random.Random) -> Drawn:
    """A one-line expression over a list `xs`; the reference is a pattern of the accepted forms."""
    n = rng.randint(2, 9)
    asks = [
        (f"the last {n} elements of xs", rf"xs\[-{n}:\]"),
        (f"the first {n} elements of xs", rf"xs\[0?:{n}\]"),
        (
            f"every element of xs multiplied by {n}",
            rf"\[(\w+)\*{n}for\1inxs\]|\[{n}\*(\w+)for\2inxs\]|list\(map\(lambda(\w+):(\3\*{n}|{n}\*\3),xs\)\)",
        ),
        (
            f"the elements of xs that are greater than {n}",
            rf"\[(\w+)for\1inxsif\1>{n}\]|list\(filter\(lambda(\w+):\2>{n},xs\)\)",
        ),
        (
            f"the {n} largest elements of xs, largest first",
            rf"sorted\(xs,reverse=True\)\[0?:{n}\]|sorted\(xs\)\[::-1\]\[:{n}\]|heapq\.nlargest\({n},xs\)"
            rf"|sorted\(xs\)\[-{n}:\]\[::-1\]|sorted\(xs,key=lambda(\w+):-\1\)\[:{n}\]",
        ),
        (
            f"how many elements of xs are equal to {n}",
            rf"xs\.count\({n}\)|sum\(1for(\w+)inxsif\1=={n}\)|sum\((\w+)=={n}for\2inxs\)"
            rf"|len\(\[(\w+)for\3inxsif\3=={n}\]\)",
        ),
        (f"xs without its first {n} elements", rf"xs\[{n}:\]"),
        (f"every {n}th element of xs, starting with the first", rf"xs\[0?:?:{n}\]"),
        (
            f"the sum of the squares of the elements of xs, plus {n}",
            rf"sum\(\[?(\w+)\*\*2for\1inxs\]?\)\+{n}|{n}\+sum\(\[?(\w+)\*\*2for\2inxs\]?\)"
            rf"|sum\(\[?(\w+)\*\3for\3inxs\]?\)\+{n}|sum\(map\(lambda(\w+):\4\*\*2,xs\)\)\+{n}",
        ),
        (
            f"whether any element of xs is divisible by {n}",
            rf"any\(\[?(\w+)%{n}==0for\1inxs\]?\)|any\(not(\w+)%{n}for\2inxs\)",
        ),
    ]
    wish, pattern = rng.choice(asks)
    lead = rng.choice(
        ("Write one Python expression for", "Give a single Python expression that evaluates to")
    )
    return Drawn(
        f"xs is a Python list of integers. {lead} {wish}. Reply with the expression only, no explanation.",
        "expression",
        pattern,
    )


def python_output(rng: random.Random) -> Drawn:
    """What a short function returns."""
    n, m, k = rng.randint(2, 6), rng.randint(2, 9), rng.randint(1, 5)
    xs = [rng.randint(1, 12) for _ in range(4)]
    programs = [
        (
            "def f(n):\n    total = 0\n    for i in range(1, n + 1):\n"
            f"        total += i * {k}\n    return total",
            f"f({n})",
            sum(i * k for i in range(1, n + 1)),
        ),
        (
            f"def f(xs):\n    return [x + {k} for x in xs if x > {m}]",
            f"f({xs})",
            [x + k for x in xs if x > m],
        ),
        (
            f"def f(a, b):\n    if a > b:\n        return a - b\n    return a * b + {k}",
            f"f({n}, {m})",
            n - m if n > m else n * m + k,
        ),
        (f"def f(xs):\n    return sum(xs[:{min(k, 3)}])", f"f({xs})", sum(xs[: min(k, 3)])),
        (
            f"def f(word):\n    return word.upper() * {min(k, 3)}",
            f"f('{rng.choice(('ab', 'no', 'xyz', 'go'))}')",
            None,
        ),
        ("def f(xs):\n    return sorted(xs)[-1] - sorted(xs)[0]", f"f({xs})", max(xs) - min(xs)),
    ]
    source, call, result = rng.choice(programs)
    if result is None:
        result = call[3:-2].upper() * min(k, 3)
    return Drawn(
        f"```python\n{source}\n```\nWhat does `{call}` return? Reply with the value only.",
        "exact",
        str(result),
    )
