"""Traffic for tests that need a ledger with something in it, written as the proxy writes it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from router.prompt import prompt_hash
from router.wire import read_prompt
from stepdown.ids import new_id, now
from stepdown.ledger import Body, Ledger, Record
from stepdown.records import Call, Request, Role, Tier


@dataclass(frozen=True)
class Answered:
    """Ids of what `answered` wrote."""

    request: str
    call: str
    shadow: str
    body: str


def chat_body(prompt: str) -> bytes:
    """A chat request with one user message."""
    return json.dumps({"model": "stepdown", "messages": [{"role": "user", "content": prompt}]}).encode()


def completion_body(text: str) -> bytes:
    """A chat completion with one choice."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return json.dumps({"object": "chat.completion", "choices": [choice]}).encode()


def prompt_key(body: bytes) -> str:
    """The hash under which a request's prompt is kept."""
    return prompt_hash(read_prompt(body))


def answered(
    ledger: Ledger,
    task: str,
    prompt: str,
    text: str,
    *,
    reference: str | None = None,
    check: str | None = None,
    shadow: str | None = None,
    status: int = 200,
    complete: bool = True,
    body: bytes | None = None,
) -> Answered:
    """Write a request that strong answered, and the small model in its shadow where `shadow` is given."""
    asked = Body.of(chat_body(prompt))
    request = Request(
        id=new_id(),
        at=now(),
        task=task,
        tenant="",
        conversation=None,
        model_asked="stepdown",
        stream=False,
        prompt_hash=prompt_key(asked.content),
        body=asked.digest,
        reference=reference,
        check=check,
        slice=None,
        status=status,
        latency_ms=1.0,
    )
    live = Body.of(body or completion_body(text))
    call = _call(request.id, Role.LIVE, Tier.STRONG, live, status, complete)
    records: list[Record] = [asked, request, live, call]
    if shadow is not None:
        unseen = Body.of(completion_body(shadow))
        records += [unseen, _call(request.id, Role.SHADOW, Tier.SMALL, unseen, 200, True)]
    ledger.append(records)
    return Answered(request.id, call.id, records[-1].id if isinstance(records[-1], Call) else "", live.digest)


def _call(request: str, role: Role, tier: Tier, body: Body, status: int, complete: bool) -> Call:
    return Call(
        id=new_id(),
        request=request,
        at=now(),
        role=role,
        tier=tier,
        model=tier.value,
        status=status,
        complete=complete,
        latency_ms=1.0,
        prompt_tokens=10,
        completion_tokens=5,
        cost_usd_micros=100,
        body=body.digest,
    )
