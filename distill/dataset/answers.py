"""The answers worth learning, from the ledger: for each prompt the best known one first.

Invariant: an answer without a verdict, with a bad one, or that broke off is no choice; of a prompt's choices
a user's edit comes before what checks or people found good, and that before what is only judged good. Texts
are not read here.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import select

from distill.dataset.example import Origin, Source
from distill.dataset.messages import CUT_OFF
from evals.edits import training_targets
from evals.outcomes import Outcomes, read_outcomes
from stepdown.ledger import Ledger, schema
from stepdown.records import Reason, Role, Tier, Verdict

JUDGED_FROM = 0.8  # probability of being good from which on an untrusted answer is learnt
LEARNT = frozenset((Role.LIVE, Role.CANDIDATE, Role.SHADOW, Role.ESCALATION))
ORDER = tuple(Source)
ESCALATED, REGRETTED, FELL_BACK = "escalated", "regretted", "fell back"
SAME = 1.0


class Choice(NamedTuple):
    """An answer that could be learnt.

    Attributes:
        rank: Of a prompt's choices the one of the lowest rank is the best known.
        teacher: Name of the model that gave it, or whose answer was edited; None where there was none.
        beside: Digest of the body of the answer that was edited, or None.
    """

    rank: tuple[float, ...]
    request: str
    source: Source
    origin: Origin
    teacher: str | None
    beside: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, as far as a dataset needs it."""

    id: str
    at: datetime
    prompt_hash: str
    body: str
    slice: str | None
    tenant: str
    conversation: str | None


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger knows of a task.

    Attributes:
        requests: By id, the oldest first.
        choices: Of each prompt that has an answer worth learning, the best first.
        hard: Of each prompt that was hard for the small model, in what ways.
        counts: Requests, answers, and what was found of them: for whoever asks why there is nothing.
    """

    requests: Mapping[str, Asked]
    choices: Mapping[str, Sequence[Choice]]
    hard: Mapping[str, frozenset[str]]
    counts: Mapping[str, int]


def known_answers(ledger: Ledger, task: str) -> Known:
    """Read which answers of a task are worth learning.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    outcomes = read_outcomes(ledger, task)
    requests = {row.id: Asked(**row._mapping) for row in ledger.rows(_requests(task))}
    calls = list(_answers(ledger, task, outcomes))
    choices: dict[str, list[Choice]] = defaultdict(list)
    counts: Counter[str] = Counter(requests=len(requests))
    for choice in (*_edited(ledger, task, calls, counts), *_called(calls, requests, counts)):
        if choice.request in requests:
            choices[requests[choice.request].prompt_hash].append(choice)
    ranked = {prompt: sorted(found, key=_order) for prompt, found in choices.items()}
    return Known(requests, ranked, _hard(outcomes, calls, requests), counts)


def _requests(task: str) -> Any:
    r = schema.requests
    columns = (r.c.id, r.c.at, r.c.prompt_hash, r.c.body, r.c.slice, r.c.tenant, r.c.conversation)
    return select(*columns).where(r.c.task == task).order_by(r.c.at, r.c.id)


def _order(choice: Choice) -> tuple[tuple[float, ...], str]:
    return choice.rank, choice.request


@dataclass(frozen=True, slots=True)
class _Answer:
    """A call of one of the task's models that answered, and its verdict: None where nothing labelled it."""

    id: str
    request: str
    at: datetime
    role: str
    tier: str
    model: str
    verdict: str | None
    good: float
    trusted: bool
    whole: bool
    body: str | None


def _answers(ledger: Ledger, task: str, outcomes: Outcomes) -> Iterator[_Answer]:
    """The answers of the task's models, the oldest first."""
    r, c = schema.requests, schema.calls
    query = (
        select(c.c.id, c.c.finish_reason, c.c.body)
        .select_from(c.join(r, r.c.id == c.c.request))
        .where(r.c.task == task)
    )
    ends = {row.id: (row.finish_reason, row.body) for row in ledger.rows(query)}
    calls: Any = outcomes.calls
    for call in calls[calls["ok"]].itertuples():
        if call.role not in LEARNT or call.id not in ends:
            continue
        ended, body = ends[call.id]
        yield _Answer(
            id=call.id,
            request=call.request,
            at=call.at,
            role=call.role,
            tier=call.tier,
            model=call.model,
            verdict=call.verdict if call.verdict in tuple(Verdict) else None,
            good=call.good,
            trusted=call.trusted,
            whole=call.complete and ended not in CUT_OFF,
            body=body,
        )


def _edited(ledger: Ledger, task: str, answers: Sequence[_Answer], counts: Counter[str]) -> Iterator[Choice]:
    """The edits; one that left an answer as it was says no more for it than its verdict."""
    by_id = {answer.id: answer for answer in answers}
    for target in training_targets(ledger, task):
        counts["edits"] += 1
        answer = by_id.get(target.call) if target.call else None
        known_bad = answer is not None and answer.trusted and answer.verdict == Verdict.BAD
        if known_bad and target.similarity == SAME:
            continue
        yield Choice(
            (ORDER.index(Source.EDIT), -target.at.timestamp()),
            target.request,
            Source.EDIT,
            Origin(target.body, feedback=target.feedback),
            None if answer is None else answer.model,
            None if answer is None else answer.body,
        )


def _called(
    answers: Sequence[_Answer], requests: Mapping[str, Asked], counts: Counter[str]
) -> Iterator[Choice]:
    for answer in answers:
        counts["answers"] += 1
        counts[answer.verdict or "unlabelled"] += 1
        if answer.verdict != Verdict.GOOD or answer.request not in requests:
            continue
        source = _source(answer)
        if not answer.whole or answer.body is None:
            counts["good, but broken off or not kept"] += 1
        elif source is None:
            counts["judged good, but not surely enough"] += 1
        else:
            origin = Origin(requests[answer.request].body, answer=answer.body)
            yield Choice(_rank(source, answer), answer.request, source, origin, answer.model)


def _source(answer: _Answer) -> Source | None:
    if answer.trusted:
        return Source.CHECKED if answer.tier == Tier.STRONG else Source.CHECKED_SMALL
    return Source.JUDGED if answer.good >= JUDGED_FROM else None


def _rank(source: Source, answer: _Answer) -> tuple[float, ...]:
    """Of answers that are as surely good as each other strong's comes first, and then the newer one."""
    return ORDER.index(source), -answer.good, answer.tier != Tier.STRONG, -answer.at.timestamp()


def _hard(
    outcomes: Outcomes, answers: Sequence[_Answer], requests: Mapping[str, Asked]
) -> dict[str, frozenset[str]]:
    """In what ways each prompt was hard: by all its requests, and by the newest verdict on small's answer."""
    ways: dict[str, set[str]] = defaultdict(set)
    small: dict[str, str] = {}
    strong_right: set[str] = set()
    for request, reason in zip(outcomes.requests["id"], outcomes.requests["reason"], strict=True):
        if reason == Reason.FALLBACK and request in requests:
            ways[requests[request].prompt_hash].add(FELL_BACK)
    for answer in answers:
        if answer.request not in requests:
            continue
        prompt = requests[answer.request].prompt_hash
        if answer.role == Role.ESCALATION:
            ways[prompt].add(ESCALATED)
        if answer.tier == Tier.STRONG and answer.verdict == Verdict.GOOD:
            strong_right.add(prompt)
        elif answer.tier == Tier.SMALL and answer.verdict in (Verdict.GOOD, Verdict.BAD):
            small[prompt] = answer.verdict
    for prompt in strong_right:
        if small.get(prompt) == Verdict.BAD:
            ways[prompt].add(REGRETTED)
    return {prompt: frozenset(found) for prompt, found in ways.items()}
