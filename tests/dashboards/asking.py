"""Requests for a ledger, as the proxy leaves them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from stepdown.ids import digest
from stepdown.ledger import Body
from stepdown.ledger.store import Record
from stepdown.records import Label, Mode, Reason, Role, Tier, Verdict
from tests.fakes import completion
from tests.records import a_call, a_decision, a_label, a_request

START = datetime(2026, 11, 1, tzinfo=UTC)
SCORES = {"p_strong": 0.9, "p_small": 0.8, "gain": 0.1, "threshold": 0.05}


def chat(prompt: str, **fields: Any) -> bytes:
    """A chat request's body."""
    return json.dumps(
        {"model": "stepdown", "messages": [{"role": "user", "content": prompt}], **fields}
    ).encode()


def asked(
    number: int,
    prompt: str = "What is it?",
    answer: str | bytes = "It is this.",
    *,
    at: datetime | None = None,
    task: str = "default",
    tier: Tier = Tier.STRONG,
    reason: Reason = Reason.MODE_STRONG,
    mode: Mode = Mode.STRONG,
    body: bytes | None = None,
    cost: int | None = 100,
    verdict: Verdict | None = None,
    labeller: str = "check:exact",
    shadow: str | None = None,
    student: str | None = None,
    decided: bool = True,
    decision: dict[str, Any] | None = None,
    call: dict[str, Any] | None = None,
    **request: Any,
) -> list[Record]:
    """The records of one request, whose id and time follow from its number."""
    at = at or START + timedelta(seconds=number)
    sent = Body.of(chat(prompt) if body is None else body)
    name = f"request-{number:06}"
    hashed = digest(prompt.encode())[:32]
    own = {"id": name, "at": at, "task": task, "prompt_hash": hashed, "body": sent.digest, "latency_ms": 12.0}
    records: list[Record] = [a_request(**{**own, **request}), sent]
    if decided:
        scores = SCORES if mode is Mode.ROUTE else {}
        made = {"mode": mode, "chosen": tier, "reason": reason, "student": student, **scores}
        records.append(a_decision(request=name, at=at, **{**made, **(decision or {})}))
        records += _called(f"call-{number:06}", name, at, Role.LIVE, tier, answer, cost, call or {})
    if shadow is not None:
        other = Tier.SMALL if tier is Tier.STRONG else Tier.STRONG
        records += _called(f"shadow-{number:06}", name, at, Role.SHADOW, other, shadow, 7, {})
    if verdict is not None:
        records.append(label(f"call-{number:06}", verdict, labeller))
    return records


def _called(
    name: str,
    request: str,
    at: datetime,
    role: Role,
    tier: Tier,
    answer: str | bytes,
    cost: int | None,
    more: dict[str, Any],
) -> Sequence[Record]:
    got = Body.of(completion(answer) if isinstance(answer, str) else answer)
    fields = {
        "model": "big" if tier is Tier.STRONG else "little",
        "latency_ms": 10.0,
        "ttft_ms": 5.0,
        "prompt_tokens": 7,
        "completion_tokens": 3,
        "cost_usd_micros": cost,
        "finish_reason": "stop",
        "body": got.digest,
        **more,
    }
    return [a_call(id=name, request=request, at=at, role=role, tier=tier, **fields), got]


def label(subject: str, verdict: Verdict, labeller: str = "check:exact", **more: Any) -> Label:
    """A label of a call."""
    own = {"at": START, "evidence": "as it should be", **more}
    return a_label(subject=subject, labeller=labeller, verdict=verdict, **own)
