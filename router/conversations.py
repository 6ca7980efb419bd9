"""Which model each conversation is on, so that its turns stay together and its prompt cache warm.

Invariant: at most `limit` conversations are remembered, the least recently used forgotten first. In
memory only: after a restart a conversation is routed anew.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from stepdown.records import Tier

LIMIT = 10_000


class Conversation(NamedTuple):
    """The key of a conversation: two tenants may use the same id."""

    task: str
    tenant: str
    id: str


class Conversations:
    """Remembers the model of each conversation."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._tiers: OrderedDict[Conversation, Tier] = OrderedDict()

    def pinned(self, conversation: Conversation) -> Tier | None:
        """The model that the conversation is on, or None where it is new or forgotten."""
        tier = self._tiers.get(conversation)
        if tier is not None:
            self._tiers.move_to_end(conversation)
        return tier

    def pin(self, conversation: Conversation, tier: Tier) -> None:
        """Put the conversation on a model."""
        self._tiers[conversation] = tier
        self._tiers.move_to_end(conversation)
        if len(self._tiers) > self._limit:
            self._tiers.popitem(last=False)
