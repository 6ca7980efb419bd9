"""From bodies as they went over the wire to the messages of an example.

Invariant: an answer that is incomplete, cut off, refused or empty never becomes a message; whoever asks for
it gets the reason in words, to be counted. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from distill.dataset.example import Chat
from evals.checks.refusals import folded, refusal_in
from router.prompt import Prompt
from router.wire import Answer, parse_chat, read_answer
from stepdown.errors import BadRequest

KEPT = ("role", "content", "name", "tool_calls", "tool_call_id")
TEXTUAL = frozenset(("tools", "json", "logprobs", "choices"))
CUT_OFF = frozenset(("length", "content_filter"))
BEGINNING = 500  # characters in which a refusal shows


class Unusable(Exception):
    """Why something cannot be learnt from, in words that make a line of the card."""


class Asked(NamedTuple):
    """What was asked.

    Attributes:
        prompt: As the router sees it.
    """

    messages: Sequence[Chat]
    tools: Sequence[Chat] | None
    prompt: Prompt


def asked_in(body: bytes) -> Asked:
    """The messages and the tools of a request's body.

    Raises:
        Unusable: It is no chat request, is not text alone, or has nothing to be answered.
    """
    try:
        chat = parse_chat(body)
        messages = msgspec.json.decode(chat.fields["messages"])
        tools = msgspec.json.decode(chat.fields.get("tools") or b"null")
    except (BadRequest, msgspec.DecodeError) as error:
        raise Unusable("the request cannot be read") from error
    if chat.prompt.needs - TEXTUAL:
        raise Unusable("images, audio or files in the request")
    if "functions" in chat.fields or any("function_call" in message for message in messages):
        raise Unusable("tools in their old form, `functions`")
    if messages[-1]["role"] == "assistant":
        raise Unusable("the request ends in an answer")
    return Asked([plain(message) for message in messages], tools or None, chat.prompt)


def plain(message: Mapping[str, Any]) -> Chat:
    """A message with the fields that a chat template knows, its text in one piece."""
    kept = {name: message[name] for name in KEPT if message.get(name) is not None}
    content = message.get("content")
    if isinstance(content, list):
        content = "\n".join(part["text"] for part in content if part.get("text"))
    return {**kept, "content": content or ""}


def answer_in(body: bytes) -> Chat:
    """The assistant's message in an answer's body.

    Raises:
        Unusable: There is no answer that one could learn.
    """
    answer = read_answer(body)
    if why := _fault(answer):
        raise Unusable(why)
    message: dict[str, Any] = {"role": "assistant", "content": answer.text}
    if answer.tool_calls:
        message["tool_calls"] = [
            {"id": f"call_{n}", "type": "function", "function": tool._asdict()}
            for n, tool in enumerate(answer.tool_calls, 1)
        ]
    return message


def edit_of(text: str, body: bytes | None) -> Chat:
    """The assistant's message that an edit is.

    Raises:
        Unusable: The answer that was edited calls tools, which the edit does not show.
    """
    if body is not None and read_answer(body).tool_calls:
        raise Unusable("an edit of an answer that calls tools")
    return {"role": "assistant", "content": text}


def _fault(answer: Answer) -> str | None:
    if not answer.complete:
        return "the answer is incomplete"
    if answer.finish_reason in CUT_OFF:
        return "the answer was cut off"
    if answer.refusal or refusal_in(folded(answer.text[:BEGINNING])):
        return "the answer is a refusal"
    if not answer.text.strip() and not answer.tool_calls:
        return "the answer is empty"
    if not all(is_json(tool.arguments) for tool in answer.tool_calls):
        return "the answer calls a tool with arguments that are no JSON"
    return None


def is_json(text: str) -> bool:
    """Whether a text is JSON."""
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError):
        return False
    return True
