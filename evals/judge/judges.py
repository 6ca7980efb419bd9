"""A judge as a task declares it, and what its labels are named by.

Invariant: a label's version changes with whatever could change the verdict: the model, what it is asked and
how, the number of votes. What is asked of how many requests, and by which way, does not change it. Pure.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from evals.judge.combine import Part, parts_of
from evals.judge.prompts import TEMPLATE, Material, show
from stepdown.errors import SettingsError
from stepdown.ids import digest
from stepdown.labellers import Kind, labeller_name
from stepdown.settings import JudgeSettings, ModelSettings, Settings, TaskSettings

# OpenAI's newer models refuse `max_tokens`; many other servers know nothing else.
NEWER_LIMIT_AT = ("api.openai.com", ".openai.azure.com")


@dataclass(frozen=True, slots=True)
class Judge:
    """A judge of a task.

    Attributes:
        model: What stands behind the alias that its settings name.
    """

    task: str
    name: str
    settings: JudgeSettings
    model: ModelSettings

    @property
    def labeller(self) -> str:
        """The name that its labels carry."""
        return labeller_name(Kind.JUDGE, self.name)

    @property
    def version(self) -> str:
        """The version of its labels."""
        return version_of(self.settings, self.model)

    @property
    def pairwise(self) -> bool:
        """Whether it compares two answers."""
        return self.settings.kind == "pairwise"

    @property
    def parts(self) -> tuple[Part, ...]:
        """The questions that a judgement of it needs."""
        return parts_of(self.settings.kind, self.settings.votes)

    def fields(self, material: Material, part: Part) -> dict[str, Any]:
        """The chat request's fields, but `model`, that put one question."""
        asked = show(
            self.settings,
            material,
            swapped=part.swapped,
            vote=part.vote,
            takes_json="json" in self.model.capabilities,
        )
        return {**asked, limit_field(self.model): self.settings.max_tokens}


def limit_field(model: ModelSettings) -> str:
    """The field that limits an answer's length, which depends on whose API it is."""
    host = urlsplit(model.url or "").hostname or ""
    return "max_completion_tokens" if host.endswith(NEWER_LIMIT_AT) else "max_tokens"


def version_of(settings: JudgeSettings, model: ModelSettings) -> str:
    """The version of the labels that a judge with these settings makes."""
    shape = {
        "model": model.model,
        "url": model.url,
        "json": "json" in model.capabilities,
        "kind": settings.kind,
        "rubric": settings.rubric,
        "votes": settings.votes,
        "temperature": settings.temperature,
        "max_tokens": settings.max_tokens,
    }
    return f"{TEMPLATE}-{digest(json.dumps(shape, sort_keys=True).encode())[:12]}"


def judge_of(settings: Settings, task_name: str, name: str) -> Judge:
    """A task's judge.

    Raises:
        SettingsError: The task, the judge or its model is not declared.
    """
    task = _task(settings, task_name)
    if name not in task.judges:
        known = ", ".join(task.judges) or f"none; add [tasks.{task_name}.judges.NAME] with a model"
        raise SettingsError(f"task {task_name!r} has no judge {name!r}; declared: {known}")
    alias = task.judges[name].model
    if alias not in settings.models:
        known = ", ".join(settings.models) or "none"
        raise SettingsError(
            f"tasks.{task_name}.judges.{name}.model = {alias!r} is not a model; known: {known}"
        )
    return Judge(task_name, name, task.judges[name], settings.models[alias])


def judges_of(settings: Settings, task_name: str) -> list[Judge]:
    """All judges of a task, in the order of the settings.

    Raises:
        SettingsError: The task or a judge's model is not declared.
    """
    return [judge_of(settings, task_name, name) for name in _task(settings, task_name).judges]


def _task(settings: Settings, name: str) -> TaskSettings:
    if name not in settings.tasks:
        known = ", ".join(settings.tasks) or "none"
        raise SettingsError(f"task {name!r} is not declared; declared: {known}")
    return settings.tasks[name]
