"""What people are asked to label, the most useful first: ranks a task's requests into `label_queue`.

Invariant: the queue is made from the ledger alone and replaced as a whole, so it may be thrown away at any
time; and of any three items one is of the uniform audit sample as long as it lasts, in the order of its hash,
so that nothing can starve it and whatever number of them has been labelled is a uniform sample of the
requests, but for repeats of a prompt.

Three lanes are dealt in turn (audit, disagreement, threshold); an empty lane leaves its turn to the others.
*Audit*: the requests that the audit sample holds; they are in no other lane, or the interesting ones would be
labelled sooner than the rest. *Disagreement*: an answer that is good to one labeller and bad to another, the
most evenly split first. *Threshold*: the tenth of the routed requests whose gain is nearest to the threshold
that decided them. A prompt is asked about once, and no longer when enough people have answered (one more
where they contradict one another).

Only the newest `LOOKED_AT` requests of a task are looked at, so the cost is bounded however long the ledger.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain, islice, zip_longest
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, insert, select, text

from router.fitting.splits import position
from router.people.item import SHOWN_ROLES, Answers, answers_of
from router.people.votes import Vote, by_people, contradict, enough, newest
from stepdown.ids import now
from stepdown.ledger import Ledger, schema
from stepdown.records import Verdict
from stepdown.settings import TaskSettings

LOOKED_AT = 10_000
KEPT = 1_000
NEAR_SHARE = 0.1
AUDIT, DISAGREEMENT, THRESHOLD = "audit", "disagreement", "threshold"
LANES = (AUDIT, DISAGREEMENT, THRESHOLD)
RANKING_LOCK = 0x57E9D1

_q, _r, _c, _d, _l = (
    schema.label_queue,
    schema.requests,
    schema.calls,
    schema.decisions,
    schema.labels,
)


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """What a ranking put into the queue, by why it is there."""

    audit: int = 0
    disagreement: int = 0
    threshold: int = 0

    @property
    def items(self) -> int:
        """Items in all."""
        return self.audit + self.disagreement + self.threshold


@dataclass(slots=True)
class Candidate:
    """A request with at least one whole answer.

    Attributes:
        audited: Where it falls in the audit sample, or None where it is not in it.
        distance: Of its gain from the threshold, or None where no router decided.
        votes: The newest labels of its answers, of all labellers.
    """

    request: str
    at: datetime
    prompt_hash: str
    answers: Answers
    audited: float | None
    distance: float | None
    votes: list[Vote] = field(default_factory=list)

    @property
    def split(self) -> float:
        """How evenly labellers are divided over an answer: 0 not at all, 0.5 in halves."""
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for vote in self.votes:
            counts[vote.subject][vote.verdict] += 1
        pairs = [(count[Verdict.GOOD], count[Verdict.BAD]) for count in counts.values()]
        return max((min(pair) / sum(pair) for pair in pairs if sum(pair)), default=0.0)

    @property
    def people(self) -> int:
        """People who labelled it."""
        return len({vote.labeller for vote in by_people(self.votes)})


def rank(ledger: Ledger, task_name: str, task: TaskSettings, *, limit: int = KEPT) -> QueueCounts:
    """Make a task's queue anew, in one transaction.

    Args:
        ledger: What is read, and where the queue is kept.
        task_name: The task.
        task: Its settings: how many people are asked, and the share of the audit sample.
        limit: Items kept; the rest waits for the next ranking.

    Raises:
        LedgerError: The ledger refused; the queue is as it was.
    """
    candidates = _candidates(ledger, task_name, task)
    lanes = _lanes(_one_for_each_prompt(candidates, task.annotators))
    ranked = list(islice(_dealt(lanes), limit))
    at = now()
    rows = [
        {
            "request": item.request,
            "task": task_name,
            "at": at,
            "why": why,
            "priority": float(place),
            "strong_call": item.answers.strong,
            "small_call": item.answers.small,
        }
        for place, (why, item) in enumerate(ranked)
    ]
    with ledger.writing() as connection:
        _alone(connection)
        connection.execute(delete(_q).where(_q.c.task == task_name))
        if rows:
            connection.execute(insert(_q), rows)
    counts = Counter(why for why, _ in ranked)
    return QueueCounts(counts[AUDIT], counts[DISAGREEMENT], counts[THRESHOLD])


def _alone(connection: Connection) -> None:
    """Two rankings at once must not add up; on SQLite there is one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({RANKING_LOCK})"))


def _candidates(ledger: Ledger, task_name: str, task: TaskSettings) -> list[Candidate]:
    recent = (
        select(_r.c.id)
        .where(_r.c.task == task_name)
        .order_by(_r.c.at.desc(), _r.c.id.desc())
        .limit(LOOKED_AT)
    ).subquery()
    calls = _by_request(ledger, _calls(recent))
    labels = _by_request(ledger, _labels(recent))
    found = []
    for row in ledger.rows(_requests(recent)):
        answers = answers_of(calls[row.id])
        if answers.calls:
            found.append(_candidate(row, answers, labels[row.id], task.audit_share))
    return found


def _requests(recent: Any) -> Select[Any]:
    columns = (_r.c.id, _r.c.at, _r.c.prompt_hash, _d.c.gain, _d.c.threshold)
    joined = recent.join(_r, _r.c.id == recent.c.id).outerjoin(_d, _d.c.request == _r.c.id)
    return select(*columns).select_from(joined).order_by(_r.c.at.desc(), _r.c.id.desc())


def _calls(recent: Any) -> Select[Any]:
    columns = (_c.c.request, _c.c.id, _c.c.at, _c.c.role, _c.c.tier, _c.c.status, _c.c.complete, _c.c.body)
    joined = recent.join(_c, _c.c.request == recent.c.id)
    return select(*columns).select_from(joined).where(_c.c.role.in_([role.value for role in SHOWN_ROLES]))


def _labels(recent: Any) -> Select[Any]:
    joined = recent.join(_c, _c.c.request == recent.c.id).join(_l, _l.c.subject == _c.c.id)
    return select(_c.c.request, *(_l.c[name] for name in Vote._fields)).select_from(joined)


def _by_request(ledger: Ledger, statement: Select[Any]) -> Mapping[str, list[Row[Any]]]:
    found: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in ledger.rows(statement):
        found[row.request].append(row)
    return found


def _candidate(row: Row[Any], answers: Answers, labels: Iterable[Row[Any]], audit_share: float) -> Candidate:
    place = position(row.id, 0, "audit")
    routed = row.gain is not None and row.threshold is not None and math.isfinite(row.threshold)
    shown = set(answers.calls.values())
    return Candidate(
        request=row.id,
        at=row.at,
        prompt_hash=row.prompt_hash,
        answers=answers,
        audited=place if place < audit_share else None,
        distance=abs(row.gain - row.threshold) if routed else None,
        votes=newest(Vote._make(label[1:]) for label in labels if label.subject in shown),
    )


def _one_for_each_prompt(candidates: Iterable[Candidate], annotators: int) -> list[Candidate]:
    """The one request to ask about of each prompt that still needs people.

    Where a prompt is in the audit sample, its sampled request is the one, and only people's labels of
    sampled requests end the asking: else a prompt that was interesting too would be missing from the sample.
    """
    groups: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        groups[candidate.prompt_hash].append(candidate)
    found = []
    for group in groups.values():
        sampled = [candidate for candidate in group if candidate.audited is not None] or group
        if not any(enough(candidate.votes, annotators) for candidate in sampled):
            found.append(min(sampled, key=_preference))
    return found


def _preference(candidate: Candidate) -> tuple[float, ...]:
    """What people have begun with, else the first of the sample, else a pair, else the newest."""
    place = 0.0 if candidate.audited is None else candidate.audited
    return (-candidate.people, place, -len(candidate.answers.calls), -candidate.at.timestamp())


def _lanes(items: Sequence[Candidate]) -> dict[str, list[Candidate]]:
    sampled = [item for item in items if item.audited is not None]
    others = [item for item in items if item.audited is None]
    split = {item.request: item for item in others if contradict(item.votes)}
    near = sorted((item for item in others if item.distance is not None), key=_distance)
    near = near[: math.ceil(len(near) * NEAR_SHARE)]
    return {
        AUDIT: sorted(sampled, key=lambda item: (item.audited, item.request)),
        DISAGREEMENT: sorted(
            split.values(), key=lambda item: (-item.split, -item.at.timestamp(), item.request)
        ),
        THRESHOLD: [item for item in near if item.request not in split],
    }


def _distance(item: Candidate) -> tuple[float, float, str]:
    return (math.inf if item.distance is None else item.distance, -item.at.timestamp(), item.request)


def _dealt(lanes: Mapping[str, Sequence[Candidate]]) -> Iterator[tuple[str, Candidate]]:
    """One of each lane in turn, as long as there are any."""
    named = [[(why, item) for item in lanes[why]] for why in LANES]
    return (dealt for dealt in chain.from_iterable(zip_longest(*named)) if dealt is not None)
