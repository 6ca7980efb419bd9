"""Tests of `stepdown.summaries`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from stepdown.ids import now
from stepdown.ledger import Ledger
from stepdown.summaries import Summaries

ON_BOTH_DATABASES = True
TWO = (b"[1]", b"[2]")


def test_the_newest_replaces_the_one_before(ledger: Ledger) -> None:
    summaries, before = Summaries(ledger), now()
    summaries.keep("mail", "days", b"[1]")
    summaries.keep("mail", "days", b"[2]")
    found = summaries.newest("mail", "days")
    assert found is not None
    assert found.content == b"[2]"
    assert before <= found.at <= now()


def test_two_who_keep_at_once_do_not_get_in_each_others_way(ledger: Ledger) -> None:
    summaries = Summaries(ledger)
    names = [f"day {number}" for number in range(20)]
    with ThreadPoolExecutor(2) as writers:
        for name in names:
            list(writers.map(lambda content, name=name: summaries.keep("mail", name, content), TWO))
    found = [summaries.newest("mail", name) for name in names]
    assert {kept.content for kept in found if kept is not None} <= set(TWO)
    assert None not in found


def test_a_summary_is_of_one_task_and_one_name(ledger: Ledger) -> None:
    summaries = Summaries(ledger)
    summaries.keep("mail", "days", b"[]")
    assert summaries.newest("mail", "outlook") is None
    assert summaries.newest("chat", "days") is None


def test_what_is_read_is_of_its_type_or_nothing(ledger: Ledger) -> None:
    summaries = Summaries(ledger)
    assert summaries.read("mail", "days", list[int]) is None
    summaries.keep("mail", "days", b"[1, 2]")
    kept, found = summaries.newest("mail", "days"), summaries.read("mail", "days", list[int])
    assert kept is not None
    assert found == (kept.at, [1, 2])
    assert summaries.read("mail", "days", list[str]) is None
