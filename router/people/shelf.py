"""Reads the items of a task's labelling queue for one person.

Invariant: nobody is shown what they have labelled or skipped, and an item says nothing of which model, which
tier or which labeller stands behind it. Reads only what the workers ranked; it ranks nothing itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Row, and_, func, select

from router.people.item import LABELS, Answers, answers_of, item_id, request_in, shown_order
from router.wire import parse_chat, read_answer
from stepdown.errors import BadRequest
from stepdown.labellers import Kind, labeller_name
from stepdown.ledger import Ledger, schema

LOOKS = 5  # pages looked at for one that is full, where items cannot be shown

_q, _r, _c, _a, _l = schema.label_queue, schema.requests, schema.calls, schema.answers, schema.labels


class ShownCall(msgspec.Struct, frozen=True):
    """A tool that an answer calls; without its id, which may tell whose it is."""

    name: str
    arguments: str


class ShownAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """One answer of an item."""

    label: str
    text: str
    tool_calls: tuple[ShownCall, ...] = ()
    refusal: str = ""


class Item(msgspec.Struct, frozen=True, omit_defaults=True):
    """One item as a person is shown it.

    Attributes:
        prompt: All text of the messages, in order.
        messages: The messages as they were sent; likewise the tools.
        reference: Only where it was asked for: it sways who sees it.
    """

    id: str
    task: str
    kind: str
    verdicts: tuple[str, ...]
    prompt: str
    messages: msgspec.Raw
    answers: tuple[ShownAnswer, ...]
    tools: msgspec.Raw | None = None
    reference: msgspec.Raw | None = None


class Page(NamedTuple):
    """Some items, and how many wait for this person in all."""

    items: list[Item]
    waiting: int


def read_page(ledger: Ledger, task: str, annotator: str, limit: int, *, with_reference: bool = False) -> Page:
    """The first items of the queue that this person has not labelled; those that are unreadable are left out.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    items: list[Item] = []
    after = 0
    for _ in range(LOOKS):
        rows = ledger.rows(_unlabelled(task, annotator).order_by(_q.c.priority).offset(after).limit(limit))
        items += _items(ledger, rows, annotator, with_reference)
        after += limit
        if len(items) >= limit or len(rows) < limit:
            break
    count = select(func.count()).select_from(_unlabelled(task, annotator).subquery())
    return Page(items[:limit], int(ledger.rows(count)[0][0]))


def read_item(ledger: Ledger, item: str, annotator: str, *, with_reference: bool = False) -> Item | None:
    """One item by its id, though this person has labelled it; None where it is not what it was when served.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    if not (item.isascii() and item.isprintable()):
        return None
    rows = ledger.rows(_requests(_r).where(_r.c.id == request_in(item)))
    found = _items(ledger, rows, annotator, with_reference)
    return next((one for one in found if one.id == item), None)


def _unlabelled(task: str, annotator: str) -> Any:
    labelled = select(_l.c.subject).where(
        _l.c.subject.in_((_q.c.strong_call, _q.c.small_call)),
        _l.c.labeller == labeller_name(Kind.PERSON, annotator),
    )
    queued = _requests(_q.join(_r, _r.c.id == _q.c.request))
    return queued.where(_q.c.task == task, _r.c.task == task, ~labelled.correlate(_q).exists())


def _requests(those: Any) -> Any:
    """Requests with what an item needs of them, their reference from wherever there is one."""
    answer_file = and_(_a.c.task == _r.c.task, _a.c.prompt_hash == _r.c.prompt_hash)
    reference = func.coalesce(_r.c.reference, _a.c.reference).label("reference")
    return select(_r.c.id, _r.c.task, _r.c.body, reference).select_from(those.outerjoin(_a, answer_file))


def _items(ledger: Ledger, rows: Sequence[Row[Any]], annotator: str, with_reference: bool) -> list[Item]:
    calls: dict[str, list[Row[Any]]] = defaultdict(list)
    for call in ledger.rows(select(_c).where(_c.c.request.in_([row.id for row in rows]))):
        calls[call.request].append(call)
    answers = {row.id: answers_of(calls[row.id]) for row in rows}
    body_of = {call.id: call.body for found in calls.values() for call in found}
    shown = [body_of[call] for found in answers.values() for call in found.calls.values()]
    bodies = ledger.bodies([row.body for row in rows] + shown)
    return [
        item
        for row in rows
        if (item := _item(row, answers[row.id], annotator, body_of, bodies, with_reference)) is not None
    ]


def _item(
    row: Row[Any],
    answers: Answers,
    annotator: str,
    body_of: Mapping[str, str],
    bodies: Mapping[str, bytes],
    with_reference: bool,
) -> Item | None:
    """The item, or None where a text that belongs to it is gone or was never there."""
    order = shown_order(annotator, answers)
    if not order or any(body_of[call] not in bodies for call in order) or row.body not in bodies:
        return None
    try:
        chat = parse_chat(bodies[row.body])
    except BadRequest:
        return None
    return Item(
        id=item_id(row.id, answers),
        task=row.task,
        kind=answers.kind,
        verdicts=answers.verdicts,
        prompt=chat.prompt.text,
        messages=chat.fields["messages"],
        tools=chat.fields.get("tools"),
        answers=tuple(
            _shown(label, bodies[body_of[call]]) for label, call in zip(LABELS, order, strict=False)
        ),
        reference=msgspec.Raw(row.reference) if with_reference and row.reference is not None else None,
    )


def _shown(label: str, body: bytes) -> ShownAnswer:
    answer = read_answer(body)
    calls = tuple(ShownCall(call.name, call.arguments) for call in answer.tool_calls)
    return ShownAnswer(label, answer.text, calls, answer.refusal)
