"""Why a request went where it went, in words. Pure.

Invariant: says nothing that the decision does not: a score that was not made is said to be none.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

from stepdown.records import Reason, Tier

REASONS: dict[str, str] = {
    Reason.MODE_STRONG: "mode strong",
    Reason.MODE_SHADOW: "mode shadow",
    Reason.ROUTED_SMALL: "small is good enough",
    Reason.ROUTED_STRONG: "strong gains too much",
    Reason.EXPLORED: "drawn to audit the router",
    Reason.NAMED: "model named by the caller",
    Reason.NO_ARTIFACT: "no router yet",
    Reason.BAD_ARTIFACT: "router refused",
    Reason.NO_SMALL_MODEL: "no small model",
    Reason.ASLEEP: "small model asleep",
    Reason.UNROUTABLE: "small model lacks a capability",
    Reason.CONVERSATION: "conversation stays on its model",
    Reason.FALLBACK: "small model failed",
}

_SENTENCES: dict[str, str] = {
    Reason.MODE_STRONG: "The task is in mode strong: the strong model answers every request.",
    Reason.MODE_SHADOW: "The task is in mode shadow: strong answers, and small is asked unseen on a share of "
    "requests.",
    Reason.ROUTED_SMALL: "The expected gain of asking strong is at most the threshold, so small answers.",
    Reason.ROUTED_STRONG: "The expected gain of asking strong is above the threshold, so strong answers.",
    Reason.EXPLORED: "The request was drawn at random to audit the router: strong answered whatever the "
    "router said, and small was asked in its shadow.",
    Reason.NAMED: "The caller named this model, so the policy was not asked.",
    Reason.NO_ARTIFACT: "There is no fitted router to ask, so strong answers.",
    Reason.BAD_ARTIFACT: "The router cannot be used, so strong answers.",
    Reason.NO_SMALL_MODEL: "The task has no small model, so strong answers.",
    Reason.ASLEEP: "The small model's servers are asleep, so strong answers.",
    Reason.UNROUTABLE: "The request needs something that the small model is not declared capable of (tools, "
    "images, JSON …), so strong answers.",
    Reason.CONVERSATION: "The conversation was on this model already, and a conversation does not change it.",
    Reason.FALLBACK: "Small was chosen and failed before its first byte, so strong answered.",
}


class Decided(Protocol):
    """What is explained: a `Decision`, or a `Choice` that was not recorded."""

    @property
    def chosen(self) -> Tier | str:
        """The tier."""

    @property
    def reason(self) -> Reason | str:
        """Why."""

    @property
    def p_strong(self) -> float | None:
        """Probability that strong's answer is good."""

    @property
    def p_small(self) -> float | None:
        """Probability that small's answer is good."""

    @property
    def gain(self) -> float | None:
        """Their difference."""

    @property
    def threshold(self) -> float | None:
        """Small iff gain <= threshold."""


class Explained(NamedTuple):
    """A decision in words.

    Attributes:
        sentence: Why it went where it went.
        scores: What the router thought; empty where it was not asked.
    """

    sentence: str
    scores: str


def reason_words(reason: str | None) -> str:
    """A reason in few words."""
    return "nothing was decided" if reason is None else REASONS.get(reason, reason)


def explained(decided: Decided) -> Explained:
    """A decision in words."""
    return Explained(_SENTENCES.get(decided.reason, str(decided.reason)), _scores(decided))


def _scores(decided: Decided) -> str:
    if decided.p_strong is None or decided.p_small is None or decided.gain is None:
        return ""
    said = (
        f"The router gives strong a {decided.p_strong:.1%} chance of a good answer and small "
        f"{decided.p_small:.1%}: asking strong would gain {100 * decided.gain:+.1f} points"
    )
    if decided.threshold is None:
        return f"{said}."
    if math.isinf(decided.threshold):
        return f"{said}. Its threshold keeps every request on strong."
    side = "at most" if decided.gain <= decided.threshold else "more than"
    return f"{said}, {side} the threshold of {100 * decided.threshold:+.1f}."
