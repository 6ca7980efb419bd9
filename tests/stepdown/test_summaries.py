"""Tests of `stepdown.summaries`."""

from __future__ import annotations

from stepdown.ids import now
from stepdown.ledger import Ledger
from stepdown.summaries import Summaries

ON_BOTH_DATABASES = True


def test_the_newest_replaces_the_one_before(ledger: Ledger) -> None:
    summaries, before = Summaries(ledger), now()
    summaries.keep("mail", "days", b"[1]")
    summaries.keep("mail", "days", b"[2]")
    found = summaries.newest("mail", "days")
    assert found is not None
    assert found.content == b"[2]"
    assert before <= found.at <= now()


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
