"""Contenders: what is tried on a suite, a model as it is or asked in another way.

Invariant: two contenders with one identity put the same questions to the same model. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from stepdown.errors import SuiteError
from stepdown.ids import digest
from stepdown.settings import ModelSettings

PLACE = "{prompt}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One way of asking one model.

    Attributes:
        name: Names it in the report.
        alias: Of the model.
        system: Text put before the request's own system message; None leaves it as it is.
        user: Text in which `{prompt}` stands for the last user message; None leaves it as it is.
        temperature: Sampling temperature; None leaves the request's own.
        samples: Answers asked for to each case.
    """

    name: str
    alias: str
    system: str | None = None
    user: str | None = None
    temperature: float | None = None
    samples: int = 1

    def __post_init__(self) -> None:
        if self.user is not None and PLACE not in self.user:
            raise SuiteError(f"variant {self.name!r}: its user text {self.user[:80]!r} has no {PLACE} in it")

    def fields(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a chat request, asked this way."""
        messages = list(asked["messages"])
        if self.system is not None:
            messages = _with_system(messages, self.system)
        if self.user is not None:
            messages = _with_user(messages, self.user)
        changed = {} if self.temperature is None else {"temperature": self.temperature}
        return {**asked, "messages": messages, **changed}

    def identity(self, model: ModelSettings) -> str:
        """Hash of the model and of the way of asking, whatever they are called."""
        made_of = [model.model, model.url, self.system, self.user, self.temperature, self.samples]
        return digest(msgspec.json.encode(made_of))


def _with_system(messages: list[dict[str, Any]], text: str) -> list[dict[str, Any]]:
    """With text before the system message: one message, since many chat templates allow no second one."""
    first, content = messages[0], messages[0].get("content")
    if first.get("role") not in ("system", "developer"):
        return [{"role": "system", "content": text}, *messages]
    if isinstance(content, list):
        return [{**first, "content": [{"type": "text", "text": text}, *content]}, *messages[1:]]
    return [{**first, "content": f"{text}\n\n{content}" if content else text}, *messages[1:]]


def _with_user(messages: list[dict[str, Any]], template: str) -> list[dict[str, Any]]:
    users = [i for i, message in enumerate(messages) if message.get("role") == "user"]
    if not users:
        raise SuiteError("there is no user message to put into the variant's text")
    last = messages[users[-1]]
    changed = {**last, "content": _filled(template, last.get("content"))}
    return [*messages[: users[-1]], changed, *messages[users[-1] + 1 :]]


def _filled(template: str, content: Any) -> Any:
    if not isinstance(content, list):
        return template.replace(PLACE, content or "")
    texts = [i for i, part in enumerate(content) if part.get("type") == "text"]
    if not texts:
        return [{"type": "text", "text": template.replace(PLACE, "")}, *content]
    changed = {**content[texts[-1]], "text": template.replace(PLACE, content[texts[-1]].get("text") or "")}
    return [*content[: texts[-1]], changed, *content[texts[-1] + 1 :]]
