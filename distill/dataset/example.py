"""What a dataset is: examples in three parts, and a card that says where they came from.

Invariant: an example knows where in the ledger its text is, so the dataset can be kept without the text.
Only the last message of an example is to be learnt: the answers before it were nobody's choice. Pure.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from router.fitting.splits import position
from stepdown.ids import digest

Part = Literal["train", "validation", "test"]
Chat = Mapping[str, Any]

TRAIN: Part = "train"
VALIDATION: Part = "validation"
TEST: Part = "test"
PARTS: tuple[Part, ...] = (TRAIN, VALIDATION, TEST)  # the more held out, the later
ID_DIGITS = 32
COPIES = "copies"


class Source(enum.StrEnum):
    """Why an answer is worth learning; of a query's answers the first of these is taken."""

    EDIT = "edit"
    CHECKED = "checked strong"
    CHECKED_SMALL = "checked small"
    JUDGED = "judged"
    PRACTICE = "practice"
    IMPORTED = "imported"
    GENERAL = "general"


class Origin(NamedTuple):
    """Where in the ledger the text of an example is.

    Attributes:
        body: Digest of the request's body; of what came from a file, of the whole example.
        answer: Digest of the answer's body, or None.
        feedback: Id of the feedback that is the answer, or None.
    """

    body: str
    answer: str | None = None
    feedback: str | None = None


def example_id(source: Source, origin: Origin) -> str:
    """The name of an example: a hash of where it came from."""
    made_of = "\n".join([source, *(part or "" for part in origin)])
    return digest(made_of.encode())[:ID_DIGITS]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One conversation whose last message is to be learnt.

    Attributes:
        id: Hash of where it came from.
        request: Id of the request in the ledger, or None for what came from a file.
        messages: In OpenAI's form; the last one is the assistant's.
        tools: That the assistant may call, in OpenAI's form, or None.
        source: Why the answer is worth learning.
        weight: How often it counts in training, at least 1; see `repeated`.
        slice: Its kind of query, or None.
        prompt_hash: Hash of the prompt.
        group: Examples that share it are on the same side of every split.
        tokens: Of all messages and tools.
        origin: Where its text is.
        teacher: Name of the model that answered, or None where none did.
    """

    id: str
    request: str | None
    messages: Sequence[Chat]
    tools: Sequence[Chat] | None
    source: Source
    weight: float
    slice: str | None
    prompt_hash: str
    group: str
    tokens: int
    origin: Origin
    teacher: str | None = None

    @property
    def chat(self) -> Chat:
        """What a token counter and a chat template take."""
        return chat_of(self.messages, self.tools)


def chat_of(messages: Sequence[Chat], tools: Sequence[Chat] | None) -> Chat:
    """Messages, and tools where there are any, as one mapping."""
    return {"messages": messages, "tools": tools} if tools else {"messages": messages}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A task's dataset.

    Attributes:
        task: Name of the task.
        parts: The examples of `train`, `validation` and `test`.
        card: What is in it, where it came from and what was left out, as JSON values.
        content: As it is kept: references and no text.
        parents: Ids and hashes of what it was made from.
        settings: What shaped it.
        bodies: Texts that are not in the ledger yet, by their digest: those that came from files.
    """

    task: str
    parts: Mapping[Part, Sequence[Example]]
    card: Mapping[str, Any]
    content: bytes
    parents: tuple[str, ...]
    settings: Mapping[str, Any]
    bodies: Mapping[str, bytes] = field(default_factory=dict)


def repeated(examples: Sequence[Example], seed: int = 0) -> list[Example]:
    """Each example as often as its weight says, for trainers that know no weights.

    A weight of 2.3 is two copies, and a third for three in ten of such examples, drawn by the hash of the id:
    the same examples give the same list.
    """
    return [example for example in examples for _ in range(copies(example, seed))]


def copies(example: Example, seed: int = 0) -> int:
    """How often `repeated` has an example."""
    whole = int(example.weight)
    return whole + (position(example.id, seed, COPIES) < example.weight - whole)
