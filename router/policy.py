"""The policy: which model answers a request, and why.

Invariant: when in doubt, strong; and exploration never sends a request to the small model that the
router would not have sent there. Pure: chance comes in as a number, so the same values give the same
choice. The policy does not know models by name, nor whether they are up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from router.prompt import Prompt
from stepdown.records import Mode, Reason, Tier

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
    """

    mode: Mode = Mode.STRONG
    policy: str = NO_POLICY
    scorer: Scorer | None = None
    refused: bool = False
    small: bool = False
    capabilities: frozenset[str] = frozenset()
    shadow_share: float = 1.0
    exploration: float = 0.05


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


def choose(policy: TaskPolicy, prompt: Prompt, *, draw: float, pinned: Tier | None = None) -> Choice:
    """Choose the model for a request whose caller lets the policy choose.

    Args:
        policy: What is in force for the request's task.
        prompt: What is asked.
        draw: A random number in [0, 1): the only source of chance.
        pinned: The model that the request's conversation is on, if it is on one.
    """
    if policy.refused:
        return Choice(policy.mode, NO_POLICY, Tier.STRONG, Reason.BAD_ARTIFACT)
    if policy.mode is Mode.STRONG:
        return Choice(policy.mode, NO_POLICY, Tier.STRONG, Reason.MODE_STRONG)
    if not policy.small:
        return Choice(policy.mode, NO_POLICY, Tier.STRONG, Reason.NO_SMALL_MODEL)
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
    return Choice(policy.mode, policy.policy, Tier.STRONG, Reason.BAD_ARTIFACT)


def fall_back(choice: Choice) -> Choice:
    """The choice after the small model failed before its first byte: strong, whatever was drawn."""
    return choice._replace(chosen=Tier.STRONG, reason=Reason.FALLBACK, propensity=1.0)
