"""Check of an answer in JSON, field by field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

import msgspec

from evals.checks.equality import Equality, Path, parse_path, values_at
from evals.checks.outcome import Outcome, Subject, graded, judged
from evals.checks.text import unfenced
from stepdown.errors import CheckError


def reference_json(subject: Subject) -> Any:
    """The reference, read where it is text.

    Raises:
        CheckError: It is text and not JSON.
    """
    reference = subject.reference
    if not isinstance(reference, str):
        return reference
    try:
        return json.loads(reference)
    except ValueError as error:
        raise CheckError(f"reference {reference[:200]!r} is not JSON: {error}") from error


def answered_json(text: str) -> Any:
    """The answer's JSON, in a code fence or not.

    Raises:
        ValueError: There is none.
        RecursionError: It is too deep.
    """
    try:
        return json.loads(text)
    except ValueError:
        return json.loads(unfenced(text))


class Json(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """The answer is valid JSON and, where there is a reference object, its fields are equal.

    The score is the share of the reference's fields that are right; the verdict is good only where
    all are. Fields, tolerances and lists are named by paths: `total`, `buyer.name`, `items[].price`.

    Attributes:
        fields: Fields to compare; None compares all of the reference and allows no other field.
        ignore_case: Compare strings without regard to case.
        tolerance: Largest relative difference between numbers that still counts as equal.
        tolerances: The same for numbers at a path: a number is an absolute difference, `"1%"` a relative.
        unordered: True where the order of lists does not count, or the paths of those where it does not.
        required: Fields that must be present where there is no reference.
    """

    version: ClassVar[str] = "1"
    fields: tuple[str, ...] | None = None
    ignore_case: bool = True
    tolerance: float = 0.0
    tolerances: Mapping[str, float | str] = msgspec.field(default_factory=dict)
    unordered: bool | tuple[str, ...] = False
    required: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._equality  # noqa: B018 - its paths are read now, so that a wrong one is refused now
        for name in (*(self.fields or ()), *self.required):
            parse_path(name)

    @property
    def needs_reference(self) -> bool:
        """Whether the check can say nothing without a reference."""
        return self.fields is not None

    def __call__(self, subject: Subject, /) -> Outcome:
        """Label one answer."""
        try:
            got = answered_json(subject.text)
        except (ValueError, RecursionError) as error:
            return judged(False, f"not JSON: {error}")
        wanted = reference_json(subject)
        if wanted is None:
            missing = [name for name in self.required if not _found(got, name)]
            return judged(not missing, f"valid JSON, missing fields {missing!r}")
        if not isinstance(wanted, dict):
            return judged(self._equality.equal(got, wanted), f"got {got!r}, wanted {wanted!r}")
        return self._compared(got, wanted)

    def _compared(self, got: Any, wanted: dict[str, Any]) -> Outcome:
        if not isinstance(got, dict):
            return judged(False, f"got {type(got).__name__}, wanted an object")
        if self.fields is not None:
            return self._by_path(got, wanted, self.fields)
        wrong = [n for n in wanted if n not in got or not self._equality.equal(got[n], wanted[n], (n,))]
        return _share(wrong + sorted(set(got) - set(wanted)), len(wanted))

    def _by_path(self, got: dict[str, Any], wanted: dict[str, Any], fields: tuple[str, ...]) -> Outcome:
        found = {name: _found(wanted, name) for name in fields}
        if unknown := [name for name in fields if not found[name]]:
            raise CheckError(f"reference has no field {unknown!r}; it has {', '.join(wanted)}")
        wrong = [name for name in fields if not self._same(_found(got, name), found[name])]
        return _share(wrong, len(fields))

    def _same(self, got: list[tuple[Path, Any]], wanted: list[tuple[Path, Any]]) -> bool:
        return len(got) == len(wanted) and all(
            path == at and self._equality.equal(value, right, at)
            for (path, value), (at, right) in zip(got, wanted, strict=True)
        )

    @cached_property
    def _equality(self) -> Equality:
        return Equality.of(self.ignore_case, self.tolerance, self.tolerances, self.unordered)


def _found(value: Any, name: str) -> list[tuple[Path, Any]]:
    """The values under a name: one field of that name as it stands, or else what it names as a path."""
    if isinstance(value, dict) and name in value:
        return [((name,), value[name])]
    return list(values_at(value, parse_path(name)))


def _share(wrong: list[str], fields: int) -> Outcome:
    score = max(0.0, 1 - len(wrong) / fields) if fields else float(not wrong)
    return graded(score, f"wrong fields {wrong!r}" if wrong else "all fields equal")
