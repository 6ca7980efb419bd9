"""Edits as candidate training targets: what users made of an answer before they used it.

Invariant: one target a request, its newest edit; a blank edit says that the answer was of no use and is no
target. Nothing here says whether a target is good enough to learn from: similarity is given, not judged.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime

import pandas as pd
from sqlalchemy import select

from evals.feedback import not_superseded, received_call
from evals.metrics.similarity import similarity
from router.wire import read_answer
from stepdown.ledger import Ledger, schema

CHUNK = 200

_f, _r, _c = schema.feedback, schema.requests, schema.calls


@dataclass(frozen=True, slots=True, kw_only=True)
class EditTarget:
    """The newest edit of a request's answer.

    Attributes:
        feedback: Id of the feedback that the edit is.
        request: Id of the request.
        body: Digest of the request's body, in which the prompt is.
        prompt_hash: Of the prompt.
        call: Id of the call whose answer was edited, or None where there was none.
        answer: Text of that answer, or None where it is no longer kept.
        edited: The text that the user really used; never blank.
        similarity: Of the two in [0, 1], or None where they could not be compared.
        at: When the edit came.
    """

    feedback: str
    request: str
    body: str
    prompt_hash: str
    call: str | None
    answer: str | None
    edited: str
    similarity: float | None
    at: datetime


def training_targets(ledger: Ledger, task: str) -> Iterator[EditTarget]:
    """The edits of a task that could be learnt from, the oldest first; read in chunks.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    statement = (
        select(_f.c.id, received_call().label("call"))
        .select_from(_f.join(_r, _r.c.id == _f.c.request))
        .where(_r.c.task == task, _f.c.kind == "edit", not_superseded())
        .order_by(_f.c.at, _f.c.id)
    )
    found = ledger.rows(statement)
    for start in range(0, len(found), CHUNK):
        call_of = {row.id: row.call for row in found[start : start + CHUNK]}
        yield from _targets(ledger, call_of)


def _targets(ledger: Ledger, call_of: dict[str, str | None]) -> Iterator[EditTarget]:
    edits = select(_f.c.id, _f.c.request, _f.c.value, _f.c.at, _r.c.body, _r.c.prompt_hash).select_from(
        _f.join(_r, _r.c.id == _f.c.request)
    )
    rows = ledger.rows(edits.where(_f.c.id.in_(list(call_of))).order_by(_f.c.at, _f.c.id))
    calls = ledger.rows(select(_c.c.id, _c.c.body).where(_c.c.id.in_([c for c in call_of.values() if c])))
    body_of = {call.id: call.body for call in calls if call.body is not None}
    bodies = ledger.bodies(body_of.values())
    for row in rows:
        edited = json.loads(row.value)
        if not edited.strip():
            continue
        call = call_of[row.id]
        body = bodies.get(body_of.get(call or "", ""))
        answer = None if body is None else read_answer(body).text
        common = None if answer is None else similarity(answer, edited)
        yield EditTarget(
            feedback=row.id,
            request=row.request,
            body=row.body,
            prompt_hash=row.prompt_hash,
            call=call,
            answer=answer,
            edited=edited,
            similarity=None if common is None else common.value,
            at=row.at,
        )


def edits_frame(ledger: Ledger, task: str) -> pd.DataFrame:
    """`training_targets` as a table: one row a request, the columns those of `EditTarget`."""
    names = [field.name for field in fields(EditTarget)]
    rows = [[getattr(target, name) for name in names] for target in training_targets(ledger, task)]
    frame = pd.DataFrame(rows, columns=names)
    frame["similarity"] = frame["similarity"].astype(float)
    frame["at"] = pd.to_datetime(frame["at"], utc=True)
    return frame
