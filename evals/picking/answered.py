"""What an answer comes down to, as the check that applies would read it: equal for answers that say the same.

Pure. Where the check gives answers no form to be compared in, it is their text, but for case and space.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from evals.checks import Check, Subject
from evals.checks.combine import Combined
from evals.checks.number import Number, find_answer
from evals.checks.structure import Json
from evals.checks.text import Choice, Exact, unfenced
from evals.checks.units import named_unit, raised, unit_beside
from router.picking import normal_text
from stepdown.records import Verdict


def answered(check: Check | None, text: str) -> str | None:
    """What a text answers; None where it answers nothing, and so has no vote."""
    if isinstance(check, Combined):
        return _of_parts([part.check for part in check.parts], text)
    if isinstance(check, Number):
        return _number(check, text)
    if isinstance(check, Choice):
        return next((option for option in check.options if _is(check, text, option)), None)
    if isinstance(check, Exact):
        return normal_text(unfenced(text)) or None
    if isinstance(check, Json):
        return _canonical(text)
    return normal_text(text) or None


def _of_parts(parts: Sequence[Check], text: str) -> str | None:
    """What those parts read whose answers have a form; the text where none has one."""
    formed = [part for part in parts if isinstance(part, Combined | Number | Choice | Exact | Json)]
    if not formed:
        return normal_text(text) or None
    keys = [answered(part, text) for part in formed]
    return None if all(key is None for key in keys) else repr(keys)


def _number(check: Number, text: str) -> str | None:
    measured = check.units or check.unit is not None
    found = find_answer(raised(text) if measured else text)
    if found is None:
        return None
    unit = unit_beside(found.symbol, found.after).unit if measured else None
    if unit is None and check.unit is not None:
        unit = named_unit(check.unit)
    if unit is None:
        return repr(found.value + 0.0)
    base = (found.value * unit).to_base_units()
    return f"{base.magnitude:.12g} {base.units}"


def _is(check: Check, text: str, option: str) -> bool:
    return check(Subject(text, option)).verdict is Verdict.GOOD


def _canonical(text: str) -> str | None:
    try:
        return json.dumps(json.loads(unfenced(text)), sort_keys=True)
    except (ValueError, RecursionError):
        return None
