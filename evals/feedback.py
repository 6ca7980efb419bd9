"""Labels from users' feedback: thumbs, scores, outcomes and edits of the answer that the client received.

Invariant: what is to be done is read from the ledger alone, and a label's version carries the identity of the
feedback, so a sweep that is killed and run again loses nothing and counts nothing twice, and a mind that was
changed makes a newer label, which is the one that counts. Only the newest feedback of a kind is labelled;
comments make no label.

A thumb up is good. A score is good from 0.5 on. An outcome is good where it is true, a word of `SUCCEEDED` or
a number from 0.5 to 1, bad where it is false, a word of `FAILED` or a number from 0 to 0.5, and unscored
where it is anything else. An edit is good where it is as similar to the answer as the task's
`edit_similarity` or more, and unscored where the answer is no longer kept.
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Row,
    ScalarSelect,
    Select,
    String,
    and_,
    case,
    func,
    literal,
    or_,
    select,
    tuple_,
)

from evals.checks.outcome import Outcome, judged, unscored
from evals.labelling import LabelCounts
from evals.metrics.similarity import VERSION as SIMILARITY_VERSION
from evals.metrics.similarity import similarity
from router.wire import read_answer
from stepdown.ids import now
from stepdown.labellers import Kind, labeller_name
from stepdown.ledger import Ledger, schema
from stepdown.records import ANSWERING, Label, Verdict
from stepdown.settings import TaskSettings

KINDS = ("thumb", "score", "outcome", "edit")
MAPPING_VERSION = "1"
IDENTITY = 40  # hex digits of the feedback's id in a label's version
GOOD_FROM = 0.5
BATCH = 200
CLOCK: Callable[[], float] = time.monotonic
SUCCEEDED = frozenset(
    "true yes y ok okay good right correct success successful succeeded pass passed accepted done solved "
    "resolved won".split()
)
FAILED = frozenset(
    "false no n bad wrong incorrect failure failed fail error rejected unsolved unresolved abandoned "
    "escalated lost".split()
)

_f, _r, _c, _l = schema.feedback, schema.requests, schema.calls, schema.labels


def label_feedback(
    ledger: Ledger,
    tasks: Mapping[str, TaskSettings],
    *,
    deadline: float = math.inf,
    batch: int = BATCH,
) -> LabelCounts:
    """Label the feedback that has no label yet; what the time does not allow is found again.

    Args:
        ledger: Where feedback is read and labels kept.
        tasks: The tasks by name.
        deadline: Time of `CLOCK` at which the sweep ends; what was labelled until then is kept.
        batch: Labels made in one transaction.

    Raises:
        LedgerError: The ledger refused; the transactions before are kept.
    """
    made: Counter[Verdict] = Counter()
    for name, task in tasks.items():
        for rows in _backlog(ledger, name, task, batch):
            labels = list(_labels(ledger, task, rows, deadline))
            ledger.append(labels)
            made.update(label.verdict for label in labels)
            if CLOCK() >= deadline:
                break
    return LabelCounts(made[Verdict.GOOD], made[Verdict.BAD], made[Verdict.UNSCORED])


def _backlog(ledger: Ledger, name: str, task: TaskSettings, batch: int) -> Iterator[Sequence[Row[Any]]]:
    """Feedback without a label, the oldest first; each row once, whatever becomes of it."""
    statement = _unlabelled(name, task)
    rows = ledger.rows(statement.limit(batch))
    while rows:
        yield rows
        after = tuple_(_f.c.at, _f.c.id) > tuple_(
            literal(rows[-1].at, _f.c.at.type), literal(rows[-1].id, _f.c.id.type)
        )
        rows = ledger.rows(statement.where(after).limit(batch))


def _unlabelled(name: str, task: TaskSettings) -> Select[Any]:
    labelled = select(_l.c.subject).where(
        _l.c.subject == _c.c.id,
        _l.c.labeller == literal(labeller_name(Kind.FEEDBACK, "")).concat(_f.c.kind),
        _l.c.version == _version_column(task),
    )
    return (
        select(_f.c.id, _f.c.at, _f.c.kind, _f.c.value, _c.c.id.label("call"), _c.c.body)
        .select_from(_f.join(_r, _r.c.id == _f.c.request).join(_c, _c.c.id == received_call()))
        .where(_r.c.task == name, _f.c.kind.in_(KINDS), not_superseded())
        .where(~labelled.correlate(_f, _c).exists())
        .order_by(_f.c.at, _f.c.id)
    )


def received_call() -> ScalarSelect[str]:
    """Id of the call whose answer the client received, of the request of a row of `feedback`."""
    answering = schema.calls.alias("answering")
    return (
        select(answering.c.id)
        .where(
            answering.c.request == _f.c.request,
            answering.c.role.in_(ANSWERING),
            answering.c.status.between(200, 299),
        )
        .order_by(answering.c.at.desc(), answering.c.id.desc())
        .limit(1)
        .correlate(_f)
        .scalar_subquery()
    )


def not_superseded() -> ColumnElement[bool]:
    """Whether a row of `feedback` is the newest of its kind on its request."""
    later = schema.feedback.alias("later")
    newer = or_(later.c.at > _f.c.at, and_(later.c.at == _f.c.at, later.c.id > _f.c.id))
    found = select(later.c.id).where(later.c.request == _f.c.request, later.c.kind == _f.c.kind, newer)
    return ~found.correlate(_f).exists()


def _prefix(kind: str, task: TaskSettings) -> str:
    """What of a label's version does not depend on the feedback."""
    if kind == "edit":
        return f"{SIMILARITY_VERSION}-{task.edit_similarity:g}-"
    return f"{MAPPING_VERSION}-"


def _version_column(task: TaskSettings) -> ColumnElement[str]:
    prefix = case(
        (_f.c.kind == "edit", literal(_prefix("edit", task), String)),
        else_=literal(_prefix("thumb", task), String),
    )
    return prefix.concat(func.substr(_f.c.id, 1, IDENTITY))


def _labels(ledger: Ledger, task: TaskSettings, rows: Sequence[Row[Any]], deadline: float) -> Iterator[Label]:
    bodies = ledger.bodies(row.body for row in rows if row.kind == "edit" and row.body)
    for row in takewhile(lambda _: CLOCK() < deadline, rows):
        outcome = _outcome(row, task, bodies.get(row.body))
        yield Label(
            subject=row.call,
            labeller=labeller_name(Kind.FEEDBACK, row.kind),
            version=_prefix(row.kind, task) + row.id[:IDENTITY],
            at=now(),
            verdict=outcome.verdict,
            score=outcome.score,
            evidence=outcome.evidence,
        )


def _outcome(row: Row[Any], task: TaskSettings, body: bytes | None) -> Outcome:
    """What the feedback says; whatever is wrong with this one is its label, and no other's."""
    try:
        value = json.loads(row.value)
        if row.kind == "edit":
            return of_edit(body, value, task.edit_similarity)
        return {"thumb": of_thumb, "score": of_score, "outcome": of_outcome}[row.kind](value)
    except (ValueError, TypeError) as error:
        return unscored(f"the feedback cannot be read: {type(error).__name__}: {error}")


def of_thumb(value: Any) -> Outcome:
    """A thumb's verdict."""
    if value not in ("up", "down"):
        return unscored(f"thumb {value!r:.100} is neither up nor down")
    return judged(value == "up", f"thumb {value}")


def of_score(value: Any) -> Outcome:
    """A score's verdict."""
    score = float(value)
    if not 0 <= score <= 1:
        return unscored(f"score {score:g} is not in 0 to 1")
    return _weighed(score, GOOD_FROM, f"score {score:g}")


def of_outcome(value: Any) -> Outcome:
    """An outcome's verdict, by the mapping of the module's docstring."""
    if isinstance(value, bool):
        return judged(value, f"outcome {str(value).lower()}")
    if isinstance(value, int | float):
        inside = 0 <= value <= 1
        return (
            _weighed(float(value), GOOD_FROM, f"outcome {value:g}")
            if inside
            else unscored(f"outcome {value:g} is not in 0 to 1; send a score to say how good it is")
        )
    word = str(value).strip().casefold()
    if word in SUCCEEDED | FAILED:
        return judged(word in SUCCEEDED, f"outcome {word!r}")
    return unscored(f"outcome {value!r:.100} is no known word of success or failure")


def of_edit(body: bytes | None, edit: str, wanted: float) -> Outcome:
    """An edit's verdict on the answer that it was made of."""
    if body is None:
        return unscored("the answer is no longer kept, so the edit cannot be compared with it")
    answer = read_answer(body).text
    if not answer.strip():
        return unscored("the answer has no text that an edit could be compared with")
    found = similarity(answer, edit)
    if found is None:
        return unscored(f"answer and edit are too long to compare: {len(answer)} and {len(edit)} characters")
    evidence = (
        f"the edit is {found.value:.3f} similar by {found.by}; from {wanted:g} on it speaks for the answer"
    )
    return _weighed(found.value, wanted, evidence)


def _weighed(score: float, good_from: float, evidence: str) -> Outcome:
    return Outcome(Verdict.GOOD if score >= good_from else Verdict.BAD, score, evidence)
