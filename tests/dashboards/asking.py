"""Requests for a ledger, as the proxy leaves them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from stepdown.ids import digest
from stepdown.ledger import Body
from stepdown.ledger.store import Record
from stepdown.records import Call, Decision, Label, Mode, Reason, Request, Role, Tier, Verdict
from tests.fakes import completion

START = datetime(2026, 11, 1, tzinfo=UTC)


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
    fields: dict[str, Any] = {
        "id": name,
        "at": at,
        "task": task,
        "tenant": "",
        "conversation": None,
        "model_asked": "stepdown",
        "stream": False,
        "prompt_hash": digest(prompt.encode())[:32],
        "body": sent.digest,
        "reference": None,
        "check": None,
        "slice": None,
        "status": 200,
        "latency_ms": 12.0,
    }
    records: list[Record] = [Request(**{**fields, **request}), sent]
    if decided:
        scores = (
            {"p_strong": 0.9, "p_small": 0.8, "gain": 0.1, "threshold": 0.05} if mode is Mode.ROUTE else {}
        )
        made = {
            "policy": "none",
            "chosen": tier,
            "reason": reason,
            "student": student,
            **scores,
            **(decision or {}),
        }
        records.append(Decision(request=name, at=at, mode=mode, **made))
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
        "status": 200,
        "complete": True,
        "latency_ms": 10.0,
        "ttft_ms": 5.0,
        "prompt_tokens": 7,
        "completion_tokens": 3,
        "cost_usd_micros": cost,
        "finish_reason": "stop",
        "body": got.digest,
        **more,
    }
    return [Call(id=name, request=request, at=at, role=role, tier=tier, **fields), got]


def label(subject: str, verdict: Verdict, labeller: str = "check:exact", **more: Any) -> Label:
    """A label of a call."""
    fields: dict[str, Any] = {
        "version": "1",
        "at": START,
        "score": 1.0,
        "evidence": "as it should be",
        **more,
    }
    return Label(subject=subject, labeller=labeller, verdict=verdict, **fields)
