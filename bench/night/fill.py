"""Fills a ledger with recorded traffic, as the proxy would have written it in mode shadow.

Invariant: only what a proxy can know is written: prompts, answers, tokens, costs and times. Labels come from
the task's checks, later.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta

import msgspec

from evals.replay.recording import RecordedAnswer, RecordedPair, estimated_tokens
from router.prompt import prompt_hash
from router.wire import read_prompt
from stepdown.ids import new_id
from stepdown.ledger import Body, Ledger, Record
from stepdown.prices import price_of
from stepdown.records import Call, Decision, Mode, Reason, Request, Role, Tier
from stepdown.settings import Settings

BATCH = 200
LATENCY_MS = 500.0  # the recordings were made in batches, and say nothing of times


def of_kinds(pairs: Sequence[RecordedPair], left_out: Collection[str]) -> list[RecordedPair]:
    """The pairs but those of some kinds of query."""
    return [pair for pair in pairs if pair.slice not in left_out]


def fill(
    ledger: Ledger,
    settings: Settings,
    task: str,
    pairs: Sequence[RecordedPair],
    *,
    until: datetime,
    over: timedelta,
) -> None:
    """Write the pairs as requests of a task, spread evenly over the time before a moment.

    Args:
        ledger: Where to.
        settings: Whose models the answers are booked on, at their prices.
        task: Name of the task.
        pairs: What was asked and answered.
        until: When the last request came.
        over: How long before that the first one did.

    Raises:
        LedgerError: The ledger refused.
    """
    waiting: list[Record] = []
    for number, pair in enumerate(pairs):
        at = until - over * (1 - number / len(pairs))
        waiting += _records(settings, task, pair, at)
        if len(waiting) >= BATCH:
            ledger.append(waiting)
            waiting = []
    ledger.append(waiting)


def _records(settings: Settings, task: str, pair: RecordedPair, at: datetime) -> Iterator[Record]:
    content = msgspec.json.encode({"model": "stepdown", "messages": pair.messages, "temperature": 0.0})
    body = Body.of(content)
    name = new_id()
    yield body
    yield Request(
        id=name,
        at=at,
        task=task,
        tenant="",
        conversation=None,
        model_asked="stepdown",
        stream=False,
        prompt_hash=prompt_hash(read_prompt(content)),
        body=body.digest,
        reference=None if pair.reference is None else msgspec.json.encode(pair.reference).decode(),
        check=pair.check,
        slice=pair.slice,
        status=200,
        latency_ms=LATENCY_MS,
    )
    yield Decision(
        request=name,
        at=at,
        mode=Mode.SHADOW,
        policy="none",
        chosen=Tier.STRONG,
        reason=Reason.MODE_SHADOW,
        shadowed=True,
    )
    for tier, role in ((Tier.STRONG, Role.LIVE), (Tier.SMALL, Role.SHADOW)):
        yield from _call(settings, task, pair, tier, role, name, at)


def _call(
    settings: Settings, task: str, pair: RecordedPair, tier: Tier, role: Role, request: str, at: datetime
) -> Iterator[Record]:
    declared = settings.tasks[task]
    model = settings.models[declared.strong if tier is Tier.STRONG else declared.small or ""]
    answer = pair.answers[tier]
    read = answer.prompt_tokens or estimated_tokens(pair.prompt.text)
    written = answer.completion_tokens or estimated_tokens(answer.text)
    price = price_of(model)
    body = Body.of(_answer_body(answer, model.model, read, written))
    yield body
    yield Call(
        id=new_id(),
        request=request,
        at=at,
        role=role,
        tier=tier,
        model=model.model,
        status=200,
        complete=True,
        latency_ms=LATENCY_MS,
        prompt_tokens=read,
        completion_tokens=written,
        cost_usd_micros=None if price is None else price.cost_usd_micros(read, written),
        finish_reason=answer.finish_reason,
        body=body.digest,
    )


def _answer_body(answer: RecordedAnswer, model: str, read: int, written: int) -> bytes:
    message = {"role": "assistant", "content": answer.text}
    return msgspec.json.encode(
        {
            "object": "chat.completion",
            "model": model,
            "choices": [{"index": 0, "message": message, "finish_reason": answer.finish_reason}],
            "usage": {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written},
        }
    )
