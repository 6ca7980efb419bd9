"""The ways in which a portfolio asks, and the requests that they make of a client's own.

Invariant: what a way does not change goes out as it came, byte for byte. Pure: requests in, bodies out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from router.wire import ChatRequest, upstream_body
from stepdown.settings import CandidateSettings

PICKABLE = frozenset({"json", "images", "files"})
SYSTEM_ROLES = ("system", "developer")

_messages = msgspec.json.Decoder(list[msgspec.Raw])
_message = msgspec.json.Decoder(dict[str, Any])
_seed = msgspec.json.Decoder(int | None)


class Way(NamedTuple):
    """One candidate's way of asking.

    Attributes:
        sample: 0, 1, … among the answers to the same question.
    """

    settings: CandidateSettings
    sample: int


def ways_of(candidates: Sequence[CandidateSettings]) -> tuple[Way, ...]:
    """Every candidate to be asked for, in order of declaration."""
    return tuple(Way(settings, sample) for settings in candidates for sample in range(settings.samples))


def may_be_picked(chat: ChatRequest) -> bool:
    """Whether several answers to a request can be told apart by what they say.

    Not where one answer is several (`n`), calls tools, is heard, or comes with log-probabilities: there a
    client may go on from more than the text of the first choice.
    """
    return chat.prompt.needs <= PICKABLE


def candidate_body(chat: ChatRequest, model: str, way: Way) -> bytes:
    """The body for an upstream, changed in the way's own fashion.

    A client's own `seed` is shifted by the number of the sample, which would be the same answer otherwise.
    """
    return upstream_body(chat._replace(fields={**chat.fields, **_changes(chat.fields, way)}), model)


def _changes(fields: Mapping[str, msgspec.Raw], way: Way) -> dict[str, msgspec.Raw]:
    changes: dict[str, msgspec.Raw] = {}
    if way.settings.system is not None:
        changes["messages"] = with_system(fields["messages"], way.settings.system)
    if way.settings.temperature is not None:
        changes["temperature"] = _raw(way.settings.temperature)
    if way.sample and (seed := _seed_of(fields)) is not None:
        changes["seed"] = _raw(seed + way.sample)
    return changes


def with_system(messages: msgspec.Raw, text: str) -> msgspec.Raw:
    """The messages with a text before their own system message, in one: many templates take no second."""
    first, *others = _messages.decode(messages)
    fields = _message.decode(first)
    if fields.get("role") not in SYSTEM_ROLES:
        return _raw([{"role": "system", "content": text}, first, *others])
    own = fields.get("content")
    if isinstance(own, list):
        fields["content"] = [{"type": "text", "text": text}, *own]
    else:
        fields["content"] = f"{text}\n\n{own}" if own else text
    return _raw([fields, *others])


def _seed_of(fields: Mapping[str, msgspec.Raw]) -> int | None:
    try:
        seed: int | None = _seed.decode(fields.get("seed", b"null"))
        return seed
    except msgspec.ValidationError:  # the upstream will say what is wrong with it
        return None


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
