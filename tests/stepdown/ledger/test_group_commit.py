"""Group commit returns only after the commit, shares it, and keeps a bad record's neighbours."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from sqlalchemy import func, select

from stepdown.errors import LedgerError
from stepdown.ledger import GroupCommit, Ledger, schema
from stepdown.ledger.store import Record
from tests.records import a_call, a_request

ON_BOTH_DATABASES = True


@pytest.fixture
def commits(ledger: Ledger) -> Iterator[GroupCommit]:
    made = GroupCommit(ledger)
    yield made
    made.close()


def kept(ledger: Ledger) -> int:
    return int(ledger.rows(select(func.count()).select_from(schema.requests))[0][0])


async def test_the_record_is_there_when_the_call_returns(ledger: Ledger, commits: GroupCommit) -> None:
    await commits.commit([a_request()])
    assert kept(ledger) == 1


async def test_many_waiters_share_transactions(ledger: Ledger, commits: GroupCommit) -> None:
    sizes: list[int] = []
    append = ledger.append

    def counting(records: Iterable[Record]) -> None:
        records = list(records)
        sizes.append(len(records))
        append(records)

    ledger.append = counting  # type: ignore[method-assign]
    await asyncio.gather(*(commits.commit([a_request()]) for _ in range(300)))
    assert kept(ledger) == 300
    assert len(sizes) < 100


async def test_one_bad_record_does_not_take_its_neighbours_with_it(
    ledger: Ledger, commits: GroupCommit
) -> None:
    good = [commits.commit([a_request()]) for _ in range(20)]
    bad = commits.commit([a_call(model=None)])
    results: list[Any] = await asyncio.gather(*good, bad, return_exceptions=True)
    assert results[:-1] == [None] * 20
    assert isinstance(results[-1], LedgerError)
    assert kept(ledger) == 20


async def test_a_cancelled_waiter_still_leaves_its_record(ledger: Ledger, commits: GroupCommit) -> None:
    waiting = asyncio.ensure_future(commits.commit([a_request()]))
    await asyncio.sleep(0)
    waiting.cancel()
    await commits.commit([a_request()])
    assert kept(ledger) == 2


async def test_closing_commits_what_waits_and_refuses_what_comes_later(ledger: Ledger) -> None:
    commits = GroupCommit(ledger)
    waiting = asyncio.ensure_future(commits.commit([a_request()]))
    await asyncio.sleep(0)
    await asyncio.to_thread(commits.close)
    await waiting
    assert kept(ledger) == 1
    with pytest.raises(LedgerError, match="closed"):
        await commits.commit([a_request()])


async def test_a_record_that_cannot_be_written_at_all_does_not_end_the_writer(
    ledger: Ledger, commits: GroupCommit
) -> None:
    good = commits.commit([a_request()])
    bad = commits.commit([a_request(conversation="\ud800")])
    first, second = await asyncio.gather(good, bad, return_exceptions=True)
    assert first is None
    assert isinstance(second, LedgerError)
    async with asyncio.timeout(10):
        await commits.commit([a_request()])
    assert kept(ledger) == 2
