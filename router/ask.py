"""Asks models for those who are not clients: judges, evaluations, trials.

Invariant: every attempt leaves its record, the failed ones too, so that what was paid for is on a bill;
and one model is never asked more often at once than the limit says. Knows nothing of what is asked.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from router.attempt import Attempt
from router.upstream import Model, UpstreamFactory, open_models
from router.upstream.factory import read_keys, upstream_for
from router.upstream.openai_shaped import open_session
from router.wire import Answer, read_answer
from stepdown.errors import SettingsError, UpstreamError
from stepdown.ledger import Body
from stepdown.records import Call, Role, Tier
from stepdown.settings import Settings

ATTEMPTS = 5
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 60.0
WORTH_ANOTHER_TRY = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})

Sleep = Callable[[float], Awaitable[None]]
CLOCK: Callable[[], float] = time.monotonic


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of asking.

    Attributes:
        calls: Every attempt, the last one last.
        bodies: The bodies that the calls name.
        answer: Of the last attempt; None where it failed.
        error: Why there is no answer, or None.
    """

    calls: tuple[Call, ...]
    bodies: tuple[Body, ...]
    answer: Answer | None
    error: str | None

    @property
    def records(self) -> tuple[Call | Body, ...]:
        """All that the ledger is to keep."""
        return (*self.calls, *self.bodies)


class Asker:
    """Asks models, again where that may help.

    Args:
        models: By alias.
        concurrency: Calls at once of one model.
        attempts: Most tries of one question.
        sleep: Waits between two tries.
        until: Time of `CLOCK` after which a model that sent nothing is not tried again.
    """

    def __init__(
        self,
        models: Mapping[str, Model],
        *,
        concurrency: int,
        attempts: int = ATTEMPTS,
        sleep: Sleep = asyncio.sleep,
        until: float = math.inf,
    ) -> None:
        self.models = models
        self._places = {alias: asyncio.Semaphore(concurrency) for alias in models}
        self._attempts = attempts
        self._sleep = sleep
        self._until = until

    async def ask(
        self,
        alias: str,
        fields: Mapping[str, Any],
        *,
        request: str,
        role: Role = Role.JUDGE,
        tier: Tier = Tier.STRONG,
    ) -> Asked:
        """Ask a model once, and again after a wait where it was busy, away or too slow.

        Args:
            alias: Of the model.
            fields: The chat request's fields but `model`; never streamed.
            request: Id of the request that the calls are kept under.
            role: Why it is asked.
            tier: As which of the task's models it is asked.

        Raises:
            SettingsError: There is no such model.
        """
        if alias not in self.models:
            raise SettingsError(f"model {alias!r} is not declared; declared: {', '.join(self.models)}")
        model = self.models[alias]
        body = msgspec.json.encode({**fields, "model": model.name})
        calls: list[Call] = []
        bodies: list[Body] = []
        async with self._places[alias]:
            for number in range(self._attempts):
                attempt = Attempt(model, tier, role)
                error = await _opened(attempt, body)
                for record in attempt.records(request):
                    (calls if isinstance(record, Call) else bodies).append(record)  # type: ignore[arg-type]
                wait_s = _wait_s(error, attempt, number)
                silent = attempt.reply is None and CLOCK() >= self._until
                if wait_s is None or silent or number == self._attempts - 1:
                    break
                await self._sleep(wait_s)
        answer = read_answer(attempt.body) if error is None else None
        return Asked(tuple(calls), tuple(bodies), answer, None if error is None else str(error))


async def _opened(attempt: Attempt, body: bytes) -> UpstreamError | None:
    """Why there is no answer, or None where there is one, whole and with something in it."""
    try:
        await attempt.open(body, stream=False)
        while attempt.reply is not None and attempt.reply.streams and await attempt.chunk():
            pass  # a stream that nobody asked for is an answer too
    except UpstreamError as error:
        return error
    if attempt.complete and _says_anything(read_answer(attempt.body)):
        return None
    why = f"model {attempt.model.alias!r} sent no chat completion: {attempt.body[:200]!r}"
    attempt.fail(why)
    return UpstreamError(why)


def _says_anything(answer: Answer) -> bool:
    """Whether there is a choice at all; an empty text that the model ended itself is an answer."""
    return bool(answer.finish_reason or answer.text or answer.tool_calls or answer.refusal)


def _wait_s(error: UpstreamError | None, attempt: Attempt, number: int) -> float | None:
    """How long to wait before another try; None where there is to be none."""
    if error is None:
        return None
    status = error.status if attempt.reply is None else attempt.reply.status
    if status not in WORTH_ANOTHER_TRY and status >= 300:
        return None
    headers = dict(attempt.reply.headers) if attempt.reply is not None else {}
    told = headers.get(b"retry-after", b"").decode("latin-1")
    longest = FIRST_WAIT_S * 2**number
    try:
        wanted = float(told)
    except ValueError:  # no header, or a date
        wanted = longest * (0.5 + random.random() / 2)
    return min(max(wanted, 0.0), LONGEST_WAIT_S)


@asynccontextmanager
async def open_asker(
    settings: Settings,
    environ: Mapping[str, str],
    aliases: Collection[str],
    *,
    concurrency: int | None = None,
    until: float = math.inf,
    upstreams: UpstreamFactory = upstream_for,
) -> AsyncIterator[Asker]:
    """An asker of some of the declared models, closed at the end of the block.

    Args:
        settings: All settings.
        environ: Where the upstreams' keys are.
        aliases: The models to be asked.
        concurrency: Calls at once of one model; None takes that of the settings.
        until: Time of `CLOCK` after which a model that sent nothing is not tried again.
        upstreams: Opens the upstream of a model.

    Raises:
        SettingsError: An alias is not declared, or the variable of its key is not set.
    """
    if unknown := sorted(set(aliases) - set(settings.models)):
        known = ", ".join(settings.models) or "none"
        raise SettingsError(f"model {unknown[0]!r} is not declared under [models]; declared: {known}")
    some = msgspec.structs.replace(
        settings, models={alias: model for alias, model in settings.models.items() if alias in aliases}
    )
    session = open_session(settings.proxy.connect_timeout_s)
    try:
        models = open_models(some, read_keys(some, environ), session, upstreams)
        yield Asker(models, concurrency=concurrency or settings.worker.concurrency, until=until)
    finally:
        await session.close()
