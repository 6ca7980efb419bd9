"""Reads a judge's answer: one JSON object of the one allowed form, or no verdict at all.

Invariant: nothing is guessed. An answer in prose, two objects, a key too many, a winner nobody asked about, a
key said twice or an answer cut off at its limit is unreadable, and says why. Pure.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from evals.judge.prompts import CHOICES, KEY

SHOWN_CHARS = 120
BROKEN_OFF = {
    "length": "it was cut off at max_tokens",
    "content_filter": "it was held back by a content filter",
}
_in_fence = re.compile(r"```(?:json|JSON)?[ \t]*\n(.*)\n[ \t]*```", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a judge said.

    Attributes:
        choice: `A`, `B` or `tie`; or `good` or `bad`.
        reason: In the judge's words.
    """

    choice: str
    reason: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An answer that is no verdict, and why."""

    why: str


class _Refused(ValueError):
    """A JSON document that says a key twice, or a number that JSON does not know."""


def read_opinion(kind: str, text: str, finish_reason: str | None = None) -> Opinion | Unreadable:
    """Read a judge's answer.

    Args:
        kind: Of the judge: `pairwise` or `single`.
        text: Its whole answer; a Markdown code fence around the one object is allowed.
        finish_reason: Why it stopped, in OpenAI's words.
    """
    if finish_reason in BROKEN_OFF:
        return Unreadable(f"the judge's answer is no verdict: {BROKEN_OFF[finish_reason]}")
    try:
        said = json.loads(_unfenced(text), object_pairs_hook=_once, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        why = str(error) if isinstance(error, _Refused) else "it is not one JSON object"
        return _unreadable(why, text)
    return _checked(said, KEY[kind], CHOICES[kind], text)


def _checked(said: Any, key: str, choices: tuple[str, ...], text: str) -> Opinion | Unreadable:
    if not isinstance(said, dict):
        return _unreadable("it is not a JSON object", text)
    if set(said) != {"reason", key}:
        return _unreadable(f"its keys are {sorted(said)}, not ['reason', '{key}']", text)
    if not isinstance(said["reason"], str):
        return _unreadable("its reason is no text", text)
    if not isinstance(said[key], str) or said[key] not in choices:
        return _unreadable(f"its {key} is {said[key]!r:.40}, not one of {', '.join(choices)}", text)
    return Opinion(said[key], said["reason"])


def _unfenced(text: str) -> str:
    found = _in_fence.fullmatch(text.strip())
    return found.group(1) if found else text


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Refused("it says a key twice")
    return found


def _refuse(constant: str) -> Any:
    raise _Refused(f"it holds {constant}, which is no JSON")


def _unreadable(why: str, text: str) -> Unreadable:
    shown = " ".join(text.split())
    return Unreadable(f"the judge's answer is no verdict: {why}; it said {shown[:SHOWN_CHARS]!r}")
