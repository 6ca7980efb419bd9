"""Asks a student prompts of live traffic: for the gate, and for a router of its own.

Invariant: every call is kept as it is made, and what has an answer is not asked again; so a run that was
broken off is taken up by running it again. Nobody outside sees these answers: they are shadow calls.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from distill.evaluation.held_out import Trained, trained_on
from distill.evaluation.sample import Asked, answered_by, sampled
from evals.harness.asking import all_of
from router.ask import Asker, open_asker
from router.wire import ChatRequest, parse_chat
from stepdown.errors import BadRequest, OutOfBudget, ServingError, SettingsError
from stepdown.ledger import Ledger
from stepdown.records import Role, Tier
from stepdown.registry import Registry
from stepdown.settings import Settings, TaskSettings
from stepdown.students import served_name, with_student

CLOCK: Callable[[], float] = time.monotonic
AWAY_AFTER = 10
TIMED = 100
PAGE = 200
REFUSALS = (400, 413, 422)  # of a prompt that is too long, say, by a server that is up
NOT_SENT = ("model", "stream", "stream_options")


@dataclass(frozen=True, slots=True)
class AskedCounts:
    """What was done, in prompts.

    Attributes:
        asked: Put to the student now, of which so many were `answered` and `failed`.
        before: Had its answer already.
        beside: Put to the student in service now.
        gone: Left out because the request's text is gone or cannot be read.
        unroutable: Left out because the small model may not be sent such a request.
        cost_usd_micros: Of the calls made now, as far as prices are known.
        error: Of the last one that failed.
    """

    asked: int = 0
    answered: int = 0
    failed: int = 0
    before: int = 0
    beside: int = 0
    gone: int = 0
    unroutable: int = 0
    cost_usd_micros: int = 0
    error: str | None = None

    def __str__(self) -> str:
        """The counts that are not zero, in words."""
        others = {
            "failed": self.failed,
            "answered before": self.before,
            "put to the student in service": self.beside,
            "without their text": self.gone,
            "not for small models": self.unroutable,
        }
        words = "".join(f", {count:,} {name}" for name, count in others.items() if count)
        return f"{self.answered:,} of {self.asked:,} prompts answered{words}"


def ask_student(
    ledger: Ledger,
    settings: Settings,
    environ: Mapping[str, str],
    task: str,
    student: str | None,
    *,
    most: int,
    deadline: float = math.inf,
    held_out: bool = True,
    beside: bool = True,
) -> AskedCounts:
    """Ask a student the newest prompts that strong has answered, each once, and keep its answers.

    Prompts that the student was trained on are left out, for it answers them better than it answers others:
    a gate would let it in for what it remembers, and a router fitted on them would be certified for what it
    is not. So relabelling leaves them out too; `held_out=False` asks them all the same, for answers that
    nothing rests on.

    Args:
        ledger: Where the traffic is, and where the calls are kept.
        settings: All settings.
        environ: Where the models' keys are.
        task: Name of the task.
        student: Artifact id of the student; None is the small model as declared.
        most: Prompts at most, those that have its answer already among them.
        deadline: Time of `CLOCK` at which no more is asked.
        held_out: Whether to leave out what the student was trained on, and, where the student in service is
            asked too, what that one was trained on.
        beside: Whether to ask the student in service where it has no answer; and of the first prompts in any
            case, so that both are timed under the same load.

    Raises:
        OutOfBudget: The deadline came; what was answered until then is kept.
        ServingError: Most prompts have no answer, or the server failed again and again.
        SettingsError: The task is not declared or has no small model, or a key is not set.
        LedgerError: The ledger refused.
    """
    asking = _Asking.of(ledger, settings, task, student, beside=beside)
    trained = trained_on(ledger, task, asking.task, asking.students) if held_out else Trained()
    return asyncio.run(asking.run(environ, trained, most, deadline))


@dataclass(frozen=True)
class _Question:
    """A prompt to be put to the student, the one in service, or both."""

    request: str
    fields: Mapping[str, Any]
    student: bool
    beside: bool


@dataclass
class _Asking:
    ledger: Ledger
    settings: Settings
    task_name: str
    task: TaskSettings
    small: str
    students: tuple[str | None, ...]  # the one that is asked, and the one beside it if any
    counts: AskedCounts = AskedCounts()
    failures: int = 0  # in a row
    away: bool = False
    late: bool = False

    @classmethod
    def of(
        cls, ledger: Ledger, settings: Settings, task: str, student: str | None, *, beside: bool
    ) -> _Asking:
        declared = declared_task(settings, task)
        in_service = Registry(ledger).deployed(task).student
        both = (student, in_service) if beside and in_service != student else (student,)
        small = small_of(task, declared)
        for each in both:
            if each is not None:
                settings = with_student(settings, small, each)
        return cls(ledger, settings, task, declared, small, both)

    def alias(self, student: str | None) -> str:
        return self.small if student is None else served_name(student)

    async def run(
        self, environ: Mapping[str, str], trained: Trained, most: int, deadline: float
    ) -> AskedCounts:
        questions = self._questions(sampled(self.ledger, self.task_name, trained), most)
        aliases = [self.alias(student) for student in self.students]
        workers = self.settings.worker.concurrency
        async with open_asker(self.settings, environ, aliases, until=deadline) as asker:
            await all_of(self._work(asker, questions, deadline) for _ in range(workers))
        self._refuse_silence()
        if self.late:
            raise OutOfBudget(f"the time was up: {self.counts}; what was answered is kept")
        return self.counts

    def _refuse_silence(self) -> None:
        counts = self.counts
        if self.away or 2 * counts.failed > counts.asked + counts.before:
            raise ServingError(
                f"model {self.alias(self.students[0])!r} did not answer: {self.counts}; the last one: "
                f"{self.counts.error}"
            )

    async def _work(self, asker: Asker, questions: Iterator[_Question], deadline: float) -> None:
        while not self.away and not self.late:
            if CLOCK() >= deadline:
                self.late = next(questions, None) is not None
                return
            question = next(questions, None)  # reads a page of the ledger now and then
            if question is None:
                return
            await self._put(asker, question)

    async def _put(self, asker: Asker, question: _Question) -> None:
        wanted = (question.student, question.beside)
        chosen = [one for one, is_wanted in zip(self.students, wanted, strict=False) if is_wanted]
        found = await asyncio.gather(
            *(
                asker.ask(
                    self.alias(student),
                    question.fields,
                    request=question.request,
                    role=Role.SHADOW,
                    tier=Tier.SMALL,
                )
                for student in chosen
            )
        )
        await asyncio.to_thread(self.ledger.append, [record for one in found for record in one.records])
        spent = sum(call.cost_usd_micros or 0 for one in found for call in one.calls)
        own = found[0] if question.student else None
        failed = own is not None and own.answer is None
        if own is not None:
            is_up = not failed or own.calls[-1].status in REFUSALS
            self.failures = 0 if is_up else self.failures + 1
            self.away = self.away or self.failures >= AWAY_AFTER
        self.counts = replace(
            self.counts,
            asked=self.counts.asked + question.student,
            answered=self.counts.answered + (own is not None and not failed),
            failed=self.counts.failed + failed,
            beside=self.counts.beside + (question.beside and found[-1].answer is not None),
            cost_usd_micros=self.counts.cost_usd_micros + spent,
            error=own.error if own is not None and failed else self.counts.error,
        )

    def _questions(self, prompts: Iterator[Asked], most: int) -> Iterator[_Question]:
        """What is to be asked of the newest `most` prompts that a small model may be sent."""
        taken = 0
        while taken < most and (page := list(islice(prompts, PAGE))):
            readable = self._readable(page, most - taken)
            names = [asked.request for asked, _ in readable]
            have = [answered_by(self.ledger, names, student) for student in self.students]
            for place, (asked, chat) in enumerate(readable, start=taken):
                question = self._question(asked.request, chat, have, place)
                if question.student or question.beside:
                    yield question
            taken += len(readable)

    def _question(self, request: str, chat: ChatRequest, have: Sequence[set[str]], place: int) -> _Question:
        fields = {name: value for name, value in chat.fields.items() if name not in NOT_SENT}
        ask = request not in have[0]
        self.counts = replace(self.counts, before=self.counts.before + (not ask))
        beside = len(have) > 1 and (request not in have[1] or (ask and place < TIMED))
        return _Question(request, fields, ask, beside)

    def _readable(self, page: Sequence[Asked], most: int) -> list[tuple[Asked, ChatRequest]]:
        bodies = self.ledger.bodies(asked.body for asked in page)
        capabilities = set(self.settings.models[self.small].capabilities)
        found: list[tuple[Asked, ChatRequest]] = []
        gone = unroutable = 0
        for asked in page:
            if len(found) == most:
                break
            try:
                chat = parse_chat(bodies[asked.body])
            except (KeyError, BadRequest):
                gone += 1
                continue
            if chat.prompt.needs <= capabilities:
                found.append((asked, chat))
            else:
                unroutable += 1
        self.counts = replace(
            self.counts, gone=self.counts.gone + gone, unroutable=self.counts.unroutable + unroutable
        )
        return found


def declared_task(settings: Settings, task: str) -> TaskSettings:
    """The settings of a task.

    Raises:
        SettingsError: It is not declared.
    """
    if task not in settings.tasks:
        known = ", ".join(settings.tasks) or "none"
        raise SettingsError(f"task {task!r} is not declared; declared: {known}")
    return settings.tasks[task]


def small_of(task_name: str, task: TaskSettings) -> str:
    """The alias of a task's small model.

    Raises:
        SettingsError: It has none.
    """
    if task.small is None:
        raise SettingsError(f"task {task_name!r} has no small model: set tasks.{task_name}.small")
    return task.small
