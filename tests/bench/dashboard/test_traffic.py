"""The traffic that the dashboard is measured on: what a month of a task looks like, and how it is written."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import chain

import pytest
from sqlalchemy import select

from bench.dashboard.bulk import write
from bench.dashboard.pattern import RARE_NUMBER, Answer, Pattern
from bench.dashboard.traffic import RARE_AT, InForce, Phases, name_of, traffic
from stepdown.ledger import Ledger, Record, schema
from stepdown.records import Call, Decision, Label, Mode, Reason, Request, Role, Tier

ON_BOTH_DATABASES = True
START = datetime(2026, 11, 1, tzinfo=UTC)
DAY = timedelta(days=1)
PHASES = Phases(START, START + DAY, START + 4 * DAY, START + 20 * DAY, START + 30 * DAY)
NAMES = InForce("r" * 64, "q" * 64, 0.0, "s" * 64, "big", "little", "stepdown-student-x")
REQUESTS = 6000


def a_pattern(number: int) -> Pattern:
    answers = {tier: Answer(f"{tier} {number}", 10, 20, 30, number % 3 > 0) for tier in Tier}
    return Pattern(f"hash {number}", f"body {number}", None, answers, 0.8, 0.7 if number % 2 else 0.9)


PATTERNS = [a_pattern(number) for number in range(50)]


@pytest.fixture(scope="module")
def made() -> list[list[Record]]:
    return list(traffic(PATTERNS, PHASES, NAMES, REQUESTS, rare_at=RARE_AT))


def of(made: list[list[Record]], kind: type) -> list[Record]:
    return [record for record in chain.from_iterable(made) if isinstance(record, kind)]


def test_the_same_seed_makes_the_same_traffic(made: list[list[Record]]) -> None:
    assert list(traffic(PATTERNS, PHASES, NAMES, REQUESTS, rare_at=RARE_AT)) == made


def test_a_task_goes_from_strong_to_a_student(made: list[list[Record]]) -> None:
    decisions = [record for record in of(made, Decision) if isinstance(record, Decision)]
    modes = [decision.mode for decision in decisions]
    assert [mode for i, mode in enumerate(modes) if not i or modes[i - 1] != mode] == list(Mode)
    assert all((decision.student is not None) == (decision.at >= PHASES.student) for decision in decisions)
    reasons = Counter(decision.reason for decision in decisions)
    assert reasons.keys() >= {Reason.ROUTED_SMALL, Reason.ROUTED_STRONG, Reason.EXPLORED, Reason.UNROUTABLE}


def test_a_tenth_of_it_is_asked_of_both_models_and_labelled(made: list[list[Record]]) -> None:
    calls = [record for record in of(made, Call) if isinstance(record, Call)]
    shadows = sum(call.role is Role.SHADOW for call in calls)
    assert 0.08 < shadows / REQUESTS < 0.13
    assert 1.8 * shadows < len(of(made, Label)) <= 2 * shadows


def test_the_rare_prompt_is_asked_three_times(made: list[list[Record]]) -> None:
    requests = [record for record in of(made, Request) if isinstance(record, Request)]
    assert sum(request.body == f"body {RARE_NUMBER}" for request in requests) == 3


def test_what_is_written_at_once_is_what_the_ledger_would_have_written(
    ledger: Ledger, made: list[list[Record]]
) -> None:
    tables = (schema.requests, schema.decisions, schema.calls, schema.labels)
    some = list(chain.from_iterable(made[:300] + made[-300:]))
    write(ledger, some)
    bulk = [sorted(ledger.rows(select(table)), key=repr) for table in tables]
    with ledger.writing() as connection:
        for table in tables:
            connection.execute(table.delete())
    ledger.append(some)
    assert [sorted(ledger.rows(select(table)), key=repr) for table in tables] == bulk
    assert len(bulk[0]) == 600


def test_names_sort_by_time() -> None:
    chance = random.Random(0)
    names = [name_of(START + timedelta(milliseconds=step), chance) for step in range(100)]
    assert sorted(names) == names
    assert len(set(names)) == 100
    assert all(len(name) == 36 and name[14] == "7" for name in names)
