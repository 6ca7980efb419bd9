"""What is left to do is counted as the sweep would find it, however old it is."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from evals.judge.judges import version_of
from evals.labelling import label_all, labellers
from evals.summary import operations
from evals.summary.documents import Operations
from evals.summary.kept import newest
from evals.summary.operations import keep_operations
from stepdown.ledger import Ledger
from stepdown.records import Tier, Verdict
from stepdown.settings import JudgeSettings, ModelSettings, Settings, TaskSettings
from stepdown.summaries import ALL_TASKS, Summaries
from tests.answered import answered, calls_by_tier
from tests.evals.ledgers import START
from tests.records import a_label

ON_BOTH_DATABASES = True

NOW = START + timedelta(hours=5)
JUDGE = JudgeSettings(model="strong")
TASK = TaskSettings(check="some", checks={"some": {"kind": "exact"}})
SETTINGS = Settings(
    models={"strong": ModelSettings(model="gpt-sekrit", url="http://127.0.0.1:1/v1")},
    tasks={"default": TASK},
)


def ask(ledger: Ledger, at: datetime, small: str | None = None) -> str:
    return answered(ledger, f"prompt of {at}", at=at, reference='"says"', small=small)


def test_answers_wait_until_they_are_labelled(ledger: Ledger) -> None:
    for hours in (1, 2, 3):
        ask(ledger, START + timedelta(hours=hours), small="small says")
    found = keep_operations(ledger, SETTINGS, at=NOW)
    assert found.label_backlog == {"default": 6}
    assert found.oldest_unlabelled_s == {"default": 4 * 3600.0}
    assert found.queue_age_s == {"labels": 4 * 3600.0, "evals": None, "fits": None}
    label_all(ledger, SETTINGS.tasks, batch=100, budget_s=60)
    found = keep_operations(ledger, SETTINGS, at=NOW)
    assert (found.label_backlog, found.oldest_unlabelled_s) == ({"default": 0}, {"default": None})
    kept = newest(ledger, ALL_TASKS, Operations)
    assert kept is not None
    assert kept.document == found


def test_answers_that_lack_their_reference_do_not_wait(ledger: Ledger) -> None:
    answered(ledger, at=NOW)
    assert keep_operations(ledger, SETTINGS, at=NOW).label_backlog == {"default": 0}


def test_a_look_goes_on_where_the_one_before_left_and_looks_at_all_once_an_hour(ledger: Ledger) -> None:
    ask(ledger, START)
    label_all(ledger, SETTINGS.tasks, batch=100, budget_s=60)
    keep_operations(ledger, SETTINGS, at=NOW)
    ask(ledger, NOW - timedelta(minutes=30))  # it was under way when the first look was
    ask(ledger, START + timedelta(minutes=1))  # this comes very late
    soon = keep_operations(ledger, SETTINGS, at=NOW + timedelta(minutes=1))
    assert soon.label_backlog == {"default": 1}
    assert soon.oldest_unlabelled_s == {"default": 31 * 60.0}
    later = keep_operations(ledger, SETTINGS, at=NOW + timedelta(minutes=61))
    assert later.label_backlog == {"default": 2}


def test_a_check_that_changed_waits_for_all_its_labels_again(ledger: Ledger) -> None:
    ask(ledger, START)
    label_all(ledger, SETTINGS.tasks, batch=100, budget_s=60)
    assert keep_operations(ledger, SETTINGS, at=NOW).label_backlog == {"default": 0}
    changed = TaskSettings(check="some", checks={"some": {"kind": "exact", "ignore_case": True}})
    assert labellers(changed)[0].version != labellers(TASK)[0].version
    settings = Settings(models=SETTINGS.models, tasks={"default": changed})
    assert keep_operations(ledger, settings, at=NOW).label_backlog == {"default": 1}


def test_judges_have_a_backlog_of_their_own(ledger: Ledger) -> None:
    first = ask(ledger, START + timedelta(hours=4), small="small says")
    ask(ledger, START + timedelta(hours=4, minutes=30), small="small says")
    task = TaskSettings(judges={"j": JUDGE})
    settings = Settings(models=SETTINGS.models, tasks={"default": task})
    found = keep_operations(ledger, settings, at=NOW)
    assert found.label_backlog == {"default": 4}
    assert found.queue_age_s["evals"] == 3600.0
    version, calls = version_of(JUDGE, settings.models["strong"]), calls_by_tier(ledger, first)
    ledger.append(
        [
            a_label(subject=calls[tier], labeller="judge:j", version=version, verdict=Verdict.GOOD)
            for tier in Tier
        ]
    )
    found = keep_operations(ledger, settings, at=NOW)
    assert found.label_backlog == {"default": 2}
    assert found.queue_age_s["evals"] == 1800.0


def test_counts_end_at_their_limit_and_say_so(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    for minutes in range(4):
        ask(ledger, START + timedelta(minutes=minutes))
    assert keep_operations(ledger, SETTINGS, at=NOW).capped == ()
    monkeypatch.setattr(operations, "MOST", 3)
    found = keep_operations(ledger, SETTINGS, at=NOW)
    assert (found.label_backlog, found.capped) == ({"default": 3}, ("default",))
    assert found.oldest_unlabelled_s == {"default": 5 * 3600.0}


def test_a_check_that_is_not_declared_waits_for_the_label_that_says_so(ledger: Ledger) -> None:
    task = TaskSettings(check="forgotten", checks=TASK.checks)
    settings = Settings(models=SETTINGS.models, tasks={"default": task})
    ask(ledger, NOW)
    assert keep_operations(ledger, settings, at=NOW).label_backlog == {"default": 1}
    label_all(ledger, settings.tasks, batch=100, budget_s=60)
    assert keep_operations(ledger, settings, at=NOW).label_backlog == {"default": 0}


def test_of_a_large_ledger_the_newest_requests_are_looked_at(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for minutes in range(4):
        ask(ledger, START + timedelta(minutes=minutes), small="small says")
    task = TaskSettings(check="some", checks=TASK.checks, judges={"j": JUDGE})
    settings = Settings(models=SETTINGS.models, tasks={"default": task})
    monkeypatch.setattr(operations, "LOOKED_AT", 4)
    monkeypatch.setattr(operations, "LOOKED_AT_BY_JUDGE", 4)
    assert keep_operations(ledger, settings, at=NOW).label_backlog == {"default": 16}
    monkeypatch.setattr(operations, "LOOKED_AT", 3)
    monkeypatch.setattr(operations, "LOOKED_AT_BY_JUDGE", 2)
    found = keep_operations(ledger, settings, at=NOW + timedelta(hours=1))
    assert found.label_backlog == {"default": 10}
    assert found.oldest_unlabelled_s == {"default": (NOW + timedelta(hours=1, minutes=-1) - START).seconds}


def test_reports_that_are_overdue_age_the_queue_that_makes_them(ledger: Ledger) -> None:
    Summaries(ledger).keep("default", "totals", b"{}")
    kept = Summaries(ledger).newest("default", "totals")
    assert kept is not None
    late = kept.at + timedelta(seconds=SETTINGS.worker.report_every_s + 90)
    assert keep_operations(ledger, SETTINGS, at=late).queue_age_s["fits"] == pytest.approx(90)
    assert keep_operations(ledger, SETTINGS, at=kept.at).queue_age_s["fits"] is None


def test_a_ledger_without_tasks_has_nothing_to_do(ledger: Ledger) -> None:
    found = keep_operations(ledger, Settings(), at=NOW)
    assert (found.label_backlog, found.capped) == ({}, ())
