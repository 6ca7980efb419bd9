"""Checks: programs that label an answer.

A task declares its checks by name in its settings, each with a `kind` from `KINDS` and that kind's
own settings. To add a kind: write a frozen `msgspec.Struct` with a `version` and a `__call__`, and
name it here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from evals.checks.number import Number
from evals.checks.outcome import Check, Outcome, Subject, judged, unscored
from evals.checks.structure import Json, Sql
from evals.checks.text import Choice, Exact, Regex
from stepdown.errors import CheckError

__all__ = ["KINDS", "Check", "Outcome", "Subject", "build_check", "judged", "unscored"]

KINDS: dict[str, type[Check]] = {
    "exact": Exact,
    "choice": Choice,
    "number": Number,
    "regex": Regex,
    "json": Json,
    "sql": Sql,
}


def build_check(name: str, settings: Mapping[str, Any]) -> Check:
    """Make the check that a task declares under `name`.

    Raises:
        CheckError: The kind is unknown, or a setting of it is unknown or out of range.
    """
    fields = dict(settings)
    kind = fields.pop("kind", None)
    if kind not in KINDS:
        raise CheckError(f"check {name!r} has kind {kind!r}; known kinds: {', '.join(KINDS)}")
    try:
        return msgspec.convert(fields, KINDS[kind])
    except (msgspec.ValidationError, CheckError) as error:
        raise CheckError(f"check {name!r} of kind {kind!r}: {error}") from error
