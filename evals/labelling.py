"""Labelling by checks: which calls still lack a label, and what label they get.

Invariant: what is to be done is read from the ledger alone, and a label's key is (call, labeller,
version), so a sweep that is killed and run again loses nothing and counts nothing twice. The module
does not know who calls it or how often.
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, Select, String, and_, case, func, literal, or_, select

from evals.checks import Check, Outcome, Subject, applied, build_check, unscored
from evals.checks.outcome import limit_s, reads_prompt
from evals.checks.schema import asked_schema
from evals.time_limit import time_limit
from router.wire import parse_chat, read_answer
from stepdown.errors import BadRequest, CheckError, LedgerError
from stepdown.ids import digest, now
from stepdown.ledger import Ledger, schema
from stepdown.records import Label, Role, Verdict
from stepdown.settings import TaskSettings

PREFIX = "check:"
UNDECLARED = "undeclared"
CHECK_LIMIT_S = 10.0
MAX_BATCH = 1000
LABELLED = (Role.LIVE.value, Role.CANDIDATE.value, Role.SHADOW.value)
CLOCK: Callable[[], float] = time.monotonic

_r, _c, _a, _l = schema.requests, schema.calls, schema.answers, schema.labels


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """What a sweep did.

    Attributes:
        unscored: Calls that no verdict could be given, for the reason that their label's evidence says.
        waiting: Calls that have a check and lack the reference which that check needs.
    """

    good: int = 0
    bad: int = 0
    unscored: int = 0
    waiting: int = 0

    @property
    def labelled(self) -> int:
        """Labels made."""
        return self.good + self.bad + self.unscored

    def __str__(self) -> str:
        """The labels made, in words."""
        return f"{self.labelled:,} calls: {self.good:,} good, {self.bad:,} bad, {self.unscored:,} unscored"

    def __add__(self, other: LabelCounts) -> LabelCounts:
        """The sum of two sweeps."""
        return LabelCounts(
            self.good + other.good,
            self.bad + other.bad,
            self.unscored + other.unscored,
            self.waiting + other.waiting,
        )


@dataclass(frozen=True, slots=True)
class Labeller:
    """A check as a task declares it.

    Attributes:
        version: The check's own version and a hash of its settings: either change makes new labels.
        check: The check, or the error that its settings raise.
    """

    name: str
    version: str
    check: Check | CheckError

    @property
    def labeller(self) -> str:
        """The name that labels carry."""
        return PREFIX + self.name

    @property
    def needs_reference(self) -> bool:
        """Whether a call without a reference has to wait."""
        return not isinstance(self.check, CheckError) and self.check.needs_reference


@dataclass(frozen=True, slots=True)
class Backlog:
    """One call to be labelled, by which check and against what."""

    at: datetime
    call: str
    request: str
    trace: str | None
    body: str
    asked: str
    prompt_hash: str
    reference: str | None
    answers_at: datetime | None
    labeller: Labeller


class Made(NamedTuple):
    """A label that was made, for which call, and when that began."""

    item: Backlog
    label: Label
    began: datetime


Told = Callable[[Sequence[Made]], None]


def labellers(task: TaskSettings) -> list[Labeller]:
    """The task's declared checks, each with the version of the labels that it makes."""
    return [_labeller(name, settings, task.checks) for name, settings in task.checks.items()]


def label_backlog(
    ledger: Ledger,
    task_name: str,
    task: TaskSettings,
    *,
    limit: int,
    deadline: float = math.inf,
    kept: Told | None = None,
) -> LabelCounts:
    """Label up to `limit` calls that lack the label that now applies, in one transaction.

    The oldest first, whatever check applies to them, so that what is labelled at any time is a stretch
    of the traffic and not the kinds of query whose checks came first.

    Args:
        ledger: Where calls are read and labels kept.
        task_name: The task whose calls to label.
        task: Its settings, which declare the checks.
        limit: Calls in this batch; more than 1000 count as 1000.
        deadline: Time of `CLOCK` at which the batch ends; the labels made until then are kept.
        kept: Told of the labels, once they are.

    Raises:
        LedgerError: The ledger refused; nothing of this batch was kept.
    """
    batch = _oldest(ledger, task_name, task, min(limit, MAX_BATCH))
    in_time = takewhile(lambda _: CLOCK() < deadline, batch)
    made = _keep(ledger, task_name, [_made(ledger, item) for item in in_time])
    if kept is not None and made:
        kept(made)
    return _counts([one.label for one in made])


def label_all(
    ledger: Ledger,
    tasks: Mapping[str, TaskSettings],
    *,
    batch: int,
    budget_s: float,
    kept: Told | None = None,
) -> LabelCounts:
    """Label batch after batch until no task has a backlog, or the time is up.

    What is left then is found again by the next sweep. One check more may run when the time is up. `kept` is
    told of the labels of each batch.
    """
    deadline = CLOCK() + budget_s
    total = LabelCounts()
    for name, task in tasks.items():
        while CLOCK() < deadline:
            counts = label_backlog(ledger, name, task, limit=batch, deadline=deadline, kept=kept)
            total += counts
            if not counts.labelled:
                total += LabelCounts(waiting=count_waiting(ledger, name, task))
                break
    return total


def first_unlabelled(ledger: Ledger, task_name: str, task: TaskSettings) -> datetime | None:
    """When the oldest request came that has an answer for a sweep to label; None where it has none."""
    oldest = _oldest(ledger, task_name, task, 1)
    return oldest[0].at if oldest else None


def _oldest(ledger: Ledger, task_name: str, task: TaskSettings, limit: int) -> list[Backlog]:
    declared = {labeller.name: labeller for labeller in labellers(task)}
    statement = unlabelled(task_name, task, _COLUMNS).order_by(_r.c.at, _c.c.id).limit(limit)
    return [
        _backlog(row, declared.get(row.wanted) or _undeclared(row.wanted, task_name, task))
        for row in ledger.rows(statement)
    ]


def count_waiting(ledger: Ledger, task_name: str, task: TaskSettings) -> int:
    """Calls whose check needs a reference that neither the request nor an answer file gives."""
    needing = [labeller.name for labeller in labellers(task) if labeller.needs_reference]
    statement = _labelable(task_name, [func.count()]).where(
        _check_name(task).in_(needing), _reference().is_(None)
    )
    return int(ledger.rows(statement)[0][0])


def _labeller(name: str, settings: Mapping[str, Any], declared: Mapping[str, Mapping[str, Any]]) -> Labeller:
    shape = digest(json.dumps(settings, sort_keys=True, default=str).encode())[:8]
    try:
        check = build_check(name, settings, declared)
    except CheckError as error:
        return Labeller(name, f"broken-{shape}", error)
    return Labeller(name, f"{check.version}-{shape}", check)


def _check_name(task: TaskSettings) -> ColumnElement[str | None]:
    return func.coalesce(_r.c.check, _a.c.check, literal(task.check, String))


def _reference() -> ColumnElement[str | None]:
    return func.coalesce(_r.c.reference, _a.c.reference)


def _labelable(task_name: str, columns: Iterable[Any]) -> Select[Any]:
    """Whole answers of the task, unseen ones too, beside the answer file's row if there is one."""
    joined = _r.join(_c, _c.c.request == _r.c.id).outerjoin(
        _a, and_(_a.c.task == _r.c.task, _a.c.prompt_hash == _r.c.prompt_hash)
    )
    return (
        select(*columns)
        .select_from(joined)
        .where(
            _r.c.task == task_name,
            _c.c.role.in_(LABELLED),
            _c.c.status == 200,
            _c.c.complete,
            _c.c.body.is_not(None),
        )
    )


_COLUMNS = (
    _r.c.at,
    _c.c.id,
    _c.c.request,
    _r.c.trace,
    _c.c.body,
    _r.c.body.label("asked"),
    _r.c.prompt_hash,
    _reference().label("reference"),
    _a.c.at.label("answers_at"),
)


def unlabelled(task_name: str, task: TaskSettings, columns: Iterable[Any]) -> Select[Any]:
    """Select columns of the calls that lack the label which now applies, and have what its check needs.

    One check applies to a call, so that one pass over the calls finds those of all checks; its name is column
    `wanted`. It may be one that the caller, or an answer file, named and the task does not declare.
    """
    name, declared = _check_name(task), labellers(task)
    needing = [labeller.name for labeller in declared if labeller.needs_reference]
    versions = {labeller.name: literal(labeller.version, String) for labeller in declared}
    undeclared = literal(UNDECLARED, String)
    labelled = select(_l.c.subject).where(
        _l.c.subject == _c.c.id,
        _l.c.labeller == literal(PREFIX, String).concat(name),
        _l.c.version == (case(versions, value=name, else_=undeclared) if versions else undeclared),
    )
    return _labelable(task_name, (*columns, name.label("wanted"))).where(
        name.is_not(None),
        or_(name.not_in(needing), _reference().is_not(None)),
        ~labelled.correlate(_c, _r, _a).exists(),
    )


def _undeclared(name: str, task_name: str, task: TaskSettings) -> Labeller:
    known = ", ".join(task.checks) or "none"
    error = CheckError(f"check {name!r} is not declared for task {task_name!r}; declared: {known}")
    return Labeller(name, UNDECLARED, error)


def _backlog(row: Row[Any], labeller: Labeller) -> Backlog:
    reference = (row.prompt_hash, row.reference, row.answers_at)
    return Backlog(row.at, row.id, row.request, row.trace, row.body, row.asked, *reference, labeller)


def _made(ledger: Ledger, item: Backlog) -> Made:
    began, outcome = now(), _outcome(ledger, item)
    label = Label(
        subject=item.call,
        labeller=item.labeller.labeller,
        version=item.labeller.version,
        at=now(),
        verdict=outcome.verdict,
        score=outcome.score,
        evidence=outcome.evidence,
    )
    return Made(item, label, began)


def _outcome(ledger: Ledger, item: Backlog) -> Outcome:
    """The check's verdict; whatever goes wrong for this one call is its label, and no other call's."""
    check = item.labeller.check
    if isinstance(check, CheckError):
        return unscored(str(check))
    try:
        subject = _subject(ledger, item, reads_prompt(check))
        if subject is None:
            return unscored(f"body {item.body} is not a chat completion")
        with time_limit(limit_s(check, CHECK_LIMIT_S)):
            return applied(check, subject)
    except Exception as error:  # a check may be anybody's code
        return unscored(f"{type(error).__name__}: {error}")


def _subject(ledger: Ledger, item: Backlog, with_prompt: bool) -> Subject | None:
    """What the check sees of a call; None where its body is no answer."""
    answer = read_answer(ledger.body(item.body))
    if not answer.complete and answer.finish_reason is None:
        return None
    prompt, schema = _asked(ledger, item.asked) if with_prompt else ("", None)
    return Subject(
        text=answer.text,
        reference=None if item.reference is None else json.loads(item.reference),
        prompt=prompt,
        tool_calls=answer.tool_calls,
        finish_reason=answer.finish_reason,
        refusal=answer.refusal,
        schema=schema,
    )


def _asked(ledger: Ledger, body: str) -> tuple[str, Any]:
    """The text of a request and the JSON Schema that it asks for; nothing where it was not kept."""
    try:
        chat = parse_chat(ledger.body(body))
    except (LedgerError, BadRequest):
        return "", None
    return chat.prompt.text, asked_schema(json.loads(bytes(chat.fields.get("response_format") or b"null")))


def _keep(ledger: Ledger, task_name: str, labels: list[Made]) -> list[Made]:
    """Commit the labels whose reference is still the one they were made with."""
    if not labels:
        return []
    with ledger.writing() as connection:
        hashes = sorted({made.item.prompt_hash for made in labels})
        now_at = {
            row.prompt_hash: row.at
            for row in connection.execute(
                select(_a.c.prompt_hash, _a.c.at).where(_a.c.task == task_name, _a.c.prompt_hash.in_(hashes))
            )
        }
        kept = [made for made in labels if now_at.get(made.item.prompt_hash) == made.item.answers_at]
        ledger.add(connection, [made.label for made in kept])
    return kept


def _counts(labels: list[Label]) -> LabelCounts:
    by_verdict = Counter(label.verdict for label in labels)
    return LabelCounts(by_verdict[Verdict.GOOD], by_verdict[Verdict.BAD], by_verdict[Verdict.UNSCORED])
