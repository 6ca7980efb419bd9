"""The texts of an item, read from the ledger, as a judge is shown them.

Invariant: what cannot be read is an error about this item, never an empty text that a judge would then mark.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from evals.judge.backlog import Item
from evals.judge.prompts import Material, omissions
from router.prompt import Prompt
from router.wire import Answer, read_answer, read_prompt
from stepdown.errors import LedgerError
from stepdown.ledger import Ledger

NOT_TEXT = ("images", "audio", "files")


class Loaded(NamedTuple):
    """An item's texts.

    Attributes:
        notes: What the judge does not get to see, in words.
    """

    material: Material
    notes: tuple[str, ...]

    @property
    def identical(self) -> bool:
        """Whether two answers are the same, so that there is nothing to ask."""
        first, *others = (answer.strip() for answer in self.material.answers)
        return bool(others) and all(other == first for other in others)


def load(ledger: Ledger, item: Item) -> Loaded:
    """Read an item's texts.

    Raises:
        LedgerError: A body is gone, corrupt, or no chat completion.
        BadRequest: The request's body is no chat request.
    """
    prompt = read_prompt(ledger.body(item.body))
    answers = tuple(_text(_answer(ledger, subject.body)) for subject in item.subjects)
    material = Material(request_text(prompt), answers, reference_text(item.reference))
    unseen = [f"the judge did not see the request's {what}" for what in NOT_TEXT if what in prompt.needs]
    return Loaded(material, (*omissions(material), *unseen))


def request_text(prompt: Prompt) -> str:
    """A prompt as text: the last message alone, or each part under its name where there is more."""
    if not prompt.system and not prompt.history:
        return prompt.user
    named = (("system", prompt.system), ("earlier messages", prompt.history), ("last message", prompt.user))
    return "\n\n".join(f"[{name}]\n{text}" for name, text in named if text)


def reference_text(reference: str | None) -> str | None:
    """A reference as text: a JSON string without its quotes, anything else as it is."""
    if reference is None:
        return None
    try:
        value = json.loads(reference)
    except ValueError:
        return reference
    return value if isinstance(value, str) else reference


def _answer(ledger: Ledger, body: str) -> Answer:
    answer = read_answer(ledger.body(body))
    if not answer.complete and answer.finish_reason is None:
        raise LedgerError(f"body {body} is not a chat completion")
    return answer


def _text(answer: Answer) -> str:
    """All that the answer says: its text, its words of refusal, and the tools it calls."""
    tools = [f"[calls tool {tool.name} with {tool.arguments}]" for tool in answer.tool_calls]
    return "\n".join(part for part in (answer.text, answer.refusal, *tools) if part)
