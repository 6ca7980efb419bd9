"""One item of the labelling queue: a request's answers, shown so that nobody can tell whose they are.

Invariant: which answer is shown as `a` depends on the annotator and on the ids of the calls, which are
random and never shown: it is the same each time this person sees the item, a coin's throw over items, and
not to be computed from what is shown. Pure: no I/O.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

from stepdown.records import Role, Tier, Verdict

LABELS = ("a", "b")
SHOWN_ROLES = (Role.LIVE, Role.SHADOW, Role.ESCALATION)
TOKEN_LENGTH = 16

Said = Literal["a", "b", "tie", "good", "bad", "skip"]
PAIR_VERDICTS: tuple[Said, ...] = ("a", "b", "tie", "bad", "skip")
SINGLE_VERDICTS: tuple[Said, ...] = ("good", "bad", "skip")


class CallRow(Protocol):
    """The columns of a call that decide whether it is shown."""

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def at(self) -> datetime: ...  # noqa: D102
    @property
    def role(self) -> str: ...  # noqa: D102
    @property
    def tier(self) -> str: ...  # noqa: D102
    @property
    def status(self) -> int: ...  # noqa: D102
    @property
    def complete(self) -> bool: ...  # noqa: D102
    @property
    def body(self) -> str | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Answers:
    """The calls whose answers an item shows: both tiers' are a pair, one is single."""

    strong: str | None = None
    small: str | None = None

    @property
    def calls(self) -> dict[Tier, str]:
        """The calls by tier."""
        both = {Tier.STRONG: self.strong, Tier.SMALL: self.small}
        return {tier: call for tier, call in both.items() if call is not None}

    @property
    def kind(self) -> str:
        """`pair` or `single`."""
        return "pair" if len(self.calls) == 2 else "single"

    @property
    def verdicts(self) -> tuple[Said, ...]:
        """What may be said of it."""
        return PAIR_VERDICTS if self.kind == "pair" else SINGLE_VERDICTS


class Given(NamedTuple):
    """What a verdict means for one call."""

    verdict: Verdict
    score: float | None


WON, LOST, TIED = Given(Verdict.GOOD, 1.0), Given(Verdict.BAD, 0.0), Given(Verdict.GOOD, 0.5)
SKIPPED = Given(Verdict.UNSCORED, None)
_MEANING: dict[Said, tuple[Given, Given]] = {
    "a": (WON, LOST),
    "b": (LOST, WON),
    "tie": (TIED, TIED),
    "good": (WON, WON),
    "bad": (LOST, LOST),
    "skip": (SKIPPED, SKIPPED),
}


def answers_of(calls: Iterable[CallRow]) -> Answers:
    """The newest whole answer of each tier among a request's calls."""
    newest: dict[str, CallRow] = {}
    for call in sorted(calls, key=lambda call: (call.at, call.id)):
        if call.role in SHOWN_ROLES and call.status == 200 and call.complete and call.body is not None:
            newest[call.tier] = call
    ids = {tier: call.id for tier, call in newest.items()}
    return Answers(ids.get(Tier.STRONG), ids.get(Tier.SMALL))


def item_id(request: str, answers: Answers) -> str:
    """The name under which an item is served: of the request, and of the very answers that are shown."""
    return f"{request}.{_hash(request, answers)[:TOKEN_LENGTH]}"


def request_in(item: str) -> str:
    """The request that an item is of."""
    return item.rpartition(".")[0]


def shown_order(annotator: str, answers: Answers) -> list[str]:
    """The calls in the order in which this annotator sees them: the first is `a`."""
    calls = list(answers.calls.values())
    swapped = int(_hash(annotator, answers)[:8], 16) % 2
    return calls[::-1] if swapped else calls


def given(said: Said, annotator: str, answers: Answers) -> dict[str, Given]:
    """What an annotator's verdict means for each call."""
    return dict(zip(shown_order(annotator, answers), _MEANING[said], strict=False))


def _hash(first: str, answers: Answers) -> str:
    key = "\x00".join((first, answers.strong or "", answers.small or ""))
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
