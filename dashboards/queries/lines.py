"""Requests as lines of a list: what each cost, what is held of its answer, how its prompt begins.

Invariant: calls, labels and bodies are found by the ids of the rows that are asked about, never by a scan,
and no more text is held at once than `MOST_BYTES`, but for one body. A verdict here is people's, else
checks', else that of most judges and users, each of whom counts the same; the report weighs those by their
measured errors.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import zstandard
from sqlalchemy import Row, select

from dashboards.queries.filters import Filters, Held
from dashboards.queries.reads import Reads
from dashboards.texts import answer_in, answer_text, first_line, prompt_text
from evals.verdicts import LabelRow, newest_labels, trusted_verdict, vote_of
from stepdown.errors import LedgerError
from stepdown.ledger import schema
from stepdown.ledger.bodies import decompress
from stepdown.records import ANSWERING

LONGEST_PARSED = (
    1_000_000  # bytes of a body that is read as what it is; of a longer one the beginning is searched
)
LONGEST_LISTED = 200_000  # bytes of a body whose first line a list shows
MOST_BYTES = 3_000_000

AnyRow = Row[Any]
_never_escaped = re.compile(r"[a-z0-9 .,:;!?()_-]*")  # in JSON, by any encoder that is met


@dataclass(frozen=True, slots=True)
class Line:
    """One request in a list.

    Attributes:
        chosen: Tier that was chosen to answer; None where nothing was decided.
        model: That gave the answer; empty where none did.
        cost_usd_micros: Of all its calls and labels whose cost is known.
        unpriced: Calls that were answered and whose cost is not known.
        held: Of the answer given.
        prompt: The beginning of the last message; None where it is not there, is long or cannot be read.
        size: Of the request's body in bytes; None where it is gone.
    """

    id: str
    at: datetime
    model_asked: str
    slice: str | None
    status: int
    latency_ms: float
    chosen: str | None
    reason: str | None
    mode: str | None
    explored: bool
    student: str | None
    model: str
    cost_usd_micros: int
    unpriced: int
    held: Held
    prompt: str | None
    size: int | None


@dataclass(frozen=True, slots=True)
class _Paid:
    """What was spent on a request, and the answer that was given."""

    answer: AnyRow | None
    cost_usd_micros: int
    unpriced: int
    held: Held


class _Kept(NamedTuple):
    """A body as it is kept, and its size in bytes when it was not compressed."""

    name: str
    frame: bytes
    size: int


class Material:
    """What is known of requests beside their rows, read as far as a filter needs it.

    Args:
        reads: Where it is.
        filters: What is asked for.
    """

    def __init__(self, reads: Reads, filters: Filters) -> None:
        self._reads = reads
        self._filters = filters
        self._needle = filters.text.casefold()
        escaped = (json.dumps(self._needle, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False))
        self._raw_needles = {self._needle, *escaped}
        self._plain = self._needle.encode() if _never_escaped.fullmatch(self._needle) else None

    def fitting(self, rows: Sequence[AnyRow]) -> Iterator[bool]:
        """Whether each row fits the filters that its own fields do not answer; read as it is asked for."""
        if not self._filters.needs_calls:
            yield from (True for _ in rows)
            return
        paid = self.paid([row.id for row in rows], labelled=self._filters.needs_labels)
        fits = [self._is_wanted(paid[row.id]) for row in rows]
        if not self._needle:
            yield from fits
            return
        candidates = [row for row, fit in zip(rows, fits, strict=True) if fit]
        texts = self._having_text(candidates, paid)
        yield from (next(texts) if fit else False for fit in fits)

    def _is_wanted(self, paid: _Paid) -> bool:
        least, held = self._filters.cost_usd_micros, self._filters.held
        return (least is None or paid.cost_usd_micros >= least) and (held is None or paid.held is held)

    def paid(self, ids: Sequence[str], *, labelled: bool = True) -> dict[str, _Paid]:
        """The calls and, where they are asked for, the labels of requests, added up."""
        table = schema.calls
        columns = [
            table.c[name] for name in ("id", "request", "role", "status", "complete", "model", "body", "at")
        ]
        query = select(*columns, table.c.cost_usd_micros).where(table.c.request.in_(ids))
        calls: dict[str, list[AnyRow]] = defaultdict(list)
        for row in self._reads.rows(query.order_by(table.c.at, table.c.id)):
            calls[row.request].append(row)
        subjects = [call.id for of_request in calls.values() for call in of_request] if labelled else []
        labels = self._labels(subjects)
        return {name: _added_up(calls.get(name, []), labels) for name in ids}

    def _labels(self, calls: Sequence[str]) -> dict[str, list[LabelRow]]:
        table = schema.labels
        columns = [table.c[name] for name in LabelRow._fields]
        found: dict[str, list[LabelRow]] = defaultdict(list)
        for row in self._reads.rows(select(*columns).where(table.c.subject.in_(calls))) if calls else ():
            found[row.subject].append(LabelRow(**row._mapping))
        return found

    def _having_text(self, rows: Sequence[AnyRow], paid: Mapping[str, _Paid]) -> Iterator[bool]:
        """Whether the text stands in each row's prompt or answer; bodies are read a few at a time."""
        names = {row.id: (row.body, _body_of(paid[row.id].answer)) for row in rows}
        sizes = self.sizes(name for pair in names.values() for name in pair if name)
        for group in _grouped(rows, lambda row: sum(sizes.get(name or "", 0) for name in names[row.id])):
            frames = self.frames(name for row in group for name in names[row.id] if name in sizes)
            for row in group:
                prompt, answer = (
                    _Kept(name, frames[name], sizes[name]) if name in frames else None
                    for name in names[row.id]
                )
                yield self._stands_in(prompt, True) or self._stands_in(answer, False)

    def _stands_in(self, kept: _Kept | None, is_prompt: bool) -> bool:
        if kept is None:
            return False
        name, frame, size = kept
        if size > LONGEST_PARSED:
            raw = _beginning(frame).decode("utf-8", "replace").casefold()
            return any(needle in raw for needle in self._raw_needles)
        try:
            body = decompress(name, frame)
        except LedgerError:
            return False
        if self._plain is not None and body[:1] == b"{" and self._plain not in body.lower():
            return False  # most bodies need not be read as what they are
        text = prompt_text(body) if is_prompt else answer_text(answer_in(body))
        return self._needle in (body.decode("utf-8", "replace") if text is None else text).casefold()

    def sizes(self, names: Iterable[str]) -> dict[str, int]:
        """The size in bytes of those bodies that are there."""
        table, wanted = schema.bodies.c, sorted(set(names))
        query = select(table.digest, table.size).where(table.digest.in_(wanted))
        return {row.digest: row.size for row in self._reads.rows(query)} if wanted else {}

    def frames(self, names: Iterable[str]) -> dict[str, bytes]:
        """Bodies as they are kept, compressed."""
        table, wanted = schema.bodies.c, sorted(set(names))
        query = select(table.digest, table.content).where(table.digest.in_(wanted))
        return {row.digest: bytes(row.content) for row in self._reads.rows(query)} if wanted else {}


def lines_of(rows: Sequence[AnyRow], material: Material) -> list[Line]:
    """Rows as lines of a list, in their order.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    if not rows:
        return []
    paid = material.paid([row.id for row in rows])
    sizes = material.sizes(row.body for row in rows)
    prompts = _first_lines(material, rows, sizes)
    return [_line(row, paid[row.id], prompts.get(row.body), sizes.get(row.body)) for row in rows]


def _line(row: AnyRow, paid: _Paid, prompt: str | None, size: int | None) -> Line:
    return Line(
        id=row.id,
        at=row.at,
        model_asked=row.model_asked,
        slice=row.slice,
        status=row.status,
        latency_ms=row.latency_ms,
        chosen=row.chosen,
        reason=row.reason,
        mode=row.mode,
        explored=bool(row.explored),
        student=row.student,
        model=paid.answer.model if paid.answer is not None else "",
        cost_usd_micros=paid.cost_usd_micros,
        unpriced=paid.unpriced,
        held=paid.held,
        prompt=prompt,
        size=size,
    )


def _first_lines(
    material: Material, rows: Sequence[AnyRow], sizes: Mapping[str, int]
) -> dict[str, str | None]:
    """How prompts begin, of those that are short enough, as long as there is room."""
    left, wanted = MOST_BYTES, []
    for row in rows:
        size = sizes.get(row.body)
        if size is not None and size <= LONGEST_LISTED and size <= left:
            left -= size
            wanted.append(row.body)
    found: dict[str, str | None] = {}
    for name, frame in material.frames(wanted).items():
        try:
            found[name] = first_line(decompress(name, frame))
        except LedgerError:
            found[name] = None  # the request's own page says what is wrong with it
    return found


def answer_given(calls: Iterable[AnyRow]) -> AnyRow | None:
    """The call whose answer the client received: the last one that answered, of calls in order of time."""
    answered = [call for call in calls if call.role in ANSWERING and call.status == 200]
    return answered[-1] if answered else None


def _body_of(call: AnyRow | None) -> str | None:
    return None if call is None else call.body


def _added_up(calls: Sequence[AnyRow], labels: Mapping[str, Sequence[LabelRow]]) -> _Paid:
    costs = [call.cost_usd_micros for call in calls]
    of_labels = sum(label.cost_usd_micros for call in calls for label in labels.get(call.id, ()))
    answer = answer_given(calls)
    return _Paid(
        answer,
        sum(cost for cost in costs if cost is not None) + of_labels,
        sum(call.cost_usd_micros is None and call.status == 200 for call in calls),
        Held.UNLABELLED if answer is None else held_of(labels.get(answer.id, ())),
    )


def held_of(labels: Sequence[LabelRow]) -> Held:
    """What is held of a call, by all its labels."""
    said = newest_labels(labels).get(labels[0].subject) if labels else None
    if not said:
        return Held.UNLABELLED
    trusted = trusted_verdict(said)
    if trusted is not None:
        return Held(trusted.verdict)
    votes = [vote.good for label in said.values() if (vote := vote_of(label)) is not None]
    good = sum(votes)
    if 2 * good == len(votes):
        return Held.UNSCORED
    return Held.GOOD if 2 * good > len(votes) else Held.BAD


def _grouped(rows: Sequence[AnyRow], size_of: Any) -> Iterator[list[AnyRow]]:
    """Rows in groups that are not too large to be held."""
    group: list[AnyRow] = []
    held = 0
    for row in rows:
        size = size_of(row)
        if group and held + size > MOST_BYTES:
            yield group
            group, held = [], 0
        group.append(row)
        held += size
    if group:
        yield group


def _beginning(frame: bytes) -> bytes:
    """The first bytes of a long body."""
    try:
        with zstandard.ZstdDecompressor().stream_reader(frame) as reader:
            return bytes(reader.read(LONGEST_PARSED))
    except zstandard.ZstdError:
        return b""
