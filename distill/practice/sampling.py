"""Has the student answer its failed prompts several times, and the checks say which answers are right.

Invariant: a sample is kept before it is checked, so a round that is killed is taken up where it was and
nothing is asked twice. A prompt counts once all its samples were asked for; a deadline, or a student that is
away, leaves whole prompts out, and never some samples of one. A sample that broke off at its limit is not
right, whatever a check says.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distill.practice.choose import Sample
from distill.practice.prompts import Failed
from evals.answering import Answered, Answering
from evals.checks import Subject, applied
from evals.checks.outcome import limit_s
from evals.checks.schema import asked_schema
from evals.harness.asking import all_of, may_come_later
from evals.time_limit import time_limit
from router.wire import Answer, read_prompt
from stepdown.errors import BadRequest, CheckError, LedgerError
from stepdown.ledger import Ledger
from stepdown.records import Verdict

CLOCK: Callable[[], float] = time.monotonic
TEMPERATURE = 0.7  # as RFT samples
CHECK_LIMIT_S = 10.0
AWAY_AFTER = 20
CUT_OFF = "length"
NOT_ASKED = ("model", "stream", "stream_options", "n", "seed", "metadata", "user", "logprobs", "top_logprobs")


@dataclass(frozen=True, slots=True)
class Tried:
    """A prompt that the student practised.

    Attributes:
        unanswered: Samples that the student's server refused to give.
        cost_usd_micros: Of the samples whose cost is known.
        unpriced: Samples whose cost is not.
    """

    prompt: Failed
    samples: tuple[Sample, ...]
    unanswered: int
    cost_usd_micros: int
    unpriced: int


@dataclass(frozen=True, slots=True)
class Sampled:
    """What came of a round's sampling.

    Attributes:
        unreadable: Prompts whose text is no longer kept.
        stopped: Why not all prompts were tried, or None.
        away: Whether that was because the student did not answer.
    """

    tried: tuple[Tried, ...]
    unreadable: int
    stopped: str | None
    away: bool


async def sample_all(
    answering: Answering,
    alias: str,
    ledger: Ledger,
    prompts: Sequence[Failed],
    *,
    samples: int,
    concurrency: int,
    deadline: float,
) -> Sampled:
    """Sample answers to every prompt, in their order, until the deadline.

    Args:
        answering: The kept answers, and the student.
        alias: Of the student.
        ledger: Where the prompts are.
        prompts: What it failed.
        samples: Answers to each.
        concurrency: Prompts at once.
        deadline: Time of `CLOCK` at which no more prompts are begun.

    Raises:
        SettingsError: The student is not declared.
        LedgerError: The ledger refused.
    """
    sampling = _Sampling(answering, alias, ledger, samples, concurrency, deadline)
    await all_of(sampling.prompt(prompt) for prompt in prompts)
    order = {prompt.request: place for place, prompt in enumerate(prompts)}
    tried = sorted(sampling.tried, key=lambda one: order[one.prompt.request])
    stopped = sampling.stopped or sampling.missed
    return Sampled(tuple(tried), sampling.unreadable, stopped, away=sampling.missed is not None)


class _Sampling:
    def __init__(
        self,
        answering: Answering,
        alias: str,
        ledger: Ledger,
        samples: int,
        concurrency: int,
        deadline: float,
    ) -> None:
        self._answering = answering
        self._alias = alias
        self._ledger = ledger
        self._samples = samples
        self._places = asyncio.Semaphore(concurrency)
        self._deadline = deadline
        self._failures = 0
        self.tried: list[Tried] = []
        self.unreadable = 0
        self.stopped: str | None = None
        self.missed: str | None = None

    async def prompt(self, prompt: Failed) -> None:
        async with self._places:
            if self.stopped is None and self._deadline <= CLOCK():
                self.stopped = "the time was up"
            if self.stopped is not None:
                return
            try:
                body = await asyncio.to_thread(self._ledger.body, prompt.body)
                fields = practice_fields(body)
            except (LedgerError, BadRequest):
                self.unreadable += 1
                return
            answers = await self._answers(fields)
        if answers is not None:
            self.tried.append(_tried(prompt, body, fields, answers))

    async def _answers(self, fields: Mapping[str, Any]) -> list[Answered] | None:
        """All samples of a prompt; None where the student was away for one of them."""
        answers = []
        for number in range(self._samples):
            answered = await self._answering.answer(self._alias, fields, sample=number)
            if answered.error is not None and may_come_later(answered.status):
                self._failed(answered.error)
                return None
            self._failures = 0
            answers.append(answered)
        return answers

    def _failed(self, error: str) -> None:
        self._failures += 1
        self.missed = f"the student did not answer every prompt: {error}"
        if self._failures >= AWAY_AFTER:
            self.stopped = f"the student failed {AWAY_AFTER} times in a row: {error}"


def practice_fields(body: bytes) -> dict[str, Any]:
    """The fields of a request with which the student is asked again, each time for another answer.

    Raises:
        BadRequest: The body is no chat request.
    """
    read_prompt(body)
    fields = {name: value for name, value in json.loads(body).items() if name not in NOT_ASKED}
    return {**fields, "temperature": TEMPERATURE}


def _tried(prompt: Failed, body: bytes, fields: Mapping[str, Any], answers: Sequence[Answered]) -> Tried:
    text, schema = read_prompt(body).text, asked_schema(fields.get("response_format"))
    samples = [
        Sample(answered.kept.body, _said(answered.answer), verdict_on(prompt, answered.answer, text, schema))
        for answered in answers
        if answered.kept is not None and answered.answer is not None
    ]
    costs = [answered.kept.cost_usd_micros for answered in answers if answered.kept is not None]
    known = [cost for cost in costs if cost is not None]
    return Tried(prompt, tuple(samples), len(answers) - len(samples), sum(known), len(costs) - len(known))


def _said(answer: Answer) -> str:
    return "\n".join([answer.text, *(f"{name} {arguments}" for name, arguments in answer.tool_calls)])


def verdict_on(prompt: Failed, answer: Answer, text: str, schema: Any) -> Verdict:
    """What the prompt's check says of a sample; bad where it broke off at its limit."""
    check = prompt.labeller.check
    if isinstance(check, CheckError):
        return Verdict.UNSCORED
    if answer.finish_reason == CUT_OFF:
        return Verdict.BAD
    subject = Subject(
        text=answer.text,
        reference=None if prompt.reference is None else json.loads(prompt.reference),
        prompt=text,
        tool_calls=answer.tool_calls,
        finish_reason=answer.finish_reason,
        refusal=answer.refusal,
        schema=schema,
    )
    try:
        with time_limit(limit_s(check, CHECK_LIMIT_S)):
            return applied(check, subject).verdict
    except Exception:  # a check may be anybody's code; what it cannot say is unscored, and counted
        return Verdict.UNSCORED
