"""Chats as tokens: what a student reads, and what it is to say, by its own tokenizer and template.

Invariant: the prompt's tokens are those that a server would make of the same messages, or the example is
refused; only the last message, the chosen answer, is learnt. What earlier turns said was not chosen. Runs
in the trainer's Python and knows of torch nothing.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from distill.training.template import is_marked, marked

NO_TEMPLATE = (
    "the student's tokenizer has no chat template, and no server could serve it; use the chat (instruct) "
    "version of the checkpoint as `base`, or put a chat_template.jinja into its folder"
)

Message = Mapping[str, Any]


class Refused(Exception):
    """An example, a tokenizer or a plan that nothing can be trained with; the words say why."""


class Encoded(NamedTuple):
    """An example as tokens; the answer is what is learnt."""

    prompt: list[int]
    answer: list[int]

    @property
    def ids(self) -> list[int]:
        """All tokens."""
        return self.prompt + self.answer

    @property
    def labels(self) -> list[int]:
        """The tokens to be learnt, and -100 where nothing is."""
        return [-100] * len(self.prompt) + self.answer


class Chat:
    """Turns examples into tokens.

    Args:
        tokenizer: The student's, of transformers.

    Raises:
        Refused: It has no chat template.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        try:
            self._template = tokenizer.get_chat_template()
        except ValueError as error:
            raise Refused(NO_TEMPLATE) from error
        self._marked = _marked_template(tokenizer, self._template)

    def length(self, messages: Sequence[Message], tools: Sequence[Any] | None = None) -> int:
        """Tokens of an example, answer included."""
        return len(self._tokens(self._render(readable(messages), tools)))

    def encode(self, messages: Sequence[Message], tools: Sequence[Any] | None = None) -> Encoded:
        """An example as tokens.

        Raises:
            Refused: The template cannot say which part of the text is the answer.
        """
        prompt, answer = self._parts(readable(messages), tools)
        return Encoded(self._tokens(prompt), self._tokens(answer))

    def _parts(self, messages: list[dict[str, Any]], tools: Sequence[Any] | None) -> tuple[str, str]:
        text = self._render(messages, tools)
        prompt = self._render(messages[:-1], tools, add_generation_prompt=True)
        span = self._marked_span(messages, tools, text)
        if span is not None and text[: span[0]] == prompt:
            return prompt, text[span[0] : span[1]]
        if text.startswith(prompt):
            return prompt, self._to_end_of_turn(text[len(prompt) :])
        if span is not None:
            return text[: span[0]], text[span[0] : span[1]]
        raise Refused(
            "the student's chat template writes a prompt in other words once it is answered, and "
            "does not mark the answer; put {% generation %} … {% endgeneration %} around it in the template"
        )

    def _marked_span(self, messages: Any, tools: Any, text: str) -> tuple[int, int] | None:
        """Where the last answer is in the text, by a template that marks it and renders the same text."""
        from transformers.utils.chat_template_utils import render_jinja_template

        if self._marked is None:
            return None
        special = self._tokenizer.special_tokens_map
        rendered: Any = render_jinja_template(
            [messages],
            tools=tools,
            chat_template=self._marked,
            return_assistant_tokens_mask=True,
            **special,
        )
        texts, spans = rendered
        found = texts[0] == text and spans[0]
        return found[-1] if found else None

    def _to_end_of_turn(self, text: str) -> str:
        """An answer up to its last special token; what a template writes after it nobody generates."""
        ends = [
            text.rfind(token) + len(token) for token in self._tokenizer.all_special_tokens if token in text
        ]
        return text[: max(ends)] if ends else text

    def _render(self, messages: Any, tools: Any, *, add_generation_prompt: bool = False) -> str:
        rendered: str = self._tokenizer.apply_chat_template(
            messages, tools=tools, tokenize=False, add_generation_prompt=add_generation_prompt
        )
        return rendered

    def _tokens(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids


def readable(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages as templates want them, by the rules of vLLM: plain text, and arguments as values."""
    return [_readable(message) for message in messages]


def _readable(message: Message) -> dict[str, Any]:
    content = message.get("content")
    if isinstance(content, Sequence) and not isinstance(content, str):
        content = "\n".join(str(part.get("text", "")) for part in content)
    plain = {**message, "content": content or ""}
    if calls := message.get("tool_calls"):
        plain["tool_calls"] = [_call(call) for call in calls]
    return plain


def _call(call: Message) -> dict[str, Any]:
    function = dict(call.get("function") or {})
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        with contextlib.suppress(ValueError):  # the model wrote no JSON: the template shows what it wrote
            function["arguments"] = json.loads(arguments) if arguments else {}
    return {**call, "function": function}


def _marked_template(tokenizer: Any, template: str) -> str | None:
    """The template with the assistant's words marked: its own marks, ours, or those that TRL knows."""
    if found := marked(template):
        return found
    from trl import chat_template_utils

    try:
        known = chat_template_utils.get_training_chat_template(tokenizer)
    except (ValueError, TypeError):
        return None
    return known if known and is_marked(known) else None
