"""A judge at work: asks what has not been answered, several items at once, and keeps what comes of it.

Invariant: each answer is committed before the next question of its item is put, and the last one together
with the labels; a kill loses what was under way and nothing else. One bad item is a label that says so; a
judge that fails whatever it is asked ends the sitting.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Iterator

from evals.judge.asking import cost_of, put
from evals.judge.backlog import Item
from evals.judge.combine import Ruling, rule
from evals.judge.counts import JudgeCounts, Progress
from evals.judge.history import History, answered_between, question_id
from evals.judge.judges import Judge
from evals.judge.material import Loaded, load
from evals.judge.settle import IDENTICAL, keep, labels_of, unscored
from evals.judge.verdict import read_opinion
from router.ask import Asked, Asker
from stepdown.errors import StepdownError
from stepdown.ids import now
from stepdown.ledger import Ledger, Record

STOP_AFTER = 8  # questions in a row that the judge did not answer
CLOCK: Callable[[], float] = time.monotonic


class Sitting:
    """Judges items, with or without asking.

    Args:
        ledger: Where calls and labels are kept.
        judge: Who judges.
        progress: Called with the counts so far whenever they change.
    """

    def __init__(self, ledger: Ledger, judge: Judge, progress: Progress = lambda _: None) -> None:
        self.counts = JudgeCounts()
        self._ledger = ledger
        self._judge = judge
        self._progress = progress
        self._counting = threading.Lock()
        self._streak = 0
        self._stopped = False

    def prepare(self, item: Item, history: History) -> Loaded | None:
        """Settle an item that needs no asking, or the texts of one that does.

        Raises:
            LedgerError: The ledger refused a write.
        """
        if self._is_hopeless(history):
            self.settle(item, unscored(f"given up after {len(history.failures)} tries: {history.error}"))
            return None
        if not history.may_try(now()):
            self._count(JudgeCounts(waiting=1))
            return None
        try:
            loaded = load(self._ledger, item)
        except (StepdownError, ValueError, RecursionError) as error:
            self.settle(item, unscored(str(error)))
            return None
        if loaded.identical:
            self.settle(item, IDENTICAL, loaded)
        elif self._is_answered(history):
            self.settle(item, self._ruling(history), loaded)
        else:
            return loaded
        return None

    async def ask(
        self,
        items: Iterable[tuple[Item, History]],
        asker: Asker,
        *,
        at_once: int,
        deadline: float,
    ) -> None:
        """Judge items until there are none, the time is up, or the judge answers nobody.

        Args:
            items: With what came of them so far.
            asker: Asks the judge.
            at_once: Items judged at once.
            deadline: Time of `CLOCK` after which no question is put; those under way are waited for.
        """
        source, turn = iter(items), asyncio.Lock()
        await asyncio.gather(*(self._work(source, turn, asker, deadline) for _ in range(at_once)))

    async def _work(
        self, source: Iterator[tuple[Item, History]], turn: asyncio.Lock, asker: Asker, deadline: float
    ) -> None:
        while not self._stopped and CLOCK() < deadline:
            async with turn:
                taken = await asyncio.to_thread(next, source, None)
            if taken is None:
                return
            item, history = taken
            loaded = await asyncio.to_thread(self.prepare, item, history)
            if loaded is not None:
                await self._ask_all(item, history, loaded, asker, deadline)

    async def _ask_all(
        self, item: Item, history: History, loaded: Loaded, asker: Asker, deadline: float
    ) -> None:
        for part in self._judge.parts:
            if part.name in history.opinions:
                continue
            if self._stopped or CLOCK() >= deadline:
                return
            question = question_id(item.key(self._judge), part)
            fields = self._judge.fields(loaded.material, part)
            asked = await put(asker, self._judge, fields, item.request, question)
            self._count(JudgeCounts(cost_usd_micros=cost_of(asked.calls)))
            if asked.answer is None:
                await asyncio.to_thread(self._ledger.append, asked.records)
                self._note_failure(asked)
                return
            self._streak = 0
            kind = self._judge.settings.kind
            history.opinions[part.name] = read_opinion(kind, asked.answer.text, asked.answer.finish_reason)
            if self._is_answered(history):
                await asyncio.to_thread(self.settle, item, self._ruling(history), loaded, asked.records)
            else:
                await asyncio.to_thread(self._ledger.append, asked.records)

    def _is_answered(self, history: History) -> bool:
        return all(part.name in history.opinions for part in self._judge.parts)

    def _is_hopeless(self, history: History) -> bool:
        if not history.hopeless(answered_meanwhile=True):
            return False
        first, last, model = history.failures[0], history.failures[-1], self._judge.model.model
        return history.hopeless(answered_between(self._ledger, model, first, last))

    def _ruling(self, history: History) -> Ruling:
        return rule(self._judge.settings.kind, self._judge.settings.votes, history.opinions)

    def _note_failure(self, asked: Asked) -> None:
        self._streak += 1
        self._count(JudgeCounts(failed=1))
        if self._streak >= STOP_AFTER and not self._stopped:
            self._stopped = True
            why = f"did not answer {self._streak} questions in a row, and was left alone; last: {asked.error}"
            self.note(why)

    def settle(
        self, item: Item, ruling: Ruling, loaded: Loaded | None = None, records: Iterable[Record] = ()
    ) -> None:
        """Keep the labels of an item, and the calls that led to them."""
        labels = labels_of(self._judge, item, ruling, loaded.notes if loaded else ())
        if not keep(self._ledger, item, records, labels):
            return  # another reference came meanwhile: a later sweep judges by that
        if ruling.scores is None:
            self._count(JudgeCounts(unscored=1))
        else:
            self._count(JudgeCounts(judged=1, ties=int(ruling.scores == (0.5, 0.5))))

    def count_batched(self, items: int) -> None:
        """Count items that were sent to a batch endpoint."""
        self._count(JudgeCounts(batched=items))

    def note(self, what: str) -> None:
        """Say something of this judge."""
        self._count(JudgeCounts(notes=(f"judge {self._judge.name!r} of task {self._judge.task!r} {what}",)))

    def _count(self, more: JudgeCounts) -> None:
        with self._counting:  # settling happens in threads
            self.counts += more
            self._progress(self.counts)
