"""The policy: which model answers a request, and why.

Invariant: when in doubt, strong; and exploration never sends a request to the small model that the
router would not have sent there. Pure: chance comes in as a number, so the same values give the same
choice. The policy does not know models by name, nor whether they are up.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from router.prompt import Prompt
from stepdown.records import Arm, Mode, Reason, Tier

NO_POLICY = "none"


class Scores(Protocol):
    """Calibrated probabilities that each model's answer is good."""

    @property
    def p_strong(self) -> float:
        """Of the strong model."""

    @property
    def p_small(self) -> float:
        """Of the small model."""

    @property
    def gain(self) -> float:
        """p_strong - p_small."""


class Scorer(Protocol):
    """What the policy asks of a router: `router.model.RouterModel`."""

    @property
    def threshold(self) -> float:
        """Small iff gain <= threshold."""

    def score(self, prompt: Prompt) -> Scores:
        """Score one prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPolicy:
    """What is in force for one task.

    Attributes:
        policy: Artifact id of the router, or `none`.
        scorer: The router, or None where there is none or it was refused.
        refused: Whether the artifact or the promotion could not be used.
        small: Whether the task has a small model.
        capabilities: What the small model may be sent beside plain text.
        asleep: Whether the small model's servers sleep, and must not be asked.
        student: Artifact id of the student that is the small model; None is the model as declared.
        arm: Which of two policies this is, where a candidate is tried on live traffic.
        mirror: Name of a candidate that is asked too, unseen by the client, on `shadow_share` of requests.
    """

    mode: Mode = Mode.STRONG
    policy: str = NO_POLICY
    scorer: Scorer | None = None
    refused: bool = False
    small: bool = False
    capabilities: frozenset[str] = frozenset()
    shadow_share: float = 1.0
    exploration: float = 0.05
    asleep: bool = False
    student: str | None = None
    arm: Arm | None = None
    mirror: str | None = None

    def mirrors(self, prompt: Prompt, draw: float) -> bool:
        """Whether the candidate is asked too; `draw` is a random number in [0, 1)."""
        asked = self.mirror is not None and not self.asleep and draw < self.shadow_share
        return asked and prompt.needs <= self.capabilities


@dataclass(frozen=True, slots=True)
class Policies:
    """What is in force for one task: one policy, or two while a candidate is tried on live traffic.

    Attributes:
        candidate: Artifact id of the student on trial; it shuffles the units anew for each trial.
        share: Of units that are the canary's.
    """

    control: TaskPolicy
    canary: TaskPolicy | None = None
    candidate: str = ""
    share: float = 0.0

    def of(self, unit: str) -> TaskPolicy:
        """The policy of a unit, a conversation or a request that belongs to none.

        As the share grows units go over to the canary and none goes back.
        """
        if self.canary is not None and place_of(unit, self.candidate) < self.share:
            return self.canary
        return self.control


def place_of(unit: str, candidate: str) -> float:
    """A fixed place in [0, 1) that looks random: the unit is in the canary once its share is larger."""
    hashed = hashlib.blake2b(f"{candidate}\n{unit}".encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(hashed.digest()[:7]) / 2**56


class Choice(NamedTuple):
    """A decision as a value; the fields are those of `stepdown.records.Decision`."""

    mode: Mode
    policy: str
    chosen: Tier
    reason: Reason
    propensity: float = 1.0
    p_strong: float | None = None
    p_small: float | None = None
    gain: float | None = None
    threshold: float | None = None
    explored: bool = False
    shadowed: bool = False
    student: str | None = None
    arm: Arm | None = None


def choose(policy: TaskPolicy, prompt: Prompt, *, draw: float, pinned: Tier | None = None) -> Choice:
    """Choose the model for a request whose caller lets the policy choose.

    Args:
        policy: What is in force for the request's task.
        prompt: What is asked.
        draw: A random number in [0, 1): the only source of chance.
        pinned: The model that the request's conversation is on, if it is on one.
    """
    choice = _choose(policy, prompt, draw, pinned)
    if policy.student is None and policy.arm is None:
        return choice
    return choice._replace(student=policy.student, arm=policy.arm)


def _choose(policy: TaskPolicy, prompt: Prompt, draw: float, pinned: Tier | None) -> Choice:
    if (reason := _why_strong(policy)) is not None:
        return Choice(policy.mode, NO_POLICY, Tier.STRONG, reason)
    routable = prompt.needs <= policy.capabilities
    if policy.mode is Mode.SHADOW:
        shadowed = routable and draw < policy.shadow_share
        return Choice(policy.mode, NO_POLICY, Tier.STRONG, Reason.MODE_SHADOW, shadowed=shadowed)
    if policy.scorer is None:
        return Choice(policy.mode, NO_POLICY, Tier.STRONG, Reason.NO_ARTIFACT)
    if not routable:
        return Choice(policy.mode, policy.policy, Tier.STRONG, Reason.UNROUTABLE)
    if pinned is not None:
        return Choice(policy.mode, policy.policy, pinned, Reason.CONVERSATION)
    return _route(policy, policy.scorer, prompt, draw)


def _why_strong(policy: TaskPolicy) -> Reason | None:
    """Why strong answers whatever is asked, or None."""
    if policy.refused:
        return Reason.BAD_ARTIFACT
    if policy.mode is Mode.STRONG:
        return Reason.MODE_STRONG
    if not policy.small:
        return Reason.NO_SMALL_MODEL
    return Reason.ASLEEP if policy.asleep else None


def _route(policy: TaskPolicy, scorer: Scorer, prompt: Prompt, draw: float) -> Choice:
    scores = scorer.score(prompt)
    takes_small = scores.gain <= scorer.threshold  # false for NaN: when in doubt, strong
    explored = draw < policy.exploration
    if explored:
        chosen, reason = Tier.STRONG, Reason.EXPLORED
    elif takes_small:
        chosen, reason = Tier.SMALL, Reason.ROUTED_SMALL
    else:
        chosen, reason = Tier.STRONG, Reason.ROUTED_STRONG
    return Choice(
        policy.mode,
        policy.policy,
        chosen,
        reason,
        _propensity(chosen, takes_small, policy.exploration),
        scores.p_strong,
        scores.p_small,
        scores.gain,
        scorer.threshold,
        explored,
        shadowed=explored,
    )


def _propensity(chosen: Tier, takes_small: bool, exploration: float) -> float:
    if not takes_small:
        return 1.0
    return 1.0 - exploration if chosen is Tier.SMALL else exploration


def named(policy: TaskPolicy, tier: Tier) -> Choice:
    """The choice for a request that names its model: the policy is not asked."""
    return Choice(policy.mode, NO_POLICY, tier, Reason.NAMED)


def refuse(policy: TaskPolicy) -> Choice:
    """The choice where the router itself failed on a prompt."""
    choice = Choice(policy.mode, policy.policy, Tier.STRONG, Reason.BAD_ARTIFACT)
    return choice._replace(student=policy.student, arm=policy.arm)  # else the canary would lose its failures


def fall_back(choice: Choice) -> Choice:
    """The choice after the small model failed before its first byte: strong, whatever was drawn."""
    return choice._replace(chosen=Tier.STRONG, reason=Reason.FALLBACK, propensity=1.0)
