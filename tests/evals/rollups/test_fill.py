"""Hours add up to what is in the ledger, however often, late or interruptedly they are counted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import select

from evals.outcomes import read_outcomes
from evals.rollups import fill
from evals.rollups.buckets import added, bucket_of
from evals.rollups.fill import roll_up
from evals.rollups.read import call_hours, request_hours, tasks_seen
from stepdown.ids import new_id
from stepdown.ledger import Ledger, Record, schema
from stepdown.ledger.lock import alone
from stepdown.records import Role, Tier
from stepdown.summaries import Summaries
from tests.evals.ledgers import START, Writer
from tests.evals.report.scene import play
from tests.records import a_call, a_decision, a_request

ON_BOTH_DATABASES = True

EARLY, LATE = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
NOW = START + timedelta(days=2)


def kept(ledger: Ledger) -> list[list[Any]]:
    """All that was counted, without the order in which it is stored."""
    tables = (schema.request_hours, schema.call_hours)
    return [sorted(map(tuple, ledger.rows(select(table))), key=repr) for table in tables]


def hourly(ledger: Ledger, hours: int, *, task: str = "default") -> list[str]:
    """A request with its call in each of some hours; returns the ids of the requests."""
    names, records = [new_id() for _ in range(hours)], list[Record]()
    for number, name in enumerate(names):
        at = START + timedelta(hours=number)
        records += [
            a_request(id=name, at=at, task=task),
            a_decision(request=name, at=at),
            a_call(request=name, at=at),
        ]
    ledger.append(records)
    return names


def sum_by(frame: pd.DataFrame, keys: list[str], value: str) -> dict[Any, int]:
    return {key: int(number) for key, number in frame.groupby(keys)[value].sum().items()}


def test_hours_add_up_to_the_outcomes(ledger: Ledger) -> None:
    writer = play(ledger)
    writer.call(writer.request("failed", status=502), Tier.STRONG, status=500)
    writer.call(writer.request("unpriced"), Tier.STRONG, cost=None)
    escalated = writer.routed("escalated", Tier.SMALL)
    writer.call(escalated, Tier.STRONG, role=Role.ESCALATION, cost=7, tokens=(1, 2))
    roll_up(ledger, at=NOW)
    outcomes = read_outcomes(ledger, "default")
    requests, calls = (
        request_hours(ledger, "default", EARLY, LATE),
        call_hours(ledger, "default", EARLY, LATE),
    )
    truth = outcomes.requests.assign(answered=outcomes.requests["answered"].fillna(""), requests=1)
    keys = ["mode", "reason", "answered", "status"]
    assert sum_by(requests, keys, "requests") == sum_by(truth, keys, "requests")
    truly = outcomes.calls.assign(
        calls=1,
        failed=~outcomes.calls["ok"],
        unpriced=outcomes.calls["ok"] & outcomes.calls["cost_usd_micros"].isna(),
    )
    for name in ("calls", "failed", "unpriced", "prompt_tokens", "completion_tokens", "cost_usd_micros"):
        assert sum_by(calls, ["model", "tier", "role"], name) == sum_by(
            truly, ["model", "tier", "role"], name
        )
    assert sum(added(requests["latency"])) == len(outcomes.requests)
    assert sum(added(calls["latency"])) == int(outcomes.calls["ok"].sum())
    assert added(requests["latency"])[bucket_of(10.0)] == len(outcomes.requests)


def test_a_request_counts_in_its_own_hour_and_so_do_its_calls(ledger: Ledger) -> None:
    hourly(ledger, 3)
    late = a_request(at=START + timedelta(minutes=59, seconds=59))
    made = a_call(request=late.id, at=START + timedelta(minutes=61), model="other")
    ledger.append([late, made])
    roll_up(ledger, at=NOW)
    assert request_hours(ledger, "default", EARLY, LATE).groupby("hour")["requests"].sum().tolist() == [
        2,
        1,
        1,
    ]
    calls = call_hours(ledger, "default", EARLY, LATE)
    assert calls.loc[calls["model"] == "other", "hour"].tolist() == [pd.Timestamp(START)]


def test_counting_again_changes_nothing_and_reads_nothing_again(ledger: Ledger) -> None:
    play(ledger)
    assert roll_up(ledger, at=NOW) > 0
    before = kept(ledger)
    assert roll_up(ledger, at=NOW) == 0
    with ledger.writing() as connection:
        connection.execute(schema.summaries.delete())
    assert roll_up(ledger, at=NOW) > 0
    assert kept(ledger) == before


def test_new_traffic_is_counted_beside_the_old(ledger: Ledger) -> None:
    writer = play(ledger)
    roll_up(ledger, at=NOW)
    writer.call(writer.request("one more"), Tier.STRONG)
    writer.call(Writer(ledger, task="other", numbers=count(5000)).request("other task"), Tier.SMALL)
    assert roll_up(ledger, at=NOW) == 2
    assert int(request_hours(ledger, "default", EARLY, LATE)["requests"].sum()) == 101
    assert request_hours(ledger, "other", EARLY, LATE)["answered"].tolist() == ["small"]


def test_a_late_call_changes_the_old_hour_of_its_request_and_no_other(ledger: Ledger) -> None:
    names = hourly(ledger, 30)
    roll_up(ledger, at=NOW)
    asked = a_call(request=names[2], at=START + timedelta(hours=40), role=Role.SHADOW, tier=Tier.SMALL)
    ledger.append([asked])
    assert roll_up(ledger, at=NOW) == 1
    calls = call_hours(ledger, "default", EARLY, LATE)
    assert calls.loc[calls["role"] == "shadow", "hour"].tolist() == [pd.Timestamp(START + timedelta(hours=2))]
    assert int(calls["calls"].sum()) == 31


def test_a_request_that_was_long_under_way_is_counted_when_it_has_ended(ledger: Ledger) -> None:
    hourly(ledger, 30)
    roll_up(ledger, at=NOW)
    long = a_request(at=START + timedelta(hours=28, minutes=45), status=599)
    ledger.append([long, a_call(request=long.id, at=long.at)])
    roll_up(ledger, at=NOW)
    assert 599 in request_hours(ledger, "default", EARLY, LATE)["status"].tolist()


def test_a_first_fill_goes_on_where_it_was_stopped_with_the_newest_first(ledger: Ledger) -> None:
    hourly(ledger, 30)
    assert roll_up(ledger, at=NOW, budget_s=0.0) == 1
    assert request_hours(ledger, "default", EARLY, LATE)["hour"].tolist() == [
        pd.Timestamp(START + timedelta(hours=29))
    ]
    assert roll_up(ledger, at=NOW) == 29
    assert request_hours(ledger, "default", EARLY, LATE)["requests"].tolist() == [1] * 30


def test_a_fill_that_is_killed_at_any_point_loses_and_doubles_nothing(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    hourly(ledger, 30)
    monkeypatch.setattr(fill, "TOGETHER", 4)
    real = Summaries.keep
    left = count(3, -1)

    def killed(self: Any, *kept: Any) -> None:
        if next(left) == 0:
            raise KeyboardInterrupt
        real(self, *kept)

    monkeypatch.setattr(Summaries, "keep", killed)
    with pytest.raises(KeyboardInterrupt):  # its hours are kept, and that they are counted is not
        roll_up(ledger, at=NOW)
    monkeypatch.undo()
    assert 0 < len(request_hours(ledger, "default", EARLY, LATE)) < 30
    roll_up(ledger, at=NOW)
    assert request_hours(ledger, "default", EARLY, LATE)["requests"].tolist() == [1] * 30


def test_a_row_from_the_future_does_not_hide_what_comes_meanwhile(ledger: Ledger) -> None:
    hourly(ledger, 2)
    ahead = a_request(at=NOW + timedelta(days=365))
    ledger.append([ahead, a_call(request=ahead.id, at=ahead.at)])
    roll_up(ledger, at=NOW)
    now = a_request(at=NOW)
    ledger.append([now, a_call(request=now.id, at=NOW)])
    roll_up(ledger, at=NOW + timedelta(seconds=15))
    assert int(request_hours(ledger, "default", EARLY, LATE)["requests"].sum()) == 4


def test_one_process_counts_at_a_time(ledger: Ledger) -> None:
    hourly(ledger, 2)
    with alone(ledger, fill.PROGRESS):
        assert roll_up(ledger, at=NOW) == 0
    assert roll_up(ledger, at=NOW) == 2


def test_progress_that_cannot_be_read_is_begun_anew(ledger: Ledger) -> None:
    hourly(ledger, 2)
    roll_up(ledger, at=NOW)
    Summaries(ledger).keep("", fill.PROGRESS, b"junk")
    assert roll_up(ledger, at=NOW) == 2


def test_a_request_without_a_decision_or_an_answer_has_empty_words(ledger: Ledger) -> None:
    ledger.append([a_request(at=START, status=404)])
    roll_up(ledger, at=NOW)
    (row,) = request_hours(ledger, "default", EARLY, LATE).to_dict("records")
    assert (row["mode"], row["reason"], row["answered"], row["status"]) == ("", "", "", 404)
    assert call_hours(ledger, "default", EARLY, LATE).empty


def test_only_the_asked_hours_of_the_asked_task_are_read(ledger: Ledger) -> None:
    hourly(ledger, 5)
    hourly(ledger, 2, task="other")
    roll_up(ledger, at=NOW)
    hours = request_hours(ledger, "default", START + timedelta(hours=1), START + timedelta(hours=3))
    assert hours["hour"].tolist() == [pd.Timestamp(START + timedelta(hours=n)) for n in (1, 2)]
    plain = request_hours(ledger, "other", EARLY, LATE, with_times=False)
    assert "latency" not in plain.columns
    assert len(plain) == 2
    assert tasks_seen(ledger) == ("default", "other")


def test_an_empty_ledger_has_no_hours(ledger: Ledger) -> None:
    assert roll_up(ledger) == 0
    assert tasks_seen(ledger) == ()
    assert request_hours(ledger, "default", EARLY, LATE).empty
