"""What a judge has not judged yet, read from the ledger alone, the oldest first.

Invariant: an item is unjudged while one of its calls lacks a label of the judge's own version; how often the
ledger was asked, and by whom, changes nothing. Nothing here asks a model.

A pair is a request that both models answered whole, for the client or in shadow; where a model answered
twice, the later answer counts, and where several small ones did, each makes a pair with strong. A judge's
share is drawn like the audit sample that people label, so that the one lies within the other and the judge's
error can be measured on what people labelled.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, Select, and_, func, or_, select, tuple_

from evals.judge.judges import Judge, version_of
from router.fitting.splits import position
from stepdown.ids import digest
from stepdown.labellers import Kind, labeller_name
from stepdown.ledger import Ledger, schema
from stepdown.records import Role, Tier
from stepdown.settings import JudgeSettings, ModelSettings, TaskSettings

PAGE = 300
SAMPLE_SALT = "audit"
JUDGED_ROLES = (Role.LIVE.value, Role.SHADOW.value)

_r, _a, _l = schema.requests, schema.answers, schema.labels
_strong, _small, _later = (schema.calls.alias(name) for name in ("strong", "small", "later"))


class Subject(NamedTuple):
    """One answer to be judged.

    Attributes:
        body: Digest of the answer's body.
    """

    call: str
    body: str
    model: str
    tier: str


@dataclass(frozen=True, slots=True)
class Item:
    """What one judgement is about.

    Attributes:
        at: When the request came.
        body: Digest of the request's body.
        reference: JSON text, or None.
        answers_at: When the answer file's row was written that the reference may be from.
        subjects: The answer, or strong's and small's.
    """

    at: datetime
    request: str
    prompt_hash: str
    body: str
    reference: str | None
    answers_at: datetime | None
    subjects: tuple[Subject, ...]

    def key(self, judge: Judge) -> str:
        """Hash that names the judgement of this item: by whom, of what, against which reference."""
        calls = [subject.call for subject in self.subjects]
        made_of = [judge.task, judge.labeller, judge.version, calls, self.reference]
        return digest(json.dumps(made_of).encode())[:24]


class Sought(NamedTuple):
    """Whose labels are looked for.

    Attributes:
        version: None where a label of any version will do.
    """

    task: str
    settings: JudgeSettings
    labeller: str
    version: str | None


def sought_by(judge: Judge) -> Sought:
    """The labels that a judge would make."""
    return Sought(judge.task, judge.settings, judge.labeller, judge.version)


def unjudged(ledger: Ledger, sought: Sought, since: datetime | None = None) -> Iterator[Item]:
    """The items of a judge's share that lack its labels, the oldest first, read page by page.

    Args:
        ledger: Where they are.
        sought: Whose labels they lack.
        since: Only of requests that came then or later.
    """
    lacking = _lacking(sought)
    return _items(ledger, sought, lacking if since is None else and_(_r.c.at >= since, lacking))


def judged(ledger: Ledger, sought: Sought) -> Iterator[Item]:
    """The items that have a judge's labels, the oldest first, read page by page."""
    return _items(ledger, sought, ~_lacking(sought))


def first_unjudged(
    ledger: Ledger, task_name: str, task: TaskSettings, models: Mapping[str, ModelSettings] | None = None
) -> datetime | None:
    """When the oldest request came that a judge of the task has yet to judge; None where all are judged.

    Args:
        ledger: Where the labels are.
        task_name: The task.
        task: Its settings, which declare the judges.
        models: The declared models, which a label's version depends on; without them a label of any version
            of a judge counts as its label.
    """
    times = []
    for name, judge in task.judges.items():
        version = None if models is None else version_of(judge, models[judge.model])
        sought = Sought(task_name, judge, labeller_name(Kind.JUDGE, name), version)
        times += [item.at for item in [next(unjudged(ledger, sought), None)] if item is not None]
    return min(times, default=None)


def _items(ledger: Ledger, sought: Sought, wanted: ColumnElement[bool]) -> Iterator[Item]:
    if sought.settings.share == 0:
        return
    pairwise = sought.settings.kind == "pairwise"
    read, statement = (_pair, _pairs()) if pairwise else (_answer, _answers())
    statement = statement.where(_r.c.task == sought.task, wanted)
    for row in _paged(ledger, statement, (_strong, _small) if pairwise else (_strong,)):
        item = read(row)
        if position(item.request, 0, SAMPLE_SALT) < sought.settings.share:
            yield item


def _paged(ledger: Ledger, statement: Select[Any], calls: Sequence[Any]) -> Iterator[Row[Any]]:
    keys = [_r.c.at, *(call.c.id for call in calls)]
    page: Sequence[Row[Any]] = ledger.rows(statement.order_by(*keys).limit(PAGE))
    while page:
        yield from page
        if len(page) < PAGE:
            return
        last = page[-1]
        values = [last.at, *(last._mapping[f"{call.name}_id"] for call in calls)]
        beyond = tuple_(*keys) > tuple(values)
        page = ledger.rows(statement.where(_r.c.at >= last.at, beyond).order_by(*keys).limit(PAGE))


def _reference() -> ColumnElement[str | None]:
    return func.coalesce(_r.c.reference, _a.c.reference)


def _columns(*calls: Any) -> list[ColumnElement[Any]]:
    of_calls = [
        call.c[name].label(f"{call.name}_{name}")
        for call in calls
        for name in ("id", "body", "model", "tier")
    ]
    asked = [_r.c.at, _r.c.id, _r.c.prompt_hash, _r.c.body]
    return [*asked, _reference().label("reference"), _a.c.at.label("answers_at"), *of_calls]


def _whole(call: Any) -> ColumnElement[bool]:
    return and_(
        call.c.role.in_(JUDGED_ROLES), call.c.status == 200, call.c.complete, call.c.body.is_not(None)
    )


def _last_of_its_tier(call: Any) -> ColumnElement[bool]:
    """Whether a model answered no later; small's may be several: the student in service, one on trial."""
    after = or_(_later.c.at > call.c.at, and_(_later.c.at == call.c.at, _later.c.id > call.c.id))
    same_model = or_(_later.c.tier == Tier.STRONG, _later.c.model == call.c.model)
    same = and_(_later.c.request == call.c.request, _later.c.tier == call.c.tier, same_model)
    return ~select(_later.c.id).where(same, _whole(_later), after).correlate(call).exists()


def _pairs() -> Select[Any]:
    joined = (
        _r.join(_strong, _strong.c.request == _r.c.id)
        .join(_small, _small.c.request == _r.c.id)
        .outerjoin(_a, and_(_a.c.task == _r.c.task, _a.c.prompt_hash == _r.c.prompt_hash))
    )
    return (
        select(*_columns(_strong, _small))
        .select_from(joined)
        .where(_strong.c.tier == Tier.STRONG, _small.c.tier == Tier.SMALL)
        .where(*(condition(call) for call in (_strong, _small) for condition in (_whole, _last_of_its_tier)))
    )


def _answers() -> Select[Any]:
    joined = _r.join(_strong, _strong.c.request == _r.c.id).outerjoin(
        _a, and_(_a.c.task == _r.c.task, _a.c.prompt_hash == _r.c.prompt_hash)
    )
    return select(*_columns(_strong)).select_from(joined).where(_whole(_strong))


def _lacking(sought: Sought) -> ColumnElement[bool]:
    calls = (_strong, _small) if sought.settings.kind == "pairwise" else (_strong,)
    return or_(*(_no_label(call, sought) for call in calls))


def _no_label(call: Any, sought: Sought) -> ColumnElement[bool]:
    found = select(_l.c.subject).where(_l.c.subject == call.c.id, _l.c.labeller == sought.labeller)
    if sought.version is not None:
        found = found.where(_l.c.version == sought.version)
    return ~found.correlate(call).exists()


def _pair(row: Row[Any]) -> Item:
    return _item(row, "strong", "small")


def _answer(row: Row[Any]) -> Item:
    return _item(row, "strong")


def _item(row: Row[Any], *calls: str) -> Item:
    fields = row._mapping
    subjects = tuple(
        Subject(*(fields[f"{call}_{name}"] for name in ("id", "body", "model", "tier"))) for call in calls
    )
    return Item(
        at=row.at,
        request=fields["id"],
        prompt_hash=row.prompt_hash,
        body=fields["body"],
        reference=row.reference,
        answers_at=row.answers_at,
        subjects=subjects,
    )
