"""Requests with their answers in a ledger, as the proxy writes them: for tests of what people say of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from router.prompt import prompt_hash
from router.wire import read_prompt
from stepdown.ids import new_id, tenant_of
from stepdown.ledger import Body, Ledger, Record, schema
from stepdown.records import Role, Tier
from tests.fakes import completion
from tests.records import a_call, a_decision, a_request

MODELS = {Tier.STRONG: "gpt-sekrit", Tier.SMALL: "mini-sekrit"}


def chat_body(prompt: str, **fields: Any) -> bytes:
    """A chat request's body."""
    return json.dumps(
        {"model": MODELS[Tier.STRONG], "messages": [{"role": "user", "content": prompt}], **fields}
    ).encode()


def call_with(request: str, tier: Tier, text: str | None, **changes: Any) -> list[Record]:
    """A whole call and its body; no text is no body."""
    role = Role.LIVE if tier is Tier.STRONG else Role.SHADOW
    body = None if text is None else Body.of(completion(text, model=MODELS[tier]))
    digest = None if body is None else body.digest
    values = {"request": request, "tier": tier, "model": MODELS[tier], "role": role, "body": digest}
    call: Record = a_call(**{**values, **changes})
    return [call] if body is None else [call, body]


def answered(
    ledger: Ledger,
    prompt: str = "hello",
    strong: str | None = "strong says",
    small: str | None = None,
    *,
    key: str = "",
    decision: dict[str, Any] | None = None,
    more: Sequence[Record] = (),
    **changes: Any,
) -> str:
    """Write a request, its decision and the answers that are given; returns its id."""
    name = str(changes.pop("id", new_id()))
    body = chat_body(prompt)
    values = {
        "id": name,
        "body": Body.of(body).digest,
        "prompt_hash": prompt_hash(read_prompt(body)),
        "tenant": tenant_of(key),
    }
    records: list[Record] = [Body.of(body), a_request(**{**values, **changes}), *more]
    records.append(a_decision(request=name, **(decision or {})))
    for tier, text in ((Tier.STRONG, strong), (Tier.SMALL, small)):
        if text is not None:
            records += call_with(name, tier, text)
    ledger.append(records)
    return name


def calls_by_tier(ledger: Ledger, request: str) -> dict[str, str]:
    """The ids of a request's calls by tier."""
    table = schema.calls
    return {row.tier: row.id for row in ledger.rows(select(table).where(table.c.request == request))}


def labels_in(ledger: Ledger) -> list[Any]:
    """All labels, in the order of their making."""
    table = schema.labels
    return list(ledger.rows(select(table).order_by(table.c.at, table.c.subject)))


def feedback_in(ledger: Ledger) -> list[Any]:
    """All feedback, in the order of its coming."""
    table = schema.feedback
    return list(ledger.rows(select(table).order_by(table.c.at, table.c.kind)))


def forget_body(ledger: Ledger, call: str) -> None:
    """Delete an answer's text, as the end of its retention does."""
    bodies, calls = schema.bodies, schema.calls
    found = select(calls.c.body).where(calls.c.id == call).scalar_subquery()
    with ledger.writing() as connection:
        connection.execute(bodies.delete().where(bodies.c.digest == found))
