"""What the model names of requests mean: `stepdown`, `stepdown/TASK`, an alias, or a model's own name.

Pure: made from the settings once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from router.access import Caller
from stepdown.errors import BadRequest, Forbidden, SettingsError, UnknownModel
from stepdown.records import Tier
from stepdown.settings import DEFAULT_TASK, Settings, TaskSettings

ANY = "stepdown"
PREFIX = ANY + "/"


class Target(NamedTuple):
    """What a request asks for.

    Attributes:
        alias: The model it names, or None where the policy is to choose.
    """

    task: str
    alias: str | None


def tasks_of(settings: Settings) -> dict[str, TaskSettings]:
    """The tasks by name, with a `default` one where none is declared.

    Raises:
        SettingsError: The default task has no strong model.
    """
    tasks = dict(settings.tasks)
    if DEFAULT_TASK not in tasks:
        tasks[DEFAULT_TASK] = TaskSettings(small="small" if "small" in settings.models else None)
    strong = tasks[DEFAULT_TASK].strong
    if strong not in settings.models:
        known = ", ".join(settings.models) or "none"
        raise SettingsError(
            f"tasks.default.strong = {strong!r} is not a model; declared under [models]: {known}"
        )
    return tasks


class Catalogue:
    """The names that a request can ask for."""

    def __init__(self, settings: Settings) -> None:
        self.tasks: Mapping[str, TaskSettings] = tasks_of(settings)
        self._aliases = {model.model: alias for alias, model in reversed(settings.models.items())}
        self._aliases |= {alias: alias for alias in settings.models}
        self._names = [ANY, *(PREFIX + task for task in self.tasks), *settings.models]

    def resolve(self, model: str, caller: Caller) -> Target:
        """What a request for `model` asks for.

        Raises:
            UnknownModel: No such model or task.
            Forbidden: The caller's key belongs to another task.
            BadRequest: Model and header name different tasks.
        """
        if model == ANY:
            return Target(self._known_task(caller.task or DEFAULT_TASK, "X-Stepdown-Task"), None)
        if model.startswith(PREFIX):
            return Target(self._asked_task(model, caller), None)
        alias = self._aliases.get(model)
        if alias is None:
            raise UnknownModel(
                f"model {model!r:.200} is not known; known: {', '.join(self._names)}",
                param="model",
                code="model_not_found",
            )
        return Target(self._known_task(caller.task or DEFAULT_TASK, "X-Stepdown-Task"), alias)

    def _asked_task(self, model: str, caller: Caller) -> str:
        task = self._known_task(model.removeprefix(PREFIX), "model")
        if caller.task is None or caller.task == task:
            return task
        if caller.bound:
            raise Forbidden(
                f"model {model!r} is not of the task of this key; ask for {ANY!r}",
                param="model",
                code="wrong_task",
            )
        raise BadRequest(
            f"model {model!r} and X-Stepdown-Task: {caller.task!r} name different tasks; leave one out",
            param="model",
        )

    def _known_task(self, task: str, param: str) -> str:
        if task not in self.tasks:
            raise UnknownModel(
                f"task {task!r:.200} is not known; known: {', '.join(self.tasks)}",
                param=param,
                code="model_not_found",
            )
        return task

    def tier(self, target: Target) -> Tier:
        """Which of the task's models a named model counts as."""
        return Tier.SMALL if target.alias == self.tasks[target.task].small else Tier.STRONG

    def alias(self, task: str, tier: Tier) -> str:
        """The model of a task's tier; strong where the task has no small one."""
        settings = self.tasks[task]
        return settings.small if tier is Tier.SMALL and settings.small is not None else settings.strong

    def listing(self) -> bytes:
        """The body of `GET /v1/models`."""
        models = [{"id": name, "object": "model", "created": 0, "owned_by": ANY} for name in self._names]
        return msgspec.json.encode({"object": "list", "data": models})
