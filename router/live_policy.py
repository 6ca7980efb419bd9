"""The policies in force, reloaded while the proxy serves.

Invariant: a reader sees either the old policies or the new ones, never a mixture; and what cannot be
loaded puts its task on strong, says so, and stops nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from types import MappingProxyType

from router.metrics import Metrics
from router.model import RouterModel
from router.policy import NO_POLICY, Scorer, TaskPolicy
from stepdown.records import Mode, Promotion
from stepdown.registry import Registry
from stepdown.settings import ModelSettings, TaskSettings

TO_RETRY = -1

log = logging.getLogger(__name__)


class LivePolicy:
    """What is in force for each task.

    Args:
        registry: Where promotions and artifacts are.
        tasks: The tasks by name.
        models: The models by alias.
        metrics: Where reloads are counted.

    Attributes:
        missing: Why the policies are not known to be those in force, or None where they are.
    """

    def __init__(
        self,
        registry: Registry,
        tasks: Mapping[str, TaskSettings],
        models: Mapping[str, ModelSettings],
        metrics: Metrics,
    ) -> None:
        self._registry = registry
        self._tasks = tasks
        self._models = models
        self._metrics = metrics
        self._revision = TO_RETRY
        self._noted: dict[str, str] = {}
        self._scorers: dict[str, Scorer] = {}
        self.missing: str | None = "the policies are not loaded yet"
        self._policies = MappingProxyType({name: self._policy(name, None) for name in tasks})

    def of(self, task: str) -> TaskPolicy:
        """What is in force for a task."""
        return self._policies[task]

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
            revision = await asyncio.to_thread(self._registry.revision)
            if revision == self._revision:
                self.missing = None
                return
            policies = await asyncio.to_thread(self._load)
        except Exception as error:
            self._note("", f"the policies cannot be read, those in force stay: {error}")
            self.missing = f"the ledger cannot be read: {error}"
            return
        refused = any(policy.refused for policy in policies.values())
        self._revision = TO_RETRY if refused else revision
        self._policies, self.missing = MappingProxyType(policies), None
        self._noted.pop("", None)
        self._metrics.policy_revision.set(revision)

    def _load(self) -> dict[str, TaskPolicy]:
        return {task: self._load_task(task) for task in self._tasks}

    def _load_task(self, task: str) -> TaskPolicy:
        promotion = None
        try:
            promotion = self._registry.current(task)
            policy = self._policy(task, promotion)
        except Exception as error:  # a corrupt row may fail in any way, and must stop nothing
            self._note(task, f"task {task!r} stays on strong: {error}")
            return self._policy(task, promotion, refused=True)
        self._noted.pop(task, None)
        return policy

    def _note(self, task: str, trouble: str) -> None:
        """Log and count a trouble once, however often it is met."""
        if self._noted.get(task) != trouble:
            self._noted[task] = trouble
            self._metrics.reload_failures.inc()
            log.error(trouble)

    def _policy(self, task: str, promotion: Promotion | None, *, refused: bool = False) -> TaskPolicy:
        settings = self._tasks[task]
        mode = promotion.mode if promotion else Mode.STRONG
        artifact = promotion.artifact if promotion and mode is Mode.ROUTE and not refused else None
        capabilities = self._models[settings.small].capabilities if settings.small else ()
        return TaskPolicy(
            mode=mode,
            policy=artifact or NO_POLICY,
            scorer=self._scorer(artifact) if artifact else None,
            refused=refused,
            small=settings.small is not None,
            capabilities=frozenset(capabilities),
            shadow_share=settings.shadow_share,
            exploration=settings.exploration,
        )

    def _scorer(self, artifact: str) -> Scorer:
        scorer = self._scorers.get(artifact)
        if scorer is None:
            scorer = RouterModel.from_bytes(self._registry.artifact(artifact).content)
            self._scorers = {artifact: scorer, **dict(list(self._scorers.items())[: len(self._tasks)])}
        return scorer
