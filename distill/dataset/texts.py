"""The texts of examples, read from the ledger by reference.

Invariant: what is gone from the ledger is gone from every dataset that refers to it; nothing else holds it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import select

from distill.dataset.example import Chat, Origin, Source
from distill.dataset.messages import Asked, Unusable, answer_in, asked_in, edit_of
from router.prompt import Prompt
from stepdown.ids import digest
from stepdown.ledger import Ledger, schema

CHUNK = 500
FILED = frozenset((Source.IMPORTED, Source.GENERAL))
GONE = "the text is no longer kept"


class Texts(NamedTuple):
    """Texts that examples refer to: bodies by digest, and edits by the id of the feedback."""

    bodies: Mapping[str, bytes]
    edits: Mapping[str, str]


class Spoken(NamedTuple):
    """An example's text; the last message is the assistant's."""

    messages: Sequence[Chat]
    tools: Sequence[Chat] | None
    prompt: Prompt


def read_texts(ledger: Ledger, origins: Iterable[Origin], more: Iterable[str | None] = ()) -> Texts:
    """Read what examples refer to, as far as it is there.

    Args:
        ledger: Where it is.
        origins: Of the examples.
        more: Digests of further bodies.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    wanted = list(origins)
    digests = {name for one in wanted for name in (one.body, one.answer) if name} | {m for m in more if m}
    feedback = sorted({one.feedback for one in wanted if one.feedback})
    return Texts(ledger.bodies(digests), _edits(ledger, feedback))


def _edits(ledger: Ledger, ids: Sequence[str]) -> dict[str, str]:
    table, found = schema.feedback, {}
    for start in range(0, len(ids), CHUNK):
        chunk = ids[start : start + CHUNK]
        for row in ledger.rows(select(table.c.id, table.c.value).where(table.c.id.in_(chunk))):
            value = json.loads(row.value)
            if isinstance(value, str):
                found[row.id] = value
    return found


def spoken(source: Source, origin: Origin, texts: Texts, beside: str | None = None) -> Spoken:
    """The text of an example.

    Args:
        source: Of the example.
        origin: Where its text is.
        texts: All that was read.
        beside: Digest of the body of the answer that was edited, or None.

    Raises:
        Unusable: A part of it is gone, or it cannot be learnt from.
    """
    if origin.body not in texts.bodies:
        raise Unusable(GONE)
    if source in FILED:
        return from_file(texts.bodies[origin.body])
    asked = asked_in(texts.bodies[origin.body])
    return Spoken([*asked.messages, _answer(origin, texts, beside)], asked.tools, asked.prompt)


def _answer(origin: Origin, texts: Texts, beside: str | None) -> Chat:
    if origin.feedback is not None:
        if origin.feedback not in texts.edits:
            raise Unusable(GONE)
        return edit_of(texts.edits[origin.feedback], texts.bodies.get(beside or ""))
    body = texts.bodies.get(origin.answer or "")
    if body is None:
        raise Unusable(GONE)
    return answer_in(body)


def filed(messages: Sequence[Chat], tools: Sequence[Chat] | None) -> bytes:
    """An example that came from a file, as its text is kept."""
    return msgspec.json.encode({"messages": messages, "tools": tools}, order="sorted")


def from_file(body: bytes) -> Spoken:
    """The text of an example that `filed` made."""
    kept: Mapping[str, Any] = msgspec.json.decode(body)
    asked = asked_of(kept["messages"][:-1], kept["tools"])
    return Spoken([*asked.messages, kept["messages"][-1]], asked.tools, asked.prompt)


def asked_of(messages: Sequence[Chat], tools: Sequence[Chat] | None) -> Asked:
    """What messages ask, as if a client had sent them.

    Raises:
        Unusable: As of a request's body.
    """
    fields = {"model": "-", "messages": messages, **({"tools": tools} if tools else {})}
    return asked_in(msgspec.json.encode(fields))


def origin_of_file(messages: Sequence[Chat], tools: Sequence[Chat] | None) -> Origin:
    """The origin of an example that came from a file."""
    return Origin(digest(filed(messages, tools)))
