"""One request with all that the ledger knows of it.

Invariant: every row is found by a key or by the index of its request, and a body that is gone or corrupt is a
`Content` that says so. A body is read whole only where it is no larger than `LONGEST_READ`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Table, select

from dashboards.queries.filters import Held
from dashboards.queries.lines import answer_given, held_of
from dashboards.queries.reads import Reads, reading
from evals.verdicts import LabelRow
from stepdown.errors import LedgerError
from stepdown.ledger import Ledger, schema
from stepdown.ledger.bodies import decompress
from stepdown.records import Promotion, Role, Tier
from stepdown.registry import Registry

LONGEST_READ = 25_000_000  # bytes

AnyRow = Row[Any]


@dataclass(frozen=True, slots=True)
class Content:
    """A body, or why it is not there.

    Attributes:
        name: Its digest; None where there never was one.
        content: The bytes; None where they cannot be shown.
        why: Why they cannot; empty where they can.
    """

    name: str | None
    content: bytes | None
    why: str = ""
    size: int = 0


@dataclass(frozen=True, slots=True)
class Told:
    """One call with its labels, the newest first.

    Attributes:
        held: What they say together.
    """

    call: AnyRow
    labels: Sequence[AnyRow]
    held: Held


@dataclass(frozen=True, slots=True)
class Whole:
    """One request in full.

    Attributes:
        decision: None where nothing was decided.
        calls: In order of time.
        answer: The call whose answer the client received; None where it received none.
        other: The other model's answer to the same prompt, unseen by the client; None where there is none.
        reference: What a check compares with, and the check's name: the request's own, or the uploaded one's.
        in_force: The promotion by which the task was as it was; None before the first.
        alike: Requests of the task with the same prompt, this one included, counted up to `MOST_ALIKE`.
    """

    request: AnyRow
    decision: AnyRow | None
    calls: Sequence[Told]
    answer: Told | None
    other: Told | None
    feedback: Sequence[AnyRow]
    reference: str | None
    check: str | None
    uploaded: bool
    in_force: Promotion | None
    alike: int


MOST_ALIKE = 100


def whole_request(ledger: Ledger, name: str) -> Whole | None:
    """A request by its id; None where there is none.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    with reading(ledger) as reads:
        found = _rows(reads, schema.requests, "id", name)
        if not found:
            return None
        history = Registry(ledger).history(found[0].task)
        return _whole(reads, found[0], [one for one in history if one.at <= found[0].at])


def _whole(reads: Reads, request: AnyRow, promotions: Sequence[Promotion]) -> Whole:
    decisions = _rows(reads, schema.decisions, "request", request.id)
    rows = sorted(_rows(reads, schema.calls, "request", request.id), key=lambda row: (row.at, row.id))
    calls = _told(reads, rows)
    answer = answer_given(rows)
    given = next((told for told in calls if answer is not None and told.call.id == answer.id), None)
    reference = _reference(reads, request)
    return Whole(
        request=request,
        decision=decisions[0] if decisions else None,
        calls=calls,
        answer=given,
        other=_other(calls, given),
        feedback=sorted(_rows(reads, schema.feedback, "request", request.id), key=lambda row: row.at),
        reference=reference.reference if reference is not None else None,
        check=request.check or (reference.check if reference is not None else None),
        uploaded=request.reference is None and reference is not None,
        in_force=promotions[-1] if promotions else None,
        alike=_alike(reads, request),
    )


def content_of(ledger: Ledger, name: str | None) -> Content:
    """A body, whatever became of it.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    if name is None:
        return Content(None, None, "there is no text: the connection failed before any came")
    table = schema.bodies.c
    sizes = ledger.rows(select(table.size).where(table.digest == name))
    if not sizes:
        return Content(name, None, "its text was deleted: its retention has ended")
    size = int(sizes[0].size)
    if size > LONGEST_READ:
        return Content(name, None, f"it has {size:,} bytes, too many for a page", size)
    frames = ledger.rows(select(table.content).where(table.digest == name))
    try:
        return Content(name, decompress(name, bytes(frames[0].content)), size=size)
    except (LedgerError, IndexError):
        return Content(name, None, "its text is corrupt and cannot be read", size)


def _rows(reads: Reads, table: Table, column: str, value: str) -> list[AnyRow]:
    return list(reads.rows(select(table).where(table.c[column] == value)))


def _told(reads: Reads, calls: Sequence[AnyRow]) -> list[Told]:
    table = schema.labels
    query = select(table).where(table.c.subject.in_([call.id for call in calls]))
    labels = reads.rows(query.order_by(table.c.at.desc())) if calls else []
    found = []
    for call in calls:
        own = [label for label in labels if label.subject == call.id]
        rows = [LabelRow(*(getattr(label, name) for name in LabelRow._fields)) for label in own]
        found.append(Told(call, own, held_of(rows)))
    return found


def _other(calls: Sequence[Told], given: Told | None) -> Told | None:
    """The other tier's answer in the shadow; of several the first, which is no late one of a gate."""
    tier = given.call.tier if given is not None else Tier.STRONG
    shadows = [told for told in calls if told.call.role == Role.SHADOW and told.call.status == 200]
    return next((told for told in shadows if told.call.tier != tier), next(iter(shadows), None))


def _reference(reads: Reads, request: AnyRow) -> AnyRow | None:
    """Where the reference is: the request itself, else the uploaded answers."""
    if request.reference is not None:
        return request
    table = schema.answers
    wanted = (table.c.task == request.task) & (table.c.prompt_hash == request.prompt_hash)
    found = reads.rows(select(table).where(wanted))
    return found[0] if found else None


def _alike(reads: Reads, request: AnyRow) -> int:
    table = schema.requests.c
    wanted = (table.task == request.task) & (table.prompt_hash == request.prompt_hash)
    return len(reads.rows(select(table.id).where(wanted).limit(MOST_ALIKE)))
