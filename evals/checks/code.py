"""Check of answered Python code by unit tests, in the sandbox.

Invariant: code of a model is executed in `evals.sandbox` and nowhere else. Here it is only read.
"""

from __future__ import annotations

import ast
import builtins
import json
import math
import re
import secrets
import sys
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from evals.checks.outcome import Outcome, Subject, judged
from evals.sandbox import INTERPRETER, Limits, Result, run, why_not
from stepdown.errors import CheckError

TESTER = Path(__file__).with_name("tester.py")
BLOCK = re.compile(r"```[ \t]*([\w+-]*)[^\n]*\n(.*?)(?:```|\Z)", re.DOTALL)
PYTHON = {"python", "py", "python3"}
UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)


class PythonReference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Reference of the `python` check.

    Attributes:
        tests: Statements that raise where the code is wrong; a list is joined.
        entry: The one name of the code that the tests use; else they see all that do not begin with `_`.
    """

    tests: str | list[str]
    entry: str | None = None


class Python(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The answered code passes the reference's unit tests, in a sandbox.

    Tests are plain statements (`assert f(2) == 4`), functions named `test_*` without arguments, classes of
    `unittest.TestCase`, or a function `check(candidate)`, which is called with the entry. The code and its
    tests have the standard library, may start threads but no process, and have no network and no files but
    in an empty scratch folder. Code that ends early, hangs, or asks for too much is wrong.

    The code cannot say that it passed, since it does not know the word to say it with; see
    `evals.checks.tester` for what keeps it from learning it.

    Attributes:
        seconds: Processor time for the code and all tests; the clock on the wall may take twice that.
        memory_mb: Address space.
        output_kb: Of what it prints, after which it is stopped.
    """

    version: ClassVar[str] = "1"
    seconds: float = 5.0
    memory_mb: int = 512
    output_kb: int = 256

    def __post_init__(self) -> None:
        if not (0 < self.seconds <= 300 and self.memory_mb >= 64 and self.output_kb >= 1):
            raise ValueError(
                f"seconds {self.seconds:g} must be in (0, 300], memory_mb {self.memory_mb} at least 64 and "
                f"output_kb {self.output_kb} at least 1"
            )
        if why := why_not():
            raise CheckError(why)

    @property
    def needs_reference(self) -> bool:
        """Whether the check can say nothing without a reference."""
        return True

    @property
    def limit_s(self) -> float:
        """Longest time that one answer can take."""
        return 2 * self.seconds + 10

    def __call__(self, subject: Subject, /) -> Outcome:
        """Label one answer."""
        reference = _reference(subject.reference)
        tests = _runnable(reference)
        names = [reference.entry] if reference.entry else []
        code = answered_code(subject.text, set(names) or _needed(tests))
        word, written = secrets.token_hex(16), ast.unparse(tests)
        order = {"word": word, "code": code, "tests": written, "names": names}
        result = run(
            [INTERPRETER, "-P", "-S", "-c", TESTER.read_text()],
            stdin=json.dumps(order).encode(),
            limits=self._limits,
        )
        return _verdict(result, word, written)

    @property
    def _limits(self) -> Limits:
        return Limits(
            wall_s=2 * self.seconds,
            cpu_s=math.ceil(self.seconds),
            memory_bytes=self.memory_mb << 20,
            output_bytes=self.output_kb << 10,
        )


def answered_code(text: str, needed: set[str]) -> str:
    """The code in an answer: the first block of code that defines the names needed, or else all blocks.

    Blocks that are marked as Python go before unmarked ones; a text without blocks is all code.
    """
    blocks = [(mark.lower(), code) for mark, code in BLOCK.findall(text)]
    marked = [code for mark, code in blocks if mark in PYTHON]
    candidates = marked or [code for mark, code in blocks if not mark]
    if not candidates:
        return text
    whole = [code for code in candidates if needed and needed <= _defined(code)]
    return whole[0] if whole else "\n".join(candidates)


def _defined(code: str) -> set[str]:
    """Names that code binds at its top level."""
    try:
        body = ast.parse(code).body
    except UNREADABLE:
        return set()
    found: set[str] = set()
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found.update((alias.asname or alias.name).partition(".")[0] for alias in node.names)
        else:
            found.update(_stored(node))
    return found


def _stored(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def _needed(tests: ast.Module) -> set[str]:
    """Names that tests use and do not define, arguments and local variables included."""
    nodes = list(ast.walk(tests))
    used = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    bound = {n.arg for n in nodes if isinstance(n, ast.arg)} | _stored(tests) | _defined(ast.unparse(tests))
    bound |= {n.name for n in nodes if isinstance(n, ast.ExceptHandler | ast.FunctionDef) and n.name}
    return used - bound - set(dir(builtins)) - {"_stepdown_run"}


def _reference(reference: Any) -> PythonReference:
    if isinstance(reference, str):
        return PythonReference(reference)
    try:
        return msgspec.convert(reference, PythonReference)
    except msgspec.ValidationError as error:
        raise CheckError(f"reference is neither tests nor {{tests, entry}}: {error}") from error


def _runnable(reference: PythonReference) -> ast.Module:
    """The tests, with calls of those that are only defined."""
    text = reference.tests if isinstance(reference.tests, str) else "\n".join(reference.tests)
    try:
        tests = ast.parse(text)
        compile(text, "tests", "exec")
    except UNREADABLE as error:
        raise CheckError(f"reference {text[:200]!r} is not Python: {error}") from error
    if reference.entry is not None and not reference.entry.isidentifier():
        raise CheckError(f"reference's entry {reference.entry!r} is no name")
    _refuse_unknown_imports(tests)
    calls = [call for node in tests.body if (call := _call(node, tests, reference.entry))]
    tests.body += ast.parse("\n".join(calls)).body
    quiet = (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Assign)
    if all(isinstance(node, quiet) for node in tests.body):
        raise CheckError(f"reference {text[:200]!r} tests nothing; give a statement, or a function test_*")
    return tests


def _call(node: ast.stmt, tests: ast.Module, entry: str | None) -> str | None:
    """The call of a test that is only defined, as pytest, unittest and HumanEval's program would make it."""
    if isinstance(node, ast.ClassDef):
        bases = {ast.unparse(base).rpartition(".")[2] for base in node.bases}
        return f"_stepdown_run({node.name})" if "TestCase" in bases else None
    if not isinstance(node, ast.FunctionDef) or _called(node.name, tests):
        return None
    if node.name.startswith("test_") and not node.args.args:
        return f"{node.name}()"
    return f"check({entry})" if node.name == "check" and entry else None


def _called(name: str, tests: ast.Module) -> bool:
    calls = (node.func for node in ast.walk(tests) if isinstance(node, ast.Call))
    return any(isinstance(function, ast.Name) and function.id == name for function in calls)


def _refuse_unknown_imports(tests: ast.Module) -> None:
    known = sys.stdlib_module_names | {"solution"}
    for node in ast.walk(tests):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            if name.partition(".")[0] not in known:
                raise CheckError(f"the tests import {name!r}; the sandbox has the standard library alone")


def _verdict(result: Result, word: str, tests: str) -> Outcome:
    said = result.stdout.decode(errors="replace")
    if broken := re.search(rf"{word} broken\n(.*)", said, re.DOTALL):
        raise CheckError(f"the reference's tests cannot be run: {broken[1]}")
    found = re.search(rf"{word} (\d+) (\d+)\n(.*)\n(\d+)\n(.*)", said, re.DOTALL)
    if found is None:
        why = result.why or f"ended with exit status {result.exit} before its tests did"
        tail = result.stderr.decode(errors="replace").strip()[-200:]
        return judged(False, f"{why}; {tail}" if tail else why)
    passed, wanted, step, line, reason = found.groups()
    if passed == wanted:
        return judged(True, "all tests passed")
    at = tests.splitlines()[int(line) - 1].strip() if int(line) else step
    return judged(False, f"failed at {at}: {reason}")
