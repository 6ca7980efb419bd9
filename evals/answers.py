"""Answer files: references for prompts, uploaded apart from the traffic.

Invariant: an upload is one transaction, so either every line of the file is in force or none, and no
label outlives the reference that it was made with.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, or_, select

from router.prompt import ChatView, Message, prompt_hash, prompt_of
from stepdown.errors import RecordingError
from stepdown.ids import now
from stepdown.labellers import Kind, labeller_name
from stepdown.ledger import Ledger, schema

CHUNK = 500
GUIDED = (Kind.CHECK, Kind.JUDGE)  # by a reference, where there is one


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of an answer file.

    Attributes:
        reference: The right answer, in the form that the check compares with; any JSON value.
        prompt: Text of a single user message; or else `messages`, as in a chat request.
        check: Name of the task's check that applies, instead of the task's default.
    """

    reference: Any
    prompt: str | None = None
    messages: list[Message] | None = None
    check: str | None = None


@dataclass(frozen=True, slots=True)
class UploadCounts:
    """What an upload changed.

    Attributes:
        added: Prompts that had no reference before.
        changed: Prompts whose reference or check is another one now.
        unchanged: Prompts for which the file says what was known.
        relabel: Labels taken back, because they were made with what is no longer the reference.
    """

    added: int
    changed: int
    unchanged: int
    relabel: int


@dataclass(frozen=True, slots=True)
class Reference:
    """What is kept for a prompt: JSON text of the reference, and the check's name."""

    reference: str
    check: str | None


def upload_answers(ledger: Ledger, task: str, rows: Iterable[str | bytes]) -> UploadCounts:
    """Keep the references of an answer file, and take back the labels that they make stale.

    Args:
        ledger: Where to keep them.
        task: The task whose prompts they are for.
        rows: The file's lines, each a JSON object `{"prompt" or "messages", "reference", "check"?}`.

    Raises:
        RecordingError: A line cannot be used, or contradicts an earlier one; names its number.
        LedgerError: The ledger refused. In either case nothing was changed.
    """
    given = read_answers(rows)
    with ledger.writing() as connection:
        known = _known(connection, task, list(given))
        added = [h for h in given if h not in known]
        changed = [h for h in given if h in known and known[h] != given[h]]
        _forget(connection, task, changed)
        _write(connection, task, {h: given[h] for h in added + changed})
        relabel = _take_back_labels(connection, task, added + changed)
    return UploadCounts(len(added), len(changed), len(given) - len(added) - len(changed), relabel)


def read_answers(rows: Iterable[str | bytes]) -> dict[str, Reference]:
    """The references of an answer file by prompt hash.

    Raises:
        RecordingError: A line cannot be used, or contradicts an earlier one; names its number.
    """
    found: dict[str, Reference] = {}
    first_seen: dict[str, int] = {}
    for number, row in enumerate(rows, start=1):
        if not row.strip():
            continue
        line = _line(number, row)
        key, reference = _key(line), Reference(json.dumps(line.reference, sort_keys=True), line.check)
        if found.setdefault(key, reference) != reference:
            raise RecordingError(
                f"line {number}: another answer for the prompt of line {first_seen[key]}; keep one of them"
            )
        first_seen.setdefault(key, number)
    return found


def _line(number: int, row: str | bytes) -> Line:
    try:
        line = msgspec.json.decode(row, type=Line)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise RecordingError(f"line {number}: {error}, got {row[:100]!r}") from error
    if (line.prompt is None) == (line.messages is None):
        raise RecordingError(f"line {number}: give either prompt or messages, got {row[:100]!r}")
    if line.messages == []:
        raise RecordingError(f"line {number}: messages is empty; give at least one message")
    if line.reference is None:
        raise RecordingError(f"line {number}: reference is null; give the right answer or no line")
    return line


def _key(line: Line) -> str:
    messages = line.messages or [Message(role="user", content=line.prompt)]
    return prompt_hash(prompt_of(ChatView(model="-", messages=messages)))


def _chunks(hashes: Sequence[str]) -> Iterator[Sequence[str]]:
    return (hashes[start : start + CHUNK] for start in range(0, len(hashes), CHUNK))


def _known(connection: Connection, task: str, hashes: Sequence[str]) -> dict[str, Reference]:
    table = schema.answers
    return {
        row.prompt_hash: Reference(row.reference, row.check)
        for chunk in _chunks(hashes)
        for row in connection.execute(
            select(table).where(table.c.task == task, table.c.prompt_hash.in_(chunk))
        )
    }


def _forget(connection: Connection, task: str, hashes: Sequence[str]) -> None:
    table = schema.answers
    for chunk in _chunks(hashes):
        connection.execute(delete(table).where(table.c.task == task, table.c.prompt_hash.in_(chunk)))


def _write(connection: Connection, task: str, references: dict[str, Reference]) -> None:
    at = now()
    rows = [
        {"task": task, "prompt_hash": key, "at": at, "reference": kept.reference, "check": kept.check}
        for key, kept in references.items()
    ]
    if rows:
        connection.execute(schema.answers.insert(), rows)


def _take_back_labels(connection: Connection, task: str, hashes: Sequence[str]) -> int:
    """Delete checks' and judges' labels of all answers to these prompts; the next sweeps make them anew."""
    requests, calls, labels = schema.requests, schema.calls, schema.labels
    deleted = 0
    for chunk in _chunks(hashes):
        subjects = (
            select(calls.c.id)
            .join(requests, requests.c.id == calls.c.request)
            .where(requests.c.task == task, requests.c.prompt_hash.in_(chunk))
        )
        guided = (labels.c.labeller.startswith(labeller_name(kind, ""), autoescape=True) for kind in GUIDED)
        deleted += connection.execute(
            delete(labels).where(or_(*guided), labels.c.subject.in_(subjects))
        ).rowcount
    return deleted
