"""What the policy in force would do with a prompt, and what its router thinks of it.

Invariant: it is what the proxy would decide for a request that belongs to no conversation and to no trial,
with exploration off; nothing is recorded.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace

from dashboards.explain import Explained, explained
from dashboards.playing.columns import Column
from router.live_policy import LivePolicy
from router.metrics import Metrics
from router.model import RouterModel, Scores
from router.policy import Choice, TaskPolicy, choose, refuse
from router.prompt import Prompt
from stepdown.errors import ArtifactError, LedgerError
from stepdown.ledger import Ledger
from stepdown.records import Arm, Tier
from stepdown.registry import Registry
from stepdown.replicas import Replicas
from stepdown.settings import Settings

NO_DRAW = 0.5  # with exploration off no choice rests on it
UNITS = 200

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Advice:
    """What is said of a prompt.

    Attributes:
        choice: What the policy would choose.
        words: The same in words.
        scores: Of the router in force, or else of the newest one; None where there is none.
        threshold: Of that router.
        router: Its artifact id.
        is_in_force: Whether it is the one that the policy asked.
    """

    choice: Choice
    words: Explained
    scores: Scores | None = None
    threshold: float | None = None
    router: str | None = None
    is_in_force: bool = False

    def score_of(self, column: Column) -> str:
        """What the router thinks of a column's answer, in words."""
        if column.tier is None and column.alias is not None:
            return "not scored: the router knows the task's strong and small model only"
        if self.scores is None or self.router is None:
            return "not scored: there is no router yet"
        tier = column.tier or self.choice.chosen
        p_good = self.scores.p_strong if tier is Tier.STRONG else self.scores.p_small
        which = "router" if self.is_in_force else "newest router, not in force,"
        return f"{which} {self.router[:12]} gives {tier} a {p_good:.1%} chance of a good answer"


def advise(ledger: Ledger, settings: Settings, task: str, prompt: Prompt) -> Advice:
    """What the policy would do with a prompt.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    policy = _policy(ledger, settings, task)
    choice = _choice(policy, prompt)
    if choice.p_strong is not None and choice.p_small is not None:
        scores = Scores(choice.p_strong, choice.p_small)
        return Advice(choice, explained(choice), scores, choice.threshold, choice.policy, True)
    return replace(_aside(ledger, task, policy.student, prompt, choice), choice=choice)


def _policy(ledger: Ledger, settings: Settings, task: str) -> TaskPolicy:
    live = LivePolicy(Registry(ledger), settings.tasks, settings.models, Metrics(), Replicas(ledger))
    asyncio.run(live.refresh())
    if live.missing is not None:
        raise LedgerError(live.missing)
    arms = (live.of(task, f"playground {number}") for number in range(UNITS))
    policy = next((policy for policy in arms if policy.arm is not Arm.CANARY), live.of(task))
    return replace(policy, exploration=0.0)


def _choice(policy: TaskPolicy, prompt: Prompt) -> Choice:
    try:
        return choose(policy, prompt, draw=NO_DRAW)
    except Exception:  # whatever is wrong with a router, the proxy would go to strong
        log.exception("the router %s failed on a prompt", policy.policy)
        return refuse(policy)


def _aside(ledger: Ledger, task: str, student: str | None, prompt: Prompt, choice: Choice) -> Advice:
    """The newest router's scores, where none was asked."""
    words = explained(choice)
    try:
        newest = Registry(ledger).newest("router", task, student=student)
        router = RouterModel.from_bytes(newest.content) if newest is not None else None
    except ArtifactError as error:
        log.warning("the newest router of task %r: %s", task, error)
        return Advice(choice, words)
    if newest is None or router is None:
        return Advice(choice, words)
    return Advice(choice, words, router.score(prompt), router.threshold, newest.id)
