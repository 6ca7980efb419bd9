"""Answers to what no client asked, each asked for once: the cache of evaluations and trials.

Invariant: an answer is kept, by the content of its question, before it is used; so a run that is killed is
taken up where it was, and a run on the same content asks nothing. Failures are not kept: they are tried anew.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select

from router.ask import Asker
from router.wire import Answer, read_answer
from stepdown.errors import LedgerError, SettingsError
from stepdown.ids import digest
from stepdown.ledger import Ledger, schema
from stepdown.records import CachedAnswer, Call
from stepdown.settings import ModelSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answered:
    """A model's answer to one question.

    Attributes:
        kept: The answer as it is kept; None where there is none.
        answer: Its content; None likewise.
        error: Why there is none, or None.
        status: Of the last attempt: 200 of an answer, 0 where the model could not be reached or was too slow.
        fresh: Whether it was asked for just now, and not taken from the cache.
        spent_usd_micros: What all attempts just made cost; None where a price is not known.
    """

    kept: CachedAnswer | None
    answer: Answer | None
    error: str | None
    status: int
    fresh: bool
    spent_usd_micros: int | None


class Answering:
    """Answers from the cache, or else from the models.

    Args:
        asker: Asks the models.
        models: The settings of each, which say what it is.
        ledger: Where answers are kept.
        task: On whose bill they are.
        purpose: `eval`, `trial` or `judge`.
    """

    def __init__(
        self, asker: Asker, models: Mapping[str, ModelSettings], ledger: Ledger, *, task: str, purpose: str
    ) -> None:
        self._asker = asker
        self._models = models
        self._ledger = ledger
        self._task = task
        self._purpose = purpose
        self._under_way: dict[str, asyncio.Task[Answered]] = {}

    async def answer(self, alias: str, fields: Mapping[str, Any], *, sample: int = 0) -> Answered:
        """The answer of a model to a chat request; of the same question asked twice at once, one answer.

        Args:
            alias: Of the model.
            fields: The request's fields but `model`.
            sample: 0, 1, … for several answers to the same question.

        Raises:
            SettingsError: There is no such model.
            LedgerError: The ledger refused.
        """
        if alias not in self._models:
            raise SettingsError(f"model {alias!r} is not declared; declared: {', '.join(self._models)}")
        key = answer_key(self._models[alias], fields, sample)
        shared = key in self._under_way
        if not shared:
            self._under_way[key] = asyncio.create_task(self._answer(alias, fields, key))
            self._under_way[key].add_done_callback(lambda task: self._over(key, task))
        answered = await asyncio.shield(self._under_way[key])
        return replace(answered, fresh=False, spent_usd_micros=0) if shared else answered

    def _over(self, key: str, task: asyncio.Task[Answered]) -> None:
        del self._under_way[key]
        if not task.cancelled():
            task.exception()  # who waited has it; where a run was stopped nobody does, and it is no news

    async def _answer(self, alias: str, fields: Mapping[str, Any], key: str) -> Answered:
        found = await asyncio.to_thread(self._kept, key)
        return found if found is not None else await self._ask(alias, fields, key)

    def _kept(self, key: str) -> Answered | None:
        table = schema.cached_answers
        rows = self._ledger.rows(select(table).where(table.c.key == key))
        if not rows:
            return None
        kept = CachedAnswer(**rows[0]._mapping)
        try:
            answer = read_answer(self._ledger.body(kept.body))
        except LedgerError as error:  # its text was deleted, or is corrupt: to be asked for anew
            log.warning("cached answer %s: %s", key, error)
            return None
        return Answered(kept, answer, None, 200, False, 0)

    async def _ask(self, alias: str, fields: Mapping[str, Any], key: str) -> Answered:
        asked = await self._asker.ask(alias, fields, request=key)
        costs = [call.cost_usd_micros for call in asked.calls if call.status == 200]
        spent = None if None in costs else sum(cost for cost in costs if cost is not None)
        if asked.answer is None:
            return Answered(None, None, asked.error, asked.calls[-1].status, True, spent)
        kept = kept_answer(key, asked.calls[-1], task=self._task, purpose=self._purpose)
        await asyncio.to_thread(self._ledger.append, [*asked.bodies[-1:], kept])
        return Answered(kept, asked.answer, None, 200, True, spent)


def kept_answer(key: str, call: Call, *, task: str, purpose: str) -> CachedAnswer:
    """What is kept of a call that got an answer.

    Args:
        key: Under which it is found again; see `answer_key`.
        call: The call.
        task: On whose bill it is.
        purpose: What it was asked for.
    """
    assert call.body is not None, "only what has a body is kept"
    return CachedAnswer(
        key=key,
        at=call.at,
        task=task,
        purpose=purpose,
        model=call.model,
        latency_ms=call.latency_ms,
        ttft_ms=call.ttft_ms,
        prompt_tokens=call.prompt_tokens,
        completion_tokens=call.completion_tokens,
        cost_usd_micros=call.cost_usd_micros,
        finish_reason=call.finish_reason,
        body=call.body,
    )


def answer_key(model: ModelSettings, fields: Mapping[str, Any], sample: int) -> str:
    """Hash of a question: which model, asked what, for the how-manieth time."""
    question = {"model": model.model, "url": model.url, "fields": fields, "sample": sample}
    return digest(json.dumps(question, sort_keys=True, default=str).encode())
