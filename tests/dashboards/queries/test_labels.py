"""How much a person has labelled: their own labels, however many there are of others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

from sqlalchemy import event

from dashboards.queries.labels import labelled_since
from stepdown.ids import new_id
from stepdown.ledger import Ledger
from stepdown.records import Label, Tier, Verdict
from tests.answered import answered, calls_by_tier
from tests.records import a_call, a_label, a_request

ON_BOTH_DATABASES = True
MIDNIGHT = datetime(2026, 11, 22, tzinfo=UTC)
ANN = "person:ann"
LABELS_OF_OTHERS = 1000


def said(call: str, labeller: str, verdict: Verdict = Verdict.GOOD, hours: float = 1) -> Label:
    """A label of some hours after midnight."""
    return a_label(subject=call, labeller=labeller, verdict=verdict, at=MIDNIGHT + timedelta(hours=hours))


def test_items_that_a_person_labelled_since_are_counted_once(ledger: Ledger) -> None:
    pair, other, third = (calls_by_tier(ledger, answered(ledger, f"{n}", small="s")) for n in range(3))
    ledger.append(
        [
            said(pair[Tier.STRONG], ANN),
            said(pair[Tier.SMALL], ANN, Verdict.BAD),
            said(pair[Tier.STRONG], "person:bob"),
            said(pair[Tier.STRONG], "check:person:ann"),
            said(other[Tier.STRONG], ANN, Verdict.UNSCORED),
            said(third[Tier.STRONG], ANN, hours=-1),
        ]
    )
    assert labelled_since(ledger, "default", "ann", MIDNIGHT) == 1
    assert labelled_since(ledger, "default", "ann", MIDNIGHT - timedelta(hours=2)) == 2
    assert labelled_since(ledger, "default", "bob", MIDNIGHT) == 1
    assert labelled_since(ledger, "other", "ann", MIDNIGHT) == 0


def test_they_are_found_without_a_look_at_labels_of_others(ledger: Ledger) -> None:
    asked: list[tuple[str, Any]] = []

    def note(_c: object, _k: object, statement: str, parameters: object, *_: object) -> None:
        asked.append((statement, parameters))

    calls = [a_call(request=new_id()) for _ in range(LABELS_OF_OTHERS)]
    requests = [a_request(id=call.request, task="default") for call in calls]
    ledger.append(chain(requests, calls, (said(call.id, "check:number") for call in calls)))
    on_sqlite = ledger.engine.dialect.name == "sqlite"
    if not on_sqlite:  # which has no statistics of a ledger
        with ledger.writing() as connection:
            connection.exec_driver_sql("ANALYZE")
    event.listen(ledger.engine, "before_cursor_execute", note)
    labelled_since(ledger, "default", "ann", MIDNIGHT)
    event.remove(ledger.engine, "before_cursor_execute", note)
    statement, parameters = asked[-1]
    explain = "EXPLAIN QUERY PLAN" if on_sqlite else "EXPLAIN"
    with ledger.reading() as connection:
        plan = connection.exec_driver_sql(f"{explain} {statement}", parameters).all()
    assert "labels_of_people" in str(plan)
