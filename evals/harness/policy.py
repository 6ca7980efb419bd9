"""What a policy would have answered: a column whose every answer is that of the model it chooses.

Invariant: it chooses as the proxy does in mode route, without exploration and without conversations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import select

from evals.harness.suite import Case
from router.model import RouterModel
from router.policy import Scorer, TaskPolicy, choose
from router.wire import parse_chat
from stepdown.errors import ArtifactError, SuiteError
from stepdown.ledger import Ledger, schema
from stepdown.records import Artifact, Mode, Tier
from stepdown.registry import Registry
from stepdown.settings import ModelSettings

CURRENT, NEWEST = "current", "newest"
ROUTER = "router"
CHUNK = 500


@dataclass(frozen=True, slots=True)
class PolicyColumn:
    """A router over the two models of its task.

    Attributes:
        router: Artifact id.
        strong: Name of the contender that stands for the strong model; likewise `small`.
        to_small: Ids of the cases that it gives to the small model.
        seen: Cases whose prompt was in the task's traffic before the router was made.
    """

    router: str
    strong: str
    small: str
    to_small: frozenset[str]
    seen: int


def find_router(ledger: Ledger, task: str, name: str) -> Artifact:
    """The router that a name stands for: an artifact's id, `current` or `newest`.

    Raises:
        SuiteError: The task has no such router.
        ArtifactError: It is corrupt, or no router.
    """
    registry = Registry(ledger)
    if name == NEWEST:
        found = registry.newest(ROUTER, task, student=registry.deployed(task).student)
    elif name == CURRENT:
        promotion = registry.current(task)
        found = registry.artifact(promotion.artifact) if promotion and promotion.artifact else None
    else:
        found = registry.artifact(name)
    if found is None:
        raise SuiteError(f"task {task!r} has no {name} router; `stepdown fit --task {task}` makes one")
    if found.kind != ROUTER:
        raise ArtifactError(f"artifact {name!r} is a {found.kind}, not a router; give the id of a router")
    return found


def policy_column(
    ledger: Ledger, router: Artifact, cases: Sequence[Case], names: tuple[str, str], small: ModelSettings
) -> PolicyColumn:
    """Let a router choose for every case.

    Args:
        ledger: Where the task's traffic is.
        router: The artifact.
        cases: The suite's.
        names: Of the contenders that stand for the strong and the small model.
        small: The small model's settings, which say what it may be sent.

    Raises:
        ArtifactError: The router is corrupt.
    """
    chosen = to_small(RouterModel.from_bytes(router.content), router.id, cases, small)
    return PolicyColumn(router.id, *names, chosen, _seen(ledger, router, cases))


def to_small(scorer: Scorer, name: str, cases: Sequence[Case], small: ModelSettings) -> frozenset[str]:
    """Ids of the cases for which a router chooses the small model."""
    policy = TaskPolicy(
        mode=Mode.ROUTE,
        policy=name,
        scorer=scorer,
        small=True,
        capabilities=frozenset(small.capabilities),
        exploration=0.0,
    )
    prompts = {
        case.id: parse_chat(msgspec.json.encode({**case.fields, "model": "-"})).prompt for case in cases
    }
    return frozenset(
        i for i, prompt in prompts.items() if choose(policy, prompt, draw=0.0).chosen is Tier.SMALL
    )


def _seen(ledger: Ledger, router: Artifact, cases: Sequence[Case]) -> int:
    """How many cases the router may have learnt from."""
    table = schema.requests
    hashes = sorted({case.prompt_hash for case in cases})
    known: set[str] = set()
    for start in range(0, len(hashes), CHUNK):
        wanted = table.c.prompt_hash.in_(hashes[start : start + CHUNK])
        query = select(table.c.prompt_hash).distinct().where(table.c.task == router.task, wanted)
        known |= {row.prompt_hash for row in ledger.rows(query.where(table.c.at < router.at))}
    return sum(case.prompt_hash in known for case in cases)
