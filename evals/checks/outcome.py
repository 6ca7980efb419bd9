"""The one context that a check sees, and the one value that it returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from router.wire import ToolCall
from stepdown.records import Verdict


@dataclass(frozen=True, slots=True)
class Subject:
    """What is to be labelled.

    Attributes:
        text: The model's whole answer.
        reference: What the check compares with; None where no reference is known.
        prompt: All text of the request; empty where it was not kept.
        tool_calls: The tools that the answer calls, in order.
        finish_reason: Why the model stopped, in OpenAI's words.
        refusal: The model's own words of refusal, where its API sets them apart.
    """

    text: str
    reference: Any = None
    prompt: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A verdict with its reason.

    Attributes:
        score: In [0, 1], or None where unscored.
        evidence: What was compared with what, in words.
    """

    verdict: Verdict
    score: float | None
    evidence: str


class Check(Protocol):
    """A program that labels. Its fields are its settings; it does no I/O.

    Raises:
        CheckError: The reference is missing or is not of the check's form.
    """

    version: ClassVar[str]

    @property
    def needs_reference(self) -> bool:
        """Whether the check can say nothing without a reference."""
        ...

    def __call__(self, subject: Subject, /) -> Outcome:
        """Label one answer."""
        ...


EVIDENCE_CHARS = 500


def judged(good: bool, evidence: str) -> Outcome:
    """The outcome of a comparison."""
    return Outcome(Verdict.GOOD if good else Verdict.BAD, float(good), evidence[:EVIDENCE_CHARS])


def unscored(evidence: str) -> Outcome:
    """The outcome of a failure to label."""
    return Outcome(Verdict.UNSCORED, None, evidence[:EVIDENCE_CHARS])


def graded(score: float, evidence: str) -> Outcome:
    """The outcome of a comparison in parts: good only where every part is right."""
    return Outcome(Verdict.GOOD if score == 1.0 else Verdict.BAD, score, evidence[:EVIDENCE_CHARS])
