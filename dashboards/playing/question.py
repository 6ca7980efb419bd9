"""What is asked on the playground: a form as a chat request, and a request of the ledger as a form.

Invariant: what cannot be asked is refused by the name of its field before any model is. Pure.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from evals.harness.suite import CHAT_FIELDS
from router.prompt import Prompt, prompt_hash
from router.wire import parse_chat
from stepdown.errors import BadRequest

SIMPLE_FIELDS = frozenset({"messages", "temperature", "max_tokens"})
LONGEST_REPLAYED = 400_000  # characters of a prompt that a form is filled with
MOST_TOKENS = 1_000_000


@dataclass(frozen=True, slots=True)
class Question:
    """A chat request without a model.

    Attributes:
        fields: Its fields, `messages` among them.
        prompt: As the router sees it.
    """

    fields: Mapping[str, Any]
    prompt: Prompt

    @property
    def prompt_hash(self) -> str:
        """Under which duplicates meet."""
        return prompt_hash(self.prompt)


@dataclass(frozen=True, slots=True)
class Filled:
    """What stands in the form.

    Attributes:
        messages: JSON text: the messages, or a whole chat request; empty where system and user say it all.
    """

    system: str = ""
    user: str = ""
    messages: str = ""
    temperature: str = ""
    max_tokens: str = ""


def filled(fields: Mapping[str, str]) -> Filled:
    """A form as it was sent, to be shown again."""
    return Filled(
        **{name: fields.get(name, "").replace("\r\n", "\n") for name in Filled.__dataclass_fields__}
    )


def question_of(form: Filled) -> Question:
    """The question that a form asks.

    Raises:
        BadRequest: It asks nothing, or what cannot be asked; names the field.
    """
    fields: dict[str, Any] = _written(form) if form.messages.strip() else {"messages": _typed(form)}
    if form.temperature.strip():
        fields["temperature"] = _number("temperature", form.temperature, 2)
    if form.max_tokens.strip():
        fields["max_tokens"] = math.trunc(_number("max_tokens", form.max_tokens, MOST_TOKENS))
        if fields["max_tokens"] < 1:
            raise BadRequest(f"max_tokens = {form.max_tokens!r:.40} is not 1 or more", param="max_tokens")
    try:
        prompt = parse_chat(msgspec.json.encode({**fields, "model": "-"})).prompt
    except UnicodeEncodeError as error:
        raise BadRequest(f"the prompt is not text: {error}", param="messages") from error
    return Question(fields, prompt)


def _typed(form: Filled) -> list[dict[str, str]]:
    if not form.user.strip():
        raise BadRequest("there is nothing to ask; write a prompt", param="user")
    system = [{"role": "system", "content": form.system}] if form.system.strip() else []
    return [*system, {"role": "user", "content": form.user}]


def _written(form: Filled) -> dict[str, Any]:
    if form.user.strip() or form.system.strip():
        raise BadRequest("give either a prompt or messages as JSON, and empty the other", param="messages")
    try:
        value = msgspec.json.decode(form.messages)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BadRequest(f"messages is not JSON: {error}", param="messages") from error
    if isinstance(value, list):
        return {"messages": value}
    if not isinstance(value, dict):
        raise BadRequest("messages is neither a list of messages nor a chat request", param="messages")
    return {name: value[name] for name in CHAT_FIELDS if value.get(name) is not None}


def _number(name: str, text: str, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= most:
        raise BadRequest(f"{name} = {text!r:.40} is not a number from 0 to {most:g}", param=name)
    return value


def form_of(body: bytes) -> Filled:
    """A request's body as a form.

    Raises:
        BadRequest: It is no chat request, or too long for a form.
    """
    chat = parse_chat(body)
    fields = {
        name: msgspec.json.decode(chat.fields[name])
        for name in CHAT_FIELDS
        if name in chat.fields and chat.fields[name] != b"null"
    }
    numbers = {
        name: ""
        if name not in fields
        else f"{fields[name]:g}"
        if name == "temperature"
        else str(fields[name])
        for name in ("temperature", "max_tokens")
    }
    simple = _simple(fields)
    if simple is not None:
        form = Filled(*simple, **numbers)
    else:
        others = {name: value for name, value in fields.items() if name not in numbers}
        shown = others["messages"] if set(others) == {"messages"} else others
        form = Filled(messages=_written_out(shown), **numbers)
    if len(form.system) + len(form.user) + len(form.messages) > LONGEST_REPLAYED:
        raise BadRequest(f"the prompt has more than {LONGEST_REPLAYED:,} characters, too many to replay here")
    return form


def _written_out(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, indent=2)
    except RecursionError:  # reading goes a little deeper than writing
        raise BadRequest("the prompt is nested too deep to replay here") from None


def _simple(fields: Mapping[str, Any]) -> tuple[str, str] | None:
    """The system and user text of a request that has nothing else."""
    messages = fields.get("messages", [])
    texts = [message.get("content") for message in messages if set(message) == {"role", "content"}]
    if (
        set(fields) - SIMPLE_FIELDS
        or len(texts) != len(messages)
        or not all(isinstance(t, str) for t in texts)
    ):
        return None
    roles = [message["role"] for message in messages]
    if roles == ["user"]:
        return "", texts[0]
    return (texts[0], texts[1]) if roles == ["system", "user"] else None
