"""What a judge was asked before: its calls in the ledger, by the question that each of them put.

Invariant: the id of a judge's call says which question it put, so what has been answered, and paid for, is
read from the ledger and never asked again; and so is how often a question was put in vain.

A question that failed is put again after a wait that grows, because judges are away, busy or slow for hours.
It is given up when that is no explanation any more: the judge answered others meanwhile. Pure but for
`read_histories` and `answered_between`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Row, and_, select

from evals.judge.combine import Part, Reading
from evals.judge.verdict import Unreadable, read_opinion
from router.wire import read_answer
from stepdown.errors import LedgerError
from stepdown.ids import new_id
from stepdown.ledger import Ledger, schema
from stepdown.records import Role

ROUNDS = 4  # after which a question that others do not share the fate of is given up
MOST_ROUNDS = 24
FIRST_WAIT = timedelta(minutes=1)
LONGEST_WAIT = timedelta(hours=1)
GROWTH = 4
CHUNK = 200

_c = schema.calls


class Named(NamedTuple):
    """What the id of a judge's call says.

    Attributes:
        key: Of the judgement.
        part: Name of the question within it.
        round: Tries that belong together, of which only the last may have succeeded.
    """

    key: str
    part: str
    round: str


def question_id(key: str, part: Part) -> str:
    """The name of one question."""
    return f"{key}.{part.name}"


def key_of(question: str) -> str:
    """The key of the judgement that a question, by its name, belongs to."""
    return question.partition(".")[0]


def call_id(question: str, round_: str, attempt: int) -> str:
    """The id of a call that puts a question: at most 64 characters."""
    return f"{question}.{round_}.{attempt}"


def new_round() -> str:
    """A name that no other round has."""
    return new_id().replace("-", "")[:20]


def named(call: str) -> Named | None:
    """What a call's id says; None where the call was not made here."""
    parts = call.split(".")
    return Named(*parts[:3]) if len(parts) == 4 else None


@dataclass(slots=True)
class History:
    """What came of a judgement's questions so far.

    Attributes:
        opinions: What was answered, by the names of the parts.
        failures: When each round of the questions not yet answered failed, in order.
        error: Of the last failure.
    """

    opinions: dict[str, Reading] = field(default_factory=dict)
    failures: list[datetime] = field(default_factory=list)
    error: str = ""

    def may_try(self, at: datetime) -> bool:
        """Whether the wait after the last failure is over."""
        if not self.failures:
            return True
        wait: timedelta = min(FIRST_WAIT * GROWTH ** min(len(self.failures) - 1, 9), LONGEST_WAIT)
        return self.failures[-1] + wait <= at

    def hopeless(self, answered_meanwhile: bool) -> bool:
        """Whether to give up.

        Args:
            answered_meanwhile: Whether the judge answered others between the first and the last failure.
        """
        failed = len(self.failures)
        return failed >= MOST_ROUNDS or (failed >= ROUNDS and answered_meanwhile)


def read_histories(ledger: Ledger, kind: str, keys: Mapping[str, str]) -> dict[str, History]:
    """What came of judgements so far.

    Args:
        ledger: Where the calls are.
        kind: Of the judge.
        keys: Of the judgements, each with its request.
    """
    found: dict[str, History] = {key: History() for key in keys}
    requests = sorted(set(keys.values()))
    failed: dict[str, list[tuple[Named, Row[Any]]]] = {key: [] for key in keys}
    for start in range(0, len(requests), CHUNK):
        for row in _judge_calls(ledger, requests[start : start + CHUNK]):
            name = named(row.id)
            if name is None or name.key not in found:
                continue
            if row.status != 200 or not row.complete or row.error is not None:
                failed[name.key].append((name, row))
            elif name.part not in found[name.key].opinions:
                found[name.key].opinions[name.part] = opinion_of(ledger, kind, row.body, row.finish_reason)
    for key, calls in failed.items():
        _note_failures(found[key], calls)
    return found


def opinion_of(ledger: Ledger, kind: str, body: str, finish_reason: str | None) -> Reading:
    """What the answer of a judge's call says."""
    try:
        answer = read_answer(ledger.body(body))
    except LedgerError as error:
        return Unreadable(f"the judge's answer cannot be read: {error}")
    return read_opinion(kind, answer.text, finish_reason)


def answered_between(ledger: Ledger, model: str, first: datetime, last: datetime) -> bool:
    """Whether a judging model answered anything between two times."""
    whole = and_(_c.c.status == 200, _c.c.complete, _c.c.error.is_(None))
    statement = select(_c.c.id).where(_c.c.role == Role.JUDGE, _c.c.model == model, whole)
    return bool(ledger.rows(statement.where(_c.c.at >= first, _c.c.at <= last).limit(1)))


def _judge_calls(ledger: Ledger, requests: Sequence[str]) -> Sequence[Row[Any]]:
    columns = (_c.c.id, _c.c.at, _c.c.status, _c.c.complete, _c.c.body, _c.c.finish_reason, _c.c.error)
    wanted = and_(_c.c.request.in_(requests), _c.c.role == Role.JUDGE)
    return ledger.rows(select(*columns).where(wanted).order_by(_c.c.at, _c.c.id))


def _note_failures(history: History, calls: Sequence[tuple[Named, Row[Any]]]) -> None:
    """The failed rounds of the open question that failed most often."""
    rounds: dict[str, dict[str, datetime]] = defaultdict(dict)
    for name, row in calls:
        if name.part not in history.opinions:
            rounds[name.part][name.round] = row.at
            history.error = row.error or "no whole answer"
    history.failures = sorted(max((found.values() for found in rounds.values()), key=len, default=()))
