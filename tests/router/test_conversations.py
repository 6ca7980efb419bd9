"""Conversations: remembered, and forgotten in order."""

from __future__ import annotations

from router.conversations import Conversation, Conversations
from stepdown.records import Tier


def talk(name: str, tenant: str = "") -> Conversation:
    return Conversation("default", tenant, name)


def test_the_least_recently_used_is_forgotten_first() -> None:
    known = Conversations(limit=2)
    known.pin(talk("a"), Tier.SMALL)
    known.pin(talk("b"), Tier.STRONG)
    assert known.pinned(talk("a")) is Tier.SMALL
    known.pin(talk("c"), Tier.SMALL)
    assert [known.pinned(talk(name)) for name in "abc"] == [Tier.SMALL, None, Tier.SMALL]


def test_a_conversation_can_move() -> None:
    known = Conversations()
    known.pin(talk("a"), Tier.SMALL)
    known.pin(talk("a"), Tier.STRONG)
    assert known.pinned(talk("a")) is Tier.STRONG


def test_tenants_do_not_share_conversations() -> None:
    known = Conversations()
    known.pin(talk("a", "alice"), Tier.SMALL)
    assert known.pinned(talk("a", "bob")) is None
