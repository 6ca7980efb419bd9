"""Check of the tools that an answer calls."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar, Literal

import msgspec

from evals.checks.equality import Equality, matched
from evals.checks.outcome import Outcome, Subject, graded
from evals.checks.structure import reference_json
from stepdown.errors import CheckError


class WantedCall(msgspec.Struct, frozen=True):
    """A tool call as a reference names it: OpenAI's `function` object, its arguments as JSON or as text.

    Attributes:
        arguments: None where the reference names the tool alone.
    """

    name: str
    arguments: Mapping[str, Any] | str | None = None


class Tools(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """The answer calls the tools that the reference names.

    The reference is a call `{name, arguments}`, a list of calls, or OpenAI's `tool_calls`; a tool's name
    stands for a call with whatever arguments, and the empty list for an answer that calls none. Arguments
    are compared as JSON, so neither their order nor their layout counts. The score is the share of calls
    that are right, of those wanted or made, whichever are more.

    Attributes:
        match: Whether arguments count, or the tools' names alone.
        ordered: Whether the order of the calls counts.
        ignore_case: Compare strings in arguments without regard to case.
        tolerance: Largest relative difference between numbers that still counts as equal.
        tolerances: The same for numbers at a path in the arguments: a number is an absolute difference,
            `"1%"` a relative.
        unordered: True where the order of lists in arguments does not count, or the paths of those lists.
        ignore: Arguments that do not count, such as a free text.
    """

    version: ClassVar[str] = "1"
    reads_tools: ClassVar[bool] = True
    match: Literal["name", "arguments"] = "arguments"
    ordered: bool = True
    ignore_case: bool = False
    tolerance: float = 0.0
    tolerances: Mapping[str, float | str] = msgspec.field(default_factory=dict)
    unordered: bool | tuple[str, ...] = False
    ignore: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._equality  # noqa: B018 - its paths are read now, so that a wrong one is refused now

    @property
    def needs_reference(self) -> bool:
        """Whether the check can say nothing without a reference."""
        return True

    def __call__(self, subject: Subject, /) -> Outcome:
        """Label one answer."""
        wanted = wanted_calls(reference_json(subject))
        made = [(call.name, _read(call.arguments)) for call in subject.tool_calls]
        choices = [[i for i, call in enumerate(wanted) if self._same(got, call)] for got in made]
        right = self._in_place(choices) if self.ordered else _assigned(choices, len(wanted))
        most = max(len(wanted), len(made))
        shown = ", ".join(f"{name}({json.dumps(arguments)[:120]})" for name, arguments in made) or "no tool"
        names = ", ".join(call.name for call in wanted) or "no tool"
        return graded(
            right / most if most else 1.0, f"called {shown}; wanted {names}: {right} of {most} right"
        )

    def _in_place(self, choices: list[list[int]]) -> int:
        return sum(place in fitting for place, fitting in enumerate(choices))

    def _same(self, made: tuple[str, Any], wanted: WantedCall) -> bool:
        name, arguments = made
        if name != wanted.name:
            return False
        if self.match == "name" or wanted.arguments is None:
            return True
        if not isinstance(arguments, dict):
            return False
        expected = _arguments(wanted)
        left, right = ({k: v for k, v in a.items() if k not in self.ignore} for a in (arguments, expected))
        return self._equality.equal(left, right)

    @cached_property
    def _equality(self) -> Equality:
        return Equality.of(self.ignore_case, self.tolerance, self.tolerances, self.unordered)


def wanted_calls(reference: Any) -> list[WantedCall]:
    """The calls that a reference names.

    Raises:
        CheckError: It is none of the forms.
    """
    if isinstance(reference, dict) and "tool_calls" in reference:
        reference = reference["tool_calls"]
    one_by_one = reference if isinstance(reference, list) else [reference]
    try:
        calls = [msgspec.convert(_function(call), WantedCall) for call in one_by_one]
        for call in calls:
            _arguments(call)
    except (msgspec.ValidationError, ValueError) as error:
        raise CheckError(
            f"reference {reference!r:.200} is not {{name, arguments}}, a list of them, or tool_calls: {error}"
        ) from error
    return calls


def _function(call: Any) -> Any:
    if isinstance(call, str):
        return {"name": call}
    return call.get("function", call) if isinstance(call, dict) else call


def _arguments(call: WantedCall) -> Mapping[str, Any]:
    read = json.loads(call.arguments or "{}") if isinstance(call.arguments, str) else call.arguments or {}
    if not isinstance(read, Mapping):
        raise ValueError(f"arguments of {call.name!r} are not an object")
    return read


def _read(arguments: str) -> Any:
    """Arguments as the model wrote them; no object where they cannot be read. Nothing at all is `{}`."""
    try:
        return json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        return None


def _assigned(choices: list[list[int]], places: int) -> int:
    """How many calls can be matched with wanted ones, each with one."""
    count, kept = 0, list[list[int]]()
    for fitting in choices:
        if matched([*kept, fitting], places):
            kept.append(fitting)
            count += 1
    return count
