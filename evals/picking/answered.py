"""What an answer comes down to, as the check that applies would read it: equal for answers that say the same.

Pure. Where the check gives answers no form to be compared in, it is their text, but for case and space.
"""

from __future__ import annotations

import json

from evals.checks import Check, Subject
from evals.checks.number import Number, answered_number
from evals.checks.structure import Json
from evals.checks.text import Choice, Exact, unfenced
from router.picking import normal_text
from stepdown.records import Verdict


def answered(check: Check | None, text: str) -> str | None:
    """What a text answers; None where it answers nothing, and so has no vote."""
    if isinstance(check, Number):
        number = answered_number(text)
        return None if number is None else repr(number + 0.0)
    if isinstance(check, Choice):
        return next((option for option in check.options if _is(check, text, option)), None)
    if isinstance(check, Exact):
        return normal_text(unfenced(text)) or None
    if isinstance(check, Json):
        return _canonical(text)
    return normal_text(text) or None


def _is(check: Check, text: str, option: str) -> bool:
    return check(Subject(text, option)).verdict is Verdict.GOOD


def _canonical(text: str) -> str | None:
    try:
        return json.dumps(json.loads(unfenced(text)), sort_keys=True)
    except (ValueError, RecursionError):
        return None
