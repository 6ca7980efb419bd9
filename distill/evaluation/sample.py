"""The prompts of live traffic on which a student may be compared: the newest first, each once.

Invariant: whether a request is among them depends neither on what a router thought of it nor on what a
student has learnt, so they are a fair draw of the traffic. In mode route only explored requests are: of the
others strong answers only those on which the router thinks that small is worse.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, and_, select, tuple_

from distill.evaluation.held_out import Trained
from stepdown.ledger import Ledger, schema
from stepdown.records import Reason, Role, Tier
from stepdown.students import PREFIX, served_name

UNCONDITIONAL = (
    Reason.MODE_STRONG,
    Reason.MODE_SHADOW,
    Reason.EXPLORED,
    Reason.NO_ARTIFACT,
    Reason.BAD_ARTIFACT,
    Reason.NO_SMALL_MODEL,
    Reason.ASLEEP,
)
IN_TRAFFIC = (Role.LIVE, Role.SHADOW)  # roles in which a student is asked
PAGE = 500

_r, _d, _c = schema.requests, schema.decisions, schema.calls


class Asked(NamedTuple):
    """One prompt: the newest request that asked it."""

    request: str
    at: datetime
    prompt_hash: str
    body: str
    slice: str | None


def sampled(ledger: Ledger, task: str, trained: Trained) -> Iterator[Asked]:
    """The prompts, the newest first, read page by page.

    Args:
        ledger: Where the traffic is.
        task: Name of the task.
        trained: What the students to be compared were trained on, which is left out.
    """
    seen: set[str] = set()
    for page in _pages(ledger, task):
        known = _known(ledger, task, {row.prompt_hash for row in page}, trained.until)
        for row in page:
            is_new = row.prompt_hash not in known
            if row.prompt_hash in seen or not trained.allows(
                row.prompt_hash, row.conversation, is_new=is_new
            ):
                continue
            seen.add(row.prompt_hash)
            yield Asked(row.id, row.at, row.prompt_hash, row.body, row.slice)


def _known(ledger: Ledger, task: str, prompts: set[str], until: datetime | None) -> set[str]:
    """Which prompts had come before the newest dataset."""
    if until is None:
        return set()
    wanted = (_r.c.task == task, _r.c.prompt_hash.in_(sorted(prompts)), _r.c.at <= until)
    return {row.prompt_hash for row in ledger.rows(select(_r.c.prompt_hash).distinct().where(*wanted))}


def answered_by(ledger: Ledger, requests: Sequence[str], student: str | None) -> set[str]:
    """Which of some requests a student has answered; None is the small model as declared."""
    found: set[str] = set()
    for start in range(0, len(requests), PAGE):
        wanted = _c.c.request.in_(requests[start : start + PAGE])
        rows = ledger.rows(select(_c.c.request).where(wanted, is_of(student), is_whole()))
        found.update(row.request for row in rows)
    return found


def is_of(student: str | None) -> ColumnElement[bool]:
    """Whether a call is a student's, or, for None, small's and no student's."""
    if student is not None:
        return _c.c.model == served_name(student)
    return and_(_c.c.tier == Tier.SMALL, ~_c.c.model.startswith(PREFIX, autoescape=True))


def is_whole() -> ColumnElement[bool]:
    """Whether a call is a whole answer, given whatever the answers of others were."""
    return and_(_c.c.role.in_(IN_TRAFFIC), _c.c.status == 200, _c.c.complete)


def _pages(ledger: Ledger, task: str) -> Iterator[Sequence[Row[Any]]]:
    strong = select(_c.c.id).where(
        _c.c.request == _r.c.id, _c.c.tier == Tier.STRONG, _c.c.role == Role.LIVE, is_whole()
    )
    columns = (_r.c.id, _r.c.at, _r.c.prompt_hash, _r.c.body, _r.c.slice, _r.c.conversation)
    query = (
        select(*columns)
        .select_from(_r.join(_d, _d.c.request == _r.c.id))
        .where(_r.c.task == task, _d.c.reason.in_(UNCONDITIONAL), strong.correlate(_r).exists())
        .order_by(_r.c.at.desc(), _r.c.id.desc())
        .limit(PAGE)
    )
    page = ledger.rows(query)
    while page:
        yield page
        if len(page) < PAGE:
            return
        last = page[-1]
        older = tuple_(_r.c.at, _r.c.id) < (last.at, last.id)
        page = ledger.rows(query.where(_r.c.at <= last.at, older))
