"""The program inside of the sandbox that runs an answer's code and then its tests.

It runs as a script of its own, with the standard library alone. Invariant: "all passed" is said with a word
that the code under test cannot learn, and is said only if every statement of the tests ran to its end. So
leaving early, printing, or writing to any file descriptor cannot pass a test.

How: the main thread does nothing but execute compiled statements, one call in C, so no Python frame that the
code could walk to holds the count of those that passed. A second thread holds that count and the word; the
ways from one thread into another's memory (`gc`, `sys._current_frames`, tracing, ctypes, `/proc`) are shut.
Between the statements, a guard asserts that functions which tests rely on are still what they were; tests
have names and builtins of their own; and an object that equals everything fails what compares it.

What it does not stop: code that looks for the tests' own variables by walking frames, and changes those.
"""

from __future__ import annotations

import ast
import builtins
import gc
import importlib
import json
import os
import reprlib
import sys
import types
from _queue import SimpleQueue
from _thread import LockType, allocate_lock, start_new_thread
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

ANSWER, TESTS = "solution", "tests"
EVIDENCE_CHARS = 200
compared: deque[tuple[Any, Any]] = deque(maxlen=1)  # the last two that were not equal
SHUT_EVENTS = frozenset(
    "gc.get_objects gc.get_referrers gc.get_referents sys._current_frames sys._current_exceptions "
    "sys.settrace sys.setprofile sys.addaudithook sys.monitoring.register_callback".split()
)
SHUT_MODULES = frozenset(
    "ctypes _ctypes _testcapi _testinternalcapi _testlimitedcapi _xxsubinterpreters _interpreters".split()
)


def main() -> None:
    """Run what stdin says; the verdict goes to the first standard output, all other output to the second."""
    failures: list[str] = []
    ended, told = allocate_lock(), allocate_lock()
    ended.acquire()
    told.acquire()
    todo = [_prepared(failures, ended)]
    try:
        todo.pop()()
    except BaseException as error:  # whatever the code raises, SystemExit too
        failures.append(f"{_line(error)}\n{type(error).__name__}: {_words(error)}")
    ended.release()
    told.acquire()  # the other thread ends the process


def _words(error: BaseException) -> str:
    """What an exception says, or the comparison that an assertion failed by; in either the code has a say."""
    try:
        if not str(error) and compared:
            return "{} against {}".format(*map(reprlib.repr, compared[-1]))
        return str(error)[:EVIDENCE_CHARS]
    except BaseException:
        return "?"


def _line(error: BaseException) -> int:
    """The line of the tests at which an exception passed last; 0 where it passed none."""
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == f"<{TESTS}>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _prepared(failures: list[str], ended: LockType) -> Callable[[], object]:
    """What executes all statements; its parts are known to it and to the thread that counts, alone."""
    codes: SimpleQueue[types.CodeType | None] = SimpleQueue()
    spaces: SimpleQueue[dict[str, Any]] = SimpleQueue()
    passed: deque[None] = deque()
    start_new_thread(_control, (codes, spaces, passed, failures, ended))
    return partial(passed.extend, map(exec, iter(codes.get, None), iter(spaces.get, None)))


def _control(
    codes: SimpleQueue[types.CodeType | None],
    spaces: SimpleQueue[dict[str, Any]],
    passed: deque[None],
    failures: list[str],
    ended: LockType,
) -> None:
    """Give the statements out, wait for the end, and tell the verdict."""
    # Names that the code under test cannot put anything else under.
    write, count, leave, disable = os.write, len, os._exit, gc.disable
    order = json.loads(sys.stdin.buffer.read())
    word, report = order["word"].encode(), os.dup(1)
    os.dup2(2, 1)
    try:
        steps = _steps(order)
    except Exception as error:  # of the tests, since none of the code has run
        write(report, b"%b broken\n%b" % (word, f"{type(error).__name__}: {error}".encode()))
        leave(0)
    sys.addaudithook(_shut)
    for _, code, space in steps:
        spaces.put(space)
        codes.put(code)
    codes.put(None)
    ended.acquire()
    disable()  # else a finaliser of the code's own could run right here
    done = count(passed)
    failed = b"" if done == count(steps) else steps[done][0].encode()
    reason = failures[0].encode(errors="replace") if failures else b"0\n"
    write(report, b"%b %d %d\n%b\n%b" % (word, done, count(steps), failed, reason))
    leave(0)


def _shut(event: str, arguments: tuple[Any, ...]) -> None:
    if event in SHUT_EVENTS:
        raise PermissionError(f"{event} is shut in the sandbox")
    if event == "import" and str(arguments[0]).rpartition(".")[2] in SHUT_MODULES:
        raise ImportError(f"{arguments[0]} is shut in the sandbox")


Step = tuple[str, types.CodeType, dict[str, Any]]


def _steps(order: dict[str, Any]) -> list[Step]:
    """What is to be executed: the answer's code, the import of its names, each statement of the tests."""
    solution = types.ModuleType(ANSWER)
    sys.modules[ANSWER] = sys.modules["__main__"] = solution
    statements = ast.parse(order["tests"]).body
    space: dict[str, Any] = {"__name__": TESTS, "__builtins__": dict(vars(builtins))}
    own = partial(space.update, _stepdown_equal=_equal, _stepdown_run=_run_case)
    guard = _called("the tests' own functions", _guard(statements))
    names = ", ".join(order["names"]) or "*"
    imported = compile(f"from {ANSWER} import {names}", "<import>", "exec")
    steps = [("the code itself", _compiled(order["code"]), vars(solution)), guard]
    steps += [(f"the names {names} of the code", imported, space), _called("start", own)]
    for statement in statements:
        label = ast.unparse(statement)[:EVIDENCE_CHARS]
        steps += [(label, compile(_fair(statement), f"<{TESTS}>", "exec"), space), guard]
    return steps


def _called(label: str, function: Callable[[], Any]) -> Step:
    return label, compile("function()", f"<{label}>", "exec"), {"function": function}


def _compiled(source: str) -> types.CodeType:
    """The answer's code; code that is none raises when it is executed."""
    try:
        return compile(source, f"<{ANSWER}>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        said = f"{type(error).__name__}: {_words(error)}"
        return compile(f"raise SyntaxError({said!r})", f"<{ANSWER}>", "exec")


def _fair(statement: ast.stmt) -> ast.Module:
    """The statement with `==` and `!=` made comparisons that equalling everything does not win."""
    module = ast.Module([_Comparisons().visit(statement)], [])
    return ast.fix_missing_locations(module)


class _Comparisons(ast.NodeTransformer):
    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        if len(node.ops) != 1 or not isinstance(node.ops[0], ast.Eq | ast.NotEq):
            return node
        same = isinstance(node.ops[0], ast.Eq)
        name = ast.Name("_stepdown_equal", ast.Load())
        call = ast.Call(name, [node.left, node.comparators[0], ast.Constant(same)], [])
        return ast.copy_location(call, node)


class _Nothing:
    """Equals nothing but itself."""


def _equals_nothing(value: Any) -> bool:
    try:
        return (value == _Nothing()) is True
    except Exception:  # it was made for its own kind alone
        return False


def _equal(left: Any, right: Any, same: bool) -> Any:
    anything = getattr(sys.modules.get("unittest.mock"), "ANY", None)
    for side in (left, right):
        if side is not anything and _equals_nothing(side):
            raise AssertionError(f"{type(side).__name__} says that it equals everything")
    verdict = left == right if same else left != right
    if not verdict:
        compared.append((left, right))
    return verdict


def _run_case(case: Any) -> None:
    """Run a `unittest.TestCase`; its first failure is raised."""
    unittest = importlib.import_module("unittest")
    equal = case.assertEqual
    case.assertEqual = lambda self, first, second, msg=None: (
        _equal(first, second, True) or equal(self, first, second, msg)
    )
    result = unittest.TestResult()
    result.failfast = True
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(case)
    suite.run(result)
    for test, trace in (*result.errors, *result.failures):
        raise AssertionError(f"{test}: {trace.strip().splitlines()[-1]}")
    if result.unexpectedSuccesses or not result.testsRun:
        raise AssertionError(f"{case.__name__} ran {result.testsRun} tests")


def _guard(statements: list[ast.stmt]) -> Callable[[], None]:
    """What asserts that the functions that these tests use were not replaced."""
    holders: list[Any] = [builtins]
    for name in sorted(_imported(statements) - {ANSWER, "sys"}):
        holders.append(importlib.import_module(name))
    if unittest := sys.modules.get("unittest"):
        holders += [unittest.TestCase, unittest.TestResult, unittest.TestLoader, unittest.TestSuite]
    before = [(h, name, value) for h in holders for name, value in list(vars(h).items()) if callable(value)]
    missing = object()

    def guard() -> None:
        for holder, name, value in before:
            if vars(holder).get(name, missing) is not value:
                raise AssertionError(f"the code replaced {holder.__name__}.{name}")

    return guard


def _imported(statements: list[ast.stmt]) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.Module(statements, [])):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return found


if __name__ == "__main__":
    main()
