"""Keeps what a person said of an item, as labels of its calls.

Invariant: one transaction; the same verdict sent twice changes nothing, a changed mind is a newer label, and
two proxies that are told at once wait for one another. A verdict is for the very answers that were shown: if
the request has others by now, it is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, select

from router.people.item import SKIPPED, Answers, Given, Said, answers_of, given, item_id, request_in
from router.people.votes import PERSON_PREFIX, Vote, enough
from stepdown.errors import BadRequest
from stepdown.ids import now
from stepdown.labellers import Kind, labeller_name
from stepdown.ledger import Ledger, schema
from stepdown.records import Label
from stepdown.settings import TaskSettings

MAX_ITEM = 100
TICK = timedelta(microseconds=1)
SKIPPED_WORD = "skipped"
_seconds = re.compile(r" \(in [\d.e+-]+ s\)$")
_c, _r, _l, _q = schema.calls, schema.requests, schema.labels, schema.label_queue


class NoSuchItem(BadRequest):
    """There is no such item."""

    status = 404


class StaleItem(BadRequest):
    """The item is not what it was when it was served."""

    status = 409


@dataclass(frozen=True, slots=True)
class Statement:
    """What a person said.

    Attributes:
        item: Id of the item, as it was served.
        task: The task that they take it to be of, or None.
        seconds: How long they took, or None.
    """

    item: str
    annotator: str
    said: Said
    task: str | None = None
    comment: str | None = None
    seconds: float | None = None


def keep_verdict(ledger: Ledger, tasks: Mapping[str, TaskSettings], statement: Statement) -> bool:
    """Keep a verdict. Whether it was news.

    An item that enough people have labelled leaves the queue at once, not only when it is next ranked.

    Raises:
        NoSuchItem: There is no such item.
        StaleItem: It is of another task, or its answers are others now.
        BadRequest: The verdict is not one for this kind of item.
        LedgerError: The ledger refused; nothing was kept.
    """
    request = request_in(statement.item)
    if not (request and statement.item.isascii() and statement.item.isprintable()):
        raise _unknown(statement)
    with ledger.writing() as connection:
        task = _lock(connection, request, statement)
        answers = answers_of(connection.execute(select(_c).where(_c.c.request == request)).all())
        _check(statement, request, answers)
        labels = _labels_of(connection, answers)
        new = _new_labels(statement, answers, labels)
        ledger.add(connection, new)
        votes = [Vote(*(getattr(label, name) for name in Vote._fields)) for label in (*labels, *new)]
        if enough(votes, tasks[task].annotators if task in tasks else 1):
            connection.execute(delete(_q).where(_q.c.request == request))
    return bool(new)


def _lock(connection: Connection, request: str, statement: Statement) -> str:
    """The request's task; until the end of the transaction nobody else labels this request."""
    found = connection.execute(select(_r.c.task).where(_r.c.id == request).with_for_update()).first()
    if found is None:
        raise _unknown(statement)
    task: str = found.task
    if statement.task is not None and statement.task != task:
        raise StaleItem(
            f"item {statement.item!r} is of task {task!r}, not {statement.task!r:.100}; leave task out",
            param="task",
            code="wrong_task",
        )
    return task


def _unknown(statement: Statement) -> NoSuchItem:
    return NoSuchItem(
        f"item {statement.item!r:.120} is not known; ids are those of GET /v1/labels/queue",
        param="id",
        code="item_not_found",
    )


def _check(statement: Statement, request: str, answers: Answers) -> None:
    if not answers.calls or item_id(request, answers) != statement.item:
        why = "has other answers by now" if answers.calls else "has no whole answer any more"
        raise StaleItem(
            f"item {statement.item!r} {why}; nothing was kept, fetch the queue again",
            param="id",
            code="item_changed",
        )
    if statement.said not in answers.verdicts:
        raise BadRequest(
            f"verdict = {statement.said!r} is not for a {answers.kind} item; take one of "
            f"{', '.join(answers.verdicts)}",
            param="verdict",
        )


def _labels_of(connection: Connection, answers: Answers) -> Sequence[Row[Any]]:
    """All labels that people gave these answers."""
    statement = select(_l).where(
        _l.c.subject.in_(list(answers.calls.values())),
        _l.c.labeller.startswith(PERSON_PREFIX, autoescape=True),
    )
    return connection.execute(statement).all()


def _new_labels(statement: Statement, answers: Answers, labels: Sequence[Row[Any]]) -> list[Label]:
    """The labels to add: none where the person's newest ones say the same."""
    labeller = labeller_name(Kind.PERSON, statement.annotator)
    own = [label for label in labels if label.labeller == labeller]
    meant = given(statement.said, statement.annotator, answers)
    words = {call: _evidence(statement, answers, call, meant[call]) for call in meant}
    if _said_already(own, meant, words):
        return []
    at = max([now(), *(label.at + TICK for label in own)])
    version = _next_version({label.version for label in own})
    return [
        Label(
            subject=call,
            labeller=labeller,
            version=version,
            at=at,
            verdict=meaning.verdict,
            score=meaning.score,
            evidence=words[call],
        )
        for call, meaning in meant.items()
    ]


def _said_already(own: Sequence[Row[Any]], meant: Mapping[str, Given], words: Mapping[str, str]) -> bool:
    last = {label.subject: label for label in sorted(own, key=lambda label: (label.at, label.version))}
    return all(
        call in last
        and (last[call].verdict, last[call].score) == tuple(meaning)
        and _without_time(last[call].evidence) == _without_time(words[call])
        for call, meaning in meant.items()
    )


def _next_version(taken: set[str]) -> str:
    number = len(taken) + 1
    while str(number) in taken:
        number += 1
    return str(number)


def _evidence(statement: Statement, answers: Answers, call: str, meaning: Given) -> str:
    """What the person said of this call, in words; their comment and how long they took."""
    if meaning == SKIPPED:
        words = SKIPPED_WORD
    elif answers.kind == "single":
        words = f"found {meaning.verdict}"
    else:
        other = next(other for other in answers.calls.values() if other != call)
        result = {"tie": "as good as", "bad": "bad, and so is"}.get(
            statement.said, "better than" if meaning.score else "worse than"
        )
        words = f"{result} {other}"
    comment = "" if statement.comment is None else f": {statement.comment}"
    took = "" if statement.seconds is None else f" (in {statement.seconds:g} s)"
    return f"{words}{comment}".replace("\x00", "\ufffd") + took  # PostgreSQL keeps no NUL in a text


def _without_time(evidence: str) -> str:
    return _seconds.sub("", evidence)
