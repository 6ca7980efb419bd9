"""Kinds of checks that other distributions bring, by entry points of the group `stepdown.checks`.

Invariant: nothing is imported until a task declares a kind that is not built in; so a plugin cannot stand in
for a built-in kind, and one that is broken harms only the checks that name it.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import msgspec

from evals.checks.outcome import Check
from stepdown.errors import CheckError

GROUP = "stepdown.checks"


def plugin_kinds() -> list[str]:
    """Names of the kinds that installed distributions bring, whether they work or not."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def build_plugin(kind: str, fields: Mapping[str, Any]) -> Check | None:
    """Make a check of a kind that a distribution brings; None where none does.

    The entry point is a class, or a function, that takes the settings as keywords; a `msgspec.Struct` has
    them converted to its fields' types.

    Raises:
        CheckError: Two distributions bring the kind, or it is broken, or refuses the settings; names it.
    """
    points = list({point.value: point for point in entry_points(group=GROUP, name=kind)}.values())
    if not points:
        return None
    if len(points) > 1:
        owners = ", ".join(sorted(map(_owner, points)))
        raise CheckError(f"{owners} each bring the kind {kind!r}; uninstall all but one")
    return _built(points[0], fields)


def _built(point: EntryPoint, fields: Mapping[str, Any]) -> Check:
    brought = f"kind {point.name!r} of {_owner(point)} ({point.value})"
    try:
        factory = point.load()
        is_struct = isinstance(factory, type) and issubclass(factory, msgspec.Struct)
        check = msgspec.convert(dict(fields), factory) if is_struct else factory(**fields)
    except Exception as error:  # a plugin is anybody's code
        raise CheckError(f"{brought} cannot be made: {type(error).__name__}: {error}") from error
    missing = [name for name in ("version", "needs_reference") if not hasattr(check, name)]
    if missing or not callable(check) or not isinstance(check.version, str):
        lacks = ", ".join(missing) or "a `version` in text and `__call__`"
        raise CheckError(f"{brought} makes {check!r:.100}, which is no check: it lacks {lacks}")
    return check  # type: ignore[no-any-return]


def _owner(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown distribution"
