"""Answered code by its tests: what is right passes, and what only wants to pass does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evals.checks import build_check
from evals.checks.code import Python, answered_code
from evals.checks.outcome import Outcome, Subject
from evals.sandbox import why_not
from stepdown.errors import CheckError
from stepdown.records import Verdict
from tests.evals.checks.cheats import CHEATS

GOOD, BAD = Verdict.GOOD, Verdict.BAD
here = pytest.mark.skipif(why_not() is not None, reason=f"NO SANDBOX HERE, NOTHING TESTED: {why_not()}")

SQUARE = "def f(x): return x * x"
IS_SQUARE = "assert f(3) == 9"


def outcome(answer: str, reference: Any = IS_SQUARE, **settings: Any) -> Outcome:
    return Python(**settings)(Subject(answer, reference))


@here
@pytest.mark.parametrize(
    ("reference", "wrong"),
    [
        (IS_SQUARE, "failed at assert f(3) == 9: AssertionError: 4 against 9"),
        ({"tests": ["x = 3", "assert f(x) == 9, 'no'"]}, "assert f(x) == 9, 'no': AssertionError: no"),
        ({"tests": IS_SQUARE, "entry": "f"}, "assert f(3) == 9"),
        ({"tests": "def check(c):\n    assert c(3) == 9", "entry": "f"}, "assert c(3) == 9"),
        ("def check(g):\n    assert g(3) == 9\ncheck(f)", "assert g(3) == 9"),
        ("def test_a():\n    assert f(0) == 0\ndef test_b():\n    assert f(3) == 9", "failed at assert f("),
        ("import solution\nassert solution.f(3) == 9", "solution.f(3)"),
        ("from solution import f as g\nif g(0) != 0: raise ValueError(0)", "ValueError: 0"),
        (
            "import unittest\n"
            "class T(unittest.TestCase):\n    def test_it(self):\n        self.assertEqual(f(3), 9)\n"
            "if __name__ == '__main__':\n    unittest.main()",
            "4 != 9",
        ),
        ("try:\n    f('x')\nexcept TypeError:\n    pass\nassert f(3) == 9", "4 against 9"),
        ("import asyncio\nasync def g(): return f(3)\nassert asyncio.run(g()) == 9", "asyncio.run(g()) == 9"),
    ],
)  # fmt: skip
def test_right_code_passes_and_wrong_code_is_told_where_it_fails(reference: Any, wrong: str) -> None:
    right = outcome(f"Here:\n```python\n{SQUARE}\n```\nIt squares.", reference)
    assert (right.verdict, right.evidence) == (GOOD, "all tests passed")
    failed = outcome("```python\ndef f(x): return x + 1\n```", reference)
    assert failed.verdict is BAD
    assert wrong in failed.evidence


STRICT = (
    "import math, unittest\nassert f(3) == 9\nassert not f(3) != 9\nassert abs(f(3) - 9) < 1e-9\n"
    "assert math.isclose(f(3), 9)\nassert all(f(x) == x * x for x in range(5))\n"
    "class T(unittest.TestCase):\n    def test(self): self.assertEqual(f(3), 9)\n"
)


@here
@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_does_not_pass(name: str) -> None:
    found = outcome(CHEATS[name], STRICT, seconds=1)
    assert (found.verdict, found.score) == (BAD, 0.0), found


@here
@pytest.mark.parametrize("call", ["self.assertEqual(f(3), 9)", "assert f(3) == 9", "assert not (f(3) != 9)"])
def test_equalling_everything_does_not_pass_in_any_style(call: str) -> None:
    tests = f"import unittest\nclass T(unittest.TestCase):\n    def test(self):\n        {call}"
    found = outcome(CHEATS["differs from nothing"], tests)
    assert found.verdict is BAD
    assert "equals everything" in found.evidence


UNITTEST = "import unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertTrue(f(3) > 8)\n"


@here
@pytest.mark.parametrize(
    ("code", "tests", "replaced"),
    [
        ("import math\nmath.isclose = lambda *a: True\nf = abs", "import math\nassert math.isclose(f(3), 9)",
         "math.isclose"),
        ("def f(x):\n    import math\n    math.isclose = lambda *a: True",
         "import math\nf(3)\nassert math.isclose(3, 9)", "math.isclose"),
        ("import unittest\nunittest.TestCase.assertTrue = lambda *a: 0\nf = abs", UNITTEST,
         "TestCase.assertTrue"),
        ("import unittest\nunittest.TestResult.addFailure = lambda *a: 0\nf = abs", UNITTEST,
         "TestResult.addFailure"),
        ("import builtins\nbuiltins.abs = lambda x: 0\nf = abs", "assert abs(f(3)) < 9", "builtins.abs"),
        ("import builtins\ndel builtins.abs\nf = int", "assert f(3) < 9", "builtins.abs"),
    ],
)  # fmt: skip
def test_replacing_what_tests_use_is_seen_though_all_of_them_pass(
    code: str, tests: str, replaced: str
) -> None:
    found = outcome(code, tests)
    assert found.verdict is BAD
    assert f"the code replaced {replaced}" in found.evidence


@here
def test_honest_code_may_do_what_honest_code_does() -> None:
    code = (
        "import collections, dataclasses, enum, functools, heapq, logging, random, re, threading, warnings\n"
        "P = collections.namedtuple('P', 'a b')\n"
        "@dataclasses.dataclass\nclass D:\n    x: int\n    def __eq__(self, o): return self.x == o.x\n"
        "class Colour(enum.Enum):\n    RED = 1\n"
        "@functools.lru_cache\ndef fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)\n"
        "def f(x):\n    logging.warning('w'); warnings.warn('w'); print(random.random())\n"
        "    t = threading.Thread(target=lambda: None); t.start(); t.join()\n"
        "    try: raise KeyError\n    except KeyError: return D(x)\n"
        "if __name__ == '__main__':\n    print(f(int(input())))\n"
    )
    tests = (
        "from unittest import mock\nassert f(3) == D(3) and D(1) != D(2)\nassert P(1, 2) == (1, 2)\n"
        "assert fib(80) == 23416728348467685\nassert mock.ANY == f(1)\nassert Colour.RED == Colour(1)"
    )
    assert outcome(code, tests).evidence == "all tests passed"


@here
@pytest.mark.parametrize(
    ("reference", "said"),
    [
        (None, "neither tests nor {tests, entry}"),
        (["assert True"], "neither tests nor"),
        ({"tests": IS_SQUARE, "entr": "f"}, "unknown field `entr`"),
        ({"tests": IS_SQUARE, "entry": "f()"}, "entry 'f\\(\\)' is no name"),
        ("assert f(3) = 9", "is not Python"),
        ("return 1", "is not Python"),
        ("def helper(): pass", "tests nothing"),
        ("", "tests nothing"),
        ("import pytest\nassert f(3) == 9", "import 'pytest'; the sandbox has the standard library alone"),
        ("import xml.nothing\nassert f(3) == 9", "cannot be run: ModuleNotFoundError.*xml.nothing"),
    ],
)
def test_a_reference_that_cannot_judge_is_refused(reference: Any, said: str) -> None:
    with pytest.raises(CheckError, match=said):
        outcome(SQUARE, reference)


@pytest.mark.parametrize(
    ("answer", "needed", "code"),
    [
        ("x = 1", {"x"}, "x = 1"),
        ("```python\nx = 1\n```\n```python\ny = 2\n```", {"y"}, "y = 2\n"),
        ("```python\nx = 1\n```\n```py\ny = 2\n```", {"x", "y"}, "x = 1\n\ny = 2\n"),
        ("```\nx = 1\n```\n```python\ny = 2\n```", {"x"}, "y = 2\n"),
        ("```bash\nls\n```\n```\nx = 1\n```", {"x"}, "x = 1\n"),
        ("```python\nimport a.b\nclass X: pass\n```", {"X", "a"}, "import a.b\nclass X: pass\n"),
        ("```python\ncut = 1", {"cut"}, "cut = 1"),
        ("``` Python3 \r\nx = 1\n```", {"x"}, "x = 1\n"),
    ],
)
def test_the_code_of_an_answer(answer: str, needed: set[str], code: str) -> None:
    assert answered_code(answer, needed) == code


@here
def test_the_block_that_the_tests_are_about_is_taken() -> None:
    answer = f"```python\n{SQUARE}\n```\nFor example:\n```python\nprint(undefined)\n```"
    assert outcome(answer).verdict is GOOD
    assert outcome(answer, {"tests": IS_SQUARE, "entry": "f"}).verdict is GOOD


@here
def test_only_the_entry_is_known_to_the_tests_where_one_is_named() -> None:
    answer = f"{SQUARE}\nlen = lambda x: 1"
    reference = {"tests": "assert len([1, 2]) == 2 and f(2) == 4", "entry": "f"}
    assert outcome(answer, reference).verdict is GOOD


@here
def test_much_output_ends_it() -> None:
    found = outcome("def f(x):\n    while True: print('x' * 1000)", output_kb=10)
    assert (found.verdict, found.evidence[:30]) == (BAD, "more than 10240 bytes of outpu")


@here
@pytest.mark.parametrize("settings", [{"seconds": 0}, {"seconds": 1e9}, {"memory_mb": 1}, {"output_kb": 0}])
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(CheckError, match="check 'c' of kind 'python': seconds"):
        build_check("c", {"kind": "python", **settings})


def test_without_a_sandbox_the_check_is_refused_and_never_runs_bare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        CheckError, match=r"check 'c' of kind 'python': no sandbox: `bwrap` is not.*install bubblewrap"
    ):
        build_check("c", {"kind": "python"})
