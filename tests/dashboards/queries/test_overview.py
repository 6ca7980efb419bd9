"""Tests of the overview's counts, read from the hours that the workers keep."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import event

from dashboards.queries.overview import first_hour, read_live, read_speeds, read_traffic
from dashboards.queries.period import DAY, HOUR, Period, floor
from evals.rollups.fill import roll_up
from stepdown.ledger import Ledger
from stepdown.records import Mode, Reason, Role, Tier
from tests.evals.ledgers import START, Writer

ON_BOTH_DATABASES = True

UNTIL = START + timedelta(days=2)
DAYS = Period("all", floor(START, DAY), UNTIL, DAY)


def test_hours_add_up_to_buckets(ledger: Ledger) -> None:
    writer = Writer(ledger)
    with writer.together():
        for number in range(90):  # one a minute, so over two hours
            writer.pair(f"question {number}", True, True, costs=(100, 10))
    roll_up(ledger)
    by_day, by_hour = (
        read_traffic(ledger, "default", DAYS),
        read_traffic(ledger, "default", Period("all", floor(START, HOUR), UNTIL, HOUR)),
    )
    assert by_day.total == by_hour.total == 90
    assert {row.start for row in by_day.requests} == {floor(START, DAY)}
    assert len({row.start for row in by_hour.requests}) > 1
    assert by_day.known_cost == 90 * 110
    assert {(row.tier, row.role, row.calls) for row in by_day.calls} == {
        (Tier.STRONG, Role.LIVE, 90),
        (Tier.SMALL, Role.SHADOW, 90),
    }


def test_what_was_named_or_unanswered_is_not_covered(ledger: Ledger) -> None:
    writer = Writer(ledger)
    for number in range(3):
        writer.routed(f"small {number}", Tier.SMALL)
    writer.routed("strong", Tier.STRONG)
    writer.routed("named", Tier.SMALL, reason=Reason.NAMED)
    unanswered = writer.request("nobody", mode=Mode.ROUTE, reason=Reason.ROUTED_SMALL, status=502)
    writer.call(unanswered, Tier.SMALL, status=500)
    writer.request("left", status=499)
    roll_up(ledger)
    traffic = read_traffic(ledger, "default", DAYS)
    assert (traffic.routed, traffic.routed_small, traffic.coverage) == (4, 3, 0.75)
    assert (traffic.failed, traffic.left) == (1, 1)
    assert traffic.reasons()[0] == (Reason.ROUTED_SMALL, 4)


def test_other_tasks_and_times_are_left_out(ledger: Ledger) -> None:
    Writer(ledger, task="other").routed("elsewhere", Tier.SMALL)
    roll_up(ledger)
    assert read_traffic(ledger, "default", DAYS).total == 0
    assert read_traffic(ledger, "default", DAYS).coverage is None
    assert read_traffic(ledger, "other", Period("all", UNTIL, UNTIL + DAY, DAY)).total == 0
    assert first_hour(ledger, "default") is None
    assert first_hour(ledger, "other") == floor(START, HOUR)


def test_speeds_are_of_answers_to_clients_alone(ledger: Ledger) -> None:
    writer = Writer(ledger)
    for number in range(20):
        writer.pair(f"question {number}", True, True)  # calls of 5 ms each
    roll_up(ledger)
    speeds, since = read_speeds(ledger, "default", DAYS)
    assert since == DAYS.since
    assert [(speed.model, speed.calls) for speed in speeds] == [("large-1", 20)]
    assert 5 / 1.19 < speeds[0].p50_ms <= speeds[0].p95_ms < 5 * 1.19
    assert speeds[0].ttft_calls == 0


def test_live_counts_the_last_minute_and_this_day(ledger: Ledger) -> None:
    writer = Writer(ledger)
    for number in range(5):
        newest = writer.routed(f"question {number}", Tier.SMALL)
    roll_up(ledger)
    at = START + timedelta(minutes=int(newest[1:]), seconds=30)
    live = read_live(ledger, "default", at)
    assert (live.minute, live.today, live.small_today) == (1, 5, 5)
    assert live.newest == at - timedelta(seconds=30)
    tomorrow = read_live(ledger, "default", at + DAY)
    assert (tomorrow.minute, tomorrow.today) == (0, 0)
    assert read_live(ledger, "other", at).newest is None


def test_a_year_of_hours_is_read_as_few_rows(ledger: Ledger) -> None:
    Writer(ledger).routed("question", Tier.SMALL)
    roll_up(ledger)
    seen: list[str] = []
    event.listen(ledger.engine, "before_cursor_execute", lambda *said: seen.append(said[2].lower()))
    read_traffic(ledger, "default", DAYS)
    read = [statement for statement in seen if statement.startswith("select")]
    assert len(read) == 2
    assert all("group by" in statement for statement in read)
    assert not any("from requests" in statement or "from calls" in statement for statement in read)
