"""Checks: programs that label an answer.

A task declares its checks by name in its settings, each with a `kind` and that kind's own settings;
`docs/checks.md` has them all. To add a kind: write a frozen `msgspec.Struct` with a `version` and a
`__call__`, and name it in `KINDS`; or bring it in a distribution of your own, by an entry point of the group
`stepdown.checks`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from evals.checks.answered import Answered
from evals.checks.code import Python
from evals.checks.combine import All, Any_, Combination, Named, Not, Part
from evals.checks.number import Number
from evals.checks.outcome import Check, Outcome, Subject, applied, judged, unscored
from evals.checks.plugins import build_plugin, plugin_kinds
from evals.checks.schema import Schema
from evals.checks.sql import Sql
from evals.checks.structure import Json
from evals.checks.text import Choice, Exact, Regex
from evals.checks.tools import Tools
from stepdown.errors import CheckError

__all__ = [
    "KINDS",
    "Check",
    "Outcome",
    "Subject",
    "applied",
    "build_check",
    "build_checks",
    "judged",
    "unscored",
]

KINDS: dict[str, type[Any]] = {
    "exact": Exact,
    "choice": Choice,
    "number": Number,
    "regex": Regex,
    "json": Json,
    "schema": Schema,
    "tools": Tools,
    "sql": Sql,
    "python": Python,
    "answered": Answered,
    "all": All,
    "any": Any_,
    "not": Not,
}

Declared = Mapping[str, Mapping[str, Any]]


def build_check(name: str, settings: Mapping[str, Any], others: Declared | None = None) -> Check:
    """Make the check that a task declares under `name`.

    Args:
        name: For messages.
        settings: Its `kind`, and the settings of that kind.
        others: All checks of the task, by name, for a combination that names some of them.

    Raises:
        CheckError: The kind is unknown or cannot be had here, or a setting of it is unknown or out of range.
    """
    return _build(name, settings, others or {}, (name,))


def build_checks(declared: Declared) -> dict[str, Check]:
    """Make all checks of a task.

    Raises:
        CheckError: One of them cannot be made.
    """
    return {name: build_check(name, settings, declared) for name, settings in declared.items()}


def _build(name: str, settings: Mapping[str, Any], others: Declared, within: tuple[str, ...]) -> Check:
    fields = dict(settings)
    kind = fields.pop("kind", None)
    try:
        if kind in KINDS:
            made = msgspec.convert(fields, KINDS[kind])
            if isinstance(made, Combination):
                return made.combined(lambda part: _part(part, others, within))
            check: Check = made
            return check
        brought = build_plugin(kind, fields) if isinstance(kind, str) else None
    except (msgspec.ValidationError, CheckError) as error:
        raise CheckError(f"check {name!r} of kind {kind!r}: {error}") from error
    if brought is None:
        known = ", ".join([*KINDS, *plugin_kinds()])
        raise CheckError(f"check {name!r} has kind {kind!r}; known kinds: {known}")
    return brought


def _part(part: Part, others: Declared, within: tuple[str, ...]) -> Named:
    """A part of a combination: another check by its name, or one declared in place."""
    if isinstance(part, str):
        if part in within:
            raise CheckError(f"it is made of itself: {' > '.join((*within, part))}")
        if part not in others:
            known = ", ".join(others) or "none"
            raise CheckError(f"`of` names {part!r}, which is no check of the task; its checks: {known}")
        settings, name, inside = others[part], part, (*within, part)
    else:
        settings, name, inside = part, str(part.get("kind")), within
    written = json.dumps(settings, sort_keys=True, default=str)
    return Named(name, _build(name, settings, others, inside), written)
