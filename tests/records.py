"""Records with plausible values, for tests that care about one field of them."""

from __future__ import annotations

from typing import Any

from stepdown.ids import new_id, now
from stepdown.records import Call, Decision, Label, Mode, Reason, Request, Role, Tier, Verdict


def a_request(**changes: Any) -> Request:
    """A request that was answered."""
    values: dict[str, Any] = {
        "id": new_id(),
        "at": now(),
        "task": "default",
        "tenant": "",
        "conversation": None,
        "model_asked": "stepdown",
        "stream": False,
        "prompt_hash": "0" * 32,
        "body": "0" * 64,
        "reference": None,
        "check": None,
        "slice": None,
        "status": 200,
        "latency_ms": 12.5,
    }
    return Request(**{**values, **changes})


def a_decision(**changes: Any) -> Decision:
    """A decision for strong in mode strong."""
    values: dict[str, Any] = {
        "request": new_id(),
        "at": now(),
        "mode": Mode.STRONG,
        "policy": "none",
        "chosen": Tier.STRONG,
        "reason": Reason.MODE_STRONG,
    }
    return Decision(**{**values, **changes})


def a_call(**changes: Any) -> Call:
    """A whole live call of the strong model."""
    values: dict[str, Any] = {
        "id": new_id(),
        "request": new_id(),
        "at": now(),
        "role": Role.LIVE,
        "tier": Tier.STRONG,
        "model": "gpt",
        "status": 200,
        "complete": True,
        "latency_ms": 11.0,
    }
    return Call(**{**values, **changes})


def a_label(**changes: Any) -> Label:
    """A good verdict of a check."""
    values: dict[str, Any] = {
        "subject": new_id(),
        "labeller": "check:number",
        "version": "1",
        "at": now(),
        "verdict": Verdict.GOOD,
        "score": 1.0,
        "evidence": "got 42, wanted 42",
    }
    return Label(**{**values, **changes})
