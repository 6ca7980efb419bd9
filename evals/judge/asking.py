"""Puts one question to a judge.

Invariant: it ends in bounded time, and whatever came of it is a call that says which question it put.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from evals.judge.history import call_id, new_round
from evals.judge.judges import Judge
from router.ask import Asked, Asker
from stepdown.ids import now
from stepdown.records import Call, Role, Tier

ASK_LIMIT_S = 300.0  # for one question with all its tries, so that a judge that hangs does not hang a sweep


async def put(asker: Asker, judge: Judge, fields: Mapping[str, Any], request: str, question: str) -> Asked:
    """Ask a judge one question.

    Args:
        asker: Asks the judge's model, again where that may help.
        judge: Who is asked.
        fields: What is asked.
        request: On whose bill it is.
        question: Its name; the ids of the calls begin with it.
    """
    at, started = now(), time.monotonic()
    try:
        async with asyncio.timeout(ASK_LIMIT_S):
            asked = await asker.ask(judge.settings.model, fields, request=request)
    except TimeoutError:
        asked = _broken_off(judge, request, at, time.monotonic() - started)
    round_ = new_round()
    calls = tuple(replace(call, id=call_id(question, round_, i)) for i, call in enumerate(asked.calls))
    return replace(asked, calls=calls)


def _broken_off(judge: Judge, request: str, at: datetime, waited_s: float) -> Asked:
    error = f"no answer within {waited_s:.0f} s, all tries together"
    call = Call(
        id="",
        request=request,
        at=at,
        role=Role.JUDGE,
        tier=Tier.STRONG,
        model=judge.model.model,
        status=0,
        complete=False,
        latency_ms=waited_s * 1000,
        error=error,
    )
    return Asked((call,), (), None, error)


def cost_of(calls: Iterable[Call]) -> int:
    """What calls cost, as far as it is known."""
    return sum(call.cost_usd_micros or 0 for call in calls)
