"""The policies in force, reloaded while the proxy serves.

Invariant: a reader sees either the old policies or the new ones, never a mixture; and what cannot be
loaded puts its task on strong, says so, and stops nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from router.metrics import Metrics
from router.model import RouterModel
from router.policy import NO_POLICY, Policies, Scorer, TaskPolicy
from stepdown.errors import ArtifactError
from stepdown.records import Arm, Deployed, Mode
from stepdown.registry import Registry
from stepdown.replicas import Replicas
from stepdown.settings import ModelSettings, TaskSettings
from stepdown.students import served_name


class Revision(NamedTuple):
    """What the policies in force were made from: with another one they are made anew."""

    promotions: int
    asleep: frozenset[str] = frozenset()


NEVER = Revision(-1)

log = logging.getLogger(__name__)


class LivePolicy:
    """What is in force for each task.

    Args:
        registry: Where promotions and artifacts are.
        tasks: The tasks by name.
        models: The models by alias.
        metrics: Where reloads are counted.
        replicas: What is known of the small models' servers; None is nothing.

    Attributes:
        missing: Why the policies are not known to be those in force, or None where they are.
    """

    def __init__(
        self,
        registry: Registry,
        tasks: Mapping[str, TaskSettings],
        models: Mapping[str, ModelSettings],
        metrics: Metrics,
        replicas: Replicas | None = None,
    ) -> None:
        self._registry = registry
        self._replicas = replicas
        self._tasks = tasks
        self._models = models
        self._metrics = metrics
        self._revision = NEVER
        self._noted: dict[str, str] = {}
        self._scorers: dict[tuple[str, str | None], Scorer] = {}
        self.missing: str | None = "the policies are not loaded yet"
        self._policies = MappingProxyType({name: Policies(self._policy(name, Deployed())) for name in tasks})

    def of(self, task: str, unit: str = "") -> TaskPolicy:
        """What is in force for a task, and a unit: a conversation, or a request that belongs to none."""
        return self._policies[task].of(unit)

    async def watch(self, every_s: float) -> None:
        """Reload whenever something was promoted, for ever."""
        while True:
            await asyncio.sleep(every_s)
            await self.refresh()

    async def refresh(self) -> None:
        """Reload if something was promoted since the last look, or if a task was refused then.

        A ledger that cannot be read at all leaves the policies in force as they are.
        """
        try:
            revision = await asyncio.to_thread(self._look)
            if revision == self._revision:
                self.missing = None
                return
            policies = await asyncio.to_thread(self._load, revision.asleep)
        except Exception as error:
            self._note("", f"the policies cannot be read, those in force stay: {error}")
            self.missing = f"the ledger cannot be read: {error}"
            return
        self._policies, self.missing = MappingProxyType(policies), None
        self._noted.pop("", None)
        self._revision = NEVER if self._noted else revision
        self._metrics.policy_revision.set(revision.promotions)

    def _look(self) -> Revision:
        asleep = self._replicas.asleep() if self._replicas else frozenset()
        return Revision(self._registry.revision(), asleep)

    def _load(self, asleep: frozenset[str]) -> dict[str, Policies]:
        return {task: self._load_task(task, self._tasks[task].small in asleep) for task in self._tasks}

    def _load_task(self, task: str, asleep: bool) -> Policies:
        deployed = Deployed()
        try:
            deployed = self._registry.deployed(task)
            control = self._policy(task, deployed, asleep=asleep)
        except Exception as error:  # a corrupt row may fail in any way, and must stop nothing
            self._note(task, f"task {task!r} stays on strong: {error}")
            return Policies(self._policy(task, deployed, refused=True))
        try:
            policies = self._with_candidate(task, control, deployed, asleep)
        except Exception as error:
            self._note(task, f"task {task!r} has no canary: {error}")
            return Policies(control)
        self._noted.pop(task, None)
        return policies

    def _note(self, task: str, trouble: str) -> None:
        """Log and count a trouble once, however often it is met; what is noted is tried again."""
        if self._noted.get(task) != trouble:
            self._noted[task] = trouble
            self._metrics.reload_failures.inc()
            log.error(trouble)

    def _with_candidate(self, task: str, control: TaskPolicy, deployed: Deployed, asleep: bool) -> Policies:
        if deployed.candidate is None:
            return Policies(control)
        if not deployed.candidate_share:
            return Policies(replace(control, mirror=served_name(deployed.candidate)))
        tried = deployed.settled._replace(
            mode=Mode.ROUTE, artifact=deployed.candidate_router, student=deployed.candidate
        )
        canary = replace(self._policy(task, tried, asleep=asleep), arm=Arm.CANARY)
        control = replace(control, arm=Arm.CONTROL)
        return Policies(control, canary, deployed.candidate, deployed.candidate_share)

    def _policy(
        self, task: str, deployed: Deployed, *, refused: bool = False, asleep: bool = False
    ) -> TaskPolicy:
        settings = self._tasks[task]
        artifact = deployed.artifact if deployed.mode is Mode.ROUTE and not refused else None
        capabilities = self._models[settings.small].capabilities if settings.small else ()
        return TaskPolicy(
            mode=deployed.mode,
            policy=artifact or NO_POLICY,
            scorer=self._scorer(artifact, deployed.student) if artifact else None,
            refused=refused,
            small=settings.small is not None,
            capabilities=frozenset(capabilities),
            shadow_share=settings.shadow_share,
            exploration=settings.exploration,
            asleep=asleep,
            student=deployed.student,
        )

    def _scorer(self, artifact: str, student: str | None) -> Scorer:
        """A router, which must have been fitted on the answers of the very model that it is to send to."""
        scorer = self._scorers.get((artifact, student))
        if scorer is None:
            router = self._registry.artifact(artifact)
            if router.settings.get("student") != student:
                asked = f"student {student!r}" if student else "the small model as declared"
                raise ArtifactError(f"router {artifact!r} was not fitted on the answers of {asked}")
            scorer = RouterModel.from_bytes(router.content)
            kept = list(self._scorers.items())[: 2 * len(self._tasks)]
            self._scorers = {(artifact, student): scorer, **dict(kept)}
        return scorer
