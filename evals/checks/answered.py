"""Check that an answer is one at all: not empty, not cut off, not a refusal.

Invariant: it needs no reference. What it calls a refusal begins as one; a refusal in the middle of a text, or
one in a language not listed here, it does not see.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from evals.checks.outcome import Outcome, Subject, judged
from evals.checks.refusals import folded, refusal_in

BEGINNING_CHARS = 300
CUT_OFF = {"length": "cut off at the limit of tokens", "content_filter": "withheld by a content filter"}


class Answered(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The answer is one: it has text or calls a tool, it is whole, and it does not begin as a refusal.

    Refusals are told by the API's own field, and by how assistants begin them in English, German, French,
    Spanish, Italian, Portuguese, Dutch, Polish, Swedish, Turkish, Russian, Ukrainian, Arabic, Hindi, Chinese,
    Japanese and Korean.

    Attributes:
        refusals: Whether a refusal is bad.
        truncated: Whether an answer that was cut off, or withheld by a filter, is bad.
        phrases: More beginnings of refusals, as plain text; case does not count.
        min_chars: Characters that an answer without tool calls has at least, white space at its ends aside.
    """

    version: ClassVar[str] = "1"
    reads_tools: ClassVar[bool] = True
    refusals: bool = True
    truncated: bool = True
    phrases: tuple[str, ...] = ()
    min_chars: int = 1

    @property
    def needs_reference(self) -> bool:
        """Whether the check can say nothing without a reference."""
        return False

    def __call__(self, subject: Subject, /) -> Outcome:
        """Label one answer."""
        if self.truncated and subject.finish_reason in CUT_OFF:
            return judged(False, CUT_OFF[subject.finish_reason])
        if self.refusals and subject.refusal:
            return judged(False, f"refused: {subject.refusal}")
        text = subject.text.strip()
        if not subject.tool_calls and len(text) < self.min_chars:
            return judged(False, f"{len(text)} characters and no tool call")
        if self.refusals and (said := self._refusal(text)):
            return judged(False, f"begins as a refusal: {said!r}")
        return judged(True, "whole, and no refusal")

    def _refusal(self, text: str) -> str | None:
        beginning = folded(text[:BEGINNING_CHARS])
        own = next((phrase for phrase in self.phrases if beginning.startswith(folded(phrase))), None)
        return own if own is not None else refusal_in(beginning)
