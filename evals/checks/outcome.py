"""The one context that a check sees, and the one value that it returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

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
        schema: The JSON Schema that the request asks the answer to follow, if it does.
    """

    text: str
    reference: Any = None
    prompt: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    refusal: str = ""
    schema: Any = None


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
    """A program that labels. Its fields are its settings; of the subject it knows nothing but its context.

    A check may also have `reads_tools = True`, if it can judge an answer that is nothing but a tool call;
    `reads_prompt = True`, if it needs the subject's `prompt` or `schema`; and `limit_s`, if an answer may
    take it longer than other checks.

    Raises:
        CheckError: The reference is missing or is not of the check's form.
    """

    @property
    def version(self) -> str:
        """Changes whenever a verdict can change though the settings do not."""
        ...

    @property
    def needs_reference(self) -> bool:
        """Whether the check can say nothing without a reference."""
        ...

    def __call__(self, subject: Subject, /) -> Outcome:
        """Label one answer."""
        ...


def reads_tools(check: Check) -> bool:
    """Whether the check can judge an answer that is nothing but a tool call."""
    return bool(getattr(check, "reads_tools", False))


def reads_prompt(check: Check) -> bool:
    """Whether the check needs to know what was asked."""
    return bool(getattr(check, "reads_prompt", False))


def limit_s(check: Check, otherwise: float) -> float:
    """Longest time that one answer may take the check."""
    return max(otherwise, float(getattr(check, "limit_s", 0.0)))


def applied(check: Check, subject: Subject) -> Outcome:
    """The check's outcome, or unscored where the check is none for such an answer or returns none.

    Raises:
        Exception: Whatever the check raises.
    """
    only_tools = not subject.text and (subject.tool_calls or subject.finish_reason == "tool_calls")
    if only_tools and not reads_tools(check):
        return unscored("the answer is a tool call; this check reads text")
    outcome: Any = check(subject)
    if not isinstance(outcome, Outcome):
        return unscored(f"the check returned {outcome!r:.100}, which is no outcome")
    fitting = outcome.score is None or 0 <= outcome.score <= 1
    if not fitting or (outcome.score is None) != (outcome.verdict is Verdict.UNSCORED):
        return unscored(f"the check gave score {outcome.score!r} with verdict {outcome.verdict}")
    return outcome


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
