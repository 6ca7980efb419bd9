"""Group commit: many requests wait for one transaction.

Invariant: the awaited call returns only after the records are committed. One thread writes; while it
commits, the next group gathers, so the cost of a commit is shared by all that wait for it. While there is
more than one to wait for it, a group gathers a little longer: most of what a commit costs does not depend on
how much is in it. A record that comes alone is written at once.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

from stepdown.errors import LedgerError
from stepdown.ledger.store import Ledger, Record

Entry = tuple[Sequence[Record], asyncio.Future[None], asyncio.AbstractEventLoop]
MAX_GROUP = 256
GATHER_S = 0.003


class GroupCommit:
    """Commits records from an event loop through one writer thread.

    Args:
        ledger: Where to commit.
        took: Told, in the writer thread, how many seconds each commit took.
    """

    def __init__(self, ledger: Ledger, took: Callable[[float], None] = lambda _: None) -> None:
        self._ledger = ledger
        self._took = took
        self._entries: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="group-commit", daemon=True)
        self._thread.start()
        self._closed = False

    async def commit(self, records: Sequence[Record]) -> None:
        """Return when the records are committed.

        Raises:
            LedgerError: The ledger refused them, or is closed.
        """
        if self._closed:
            raise LedgerError("the ledger is closed; the record was not kept")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._entries.put((records, done, loop))
        await done  # where this is cancelled, the record is written all the same

    def close(self) -> None:
        """Commit what waits, then stop the thread."""
        self._closed = True
        self._entries.put(None)
        self._thread.join()

    def _run(self) -> None:
        group: list[Entry] | None = []
        while group is not None:
            group = self._next_group(busy=len(group) > 1)
            if group:
                self._commit(group)

    def _next_group(self, *, busy: bool) -> list[Entry] | None:
        """What waits, once something does; None at the end."""
        group: list[Entry] = []
        try:
            entry = self._entries.get()
            if busy:
                time.sleep(GATHER_S)
            while entry is not None:
                group.append(entry)
                if len(group) == MAX_GROUP:
                    return group
                entry = self._entries.get_nowait()
        except queue.Empty:
            return group
        if group:
            self._entries.put(None)  # commit these first, and stop at the next look
            return group
        return None

    def _commit(self, group: list[Entry]) -> None:
        error: LedgerError | None = None
        began = time.perf_counter()
        try:
            self._ledger.append([record for records, _, _ in group for record in records])
        except Exception as refused:  # whatever a record breaks, the thread must live on
            if len(group) > 1:  # one bad record must not take its neighbours with it
                for entry in group:
                    self._commit([entry])
                return
            error = refused if isinstance(refused, LedgerError) else _unusable(refused)
        self._took(time.perf_counter() - began)
        waiting: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = defaultdict(list)
        for _, done, loop in group:
            waiting[loop].append(done)
        for loop, waiters in waiting.items():
            loop.call_soon_threadsafe(_settle, waiters, error)  # once, because each call wakes the loop


def _unusable(error: Exception) -> LedgerError:
    unusable = LedgerError(f"the record cannot be written: {type(error).__name__}: {error}")
    unusable.__cause__ = error
    return unusable


def _settle(waiters: Sequence[asyncio.Future[None]], error: LedgerError | None) -> None:
    for done in waiters:
        if done.cancelled():
            continue
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)
