"""The client of a replay: sends recorded prompts to the proxy, as an application would."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import aiohttp

from evals.replay.recording import RecordedPair
from router.wire import METADATA_PREFIX
from stepdown.errors import StepdownError

TIMEOUT = aiohttp.ClientTimeout(total=120)


def request_body(pair: RecordedPair, *, model: str, stream: bool) -> dict[str, Any]:
    """The chat request for a pair, with its reference, check and slice as metadata."""
    hints = {"reference": pair.reference, "check": pair.check, "slice": pair.slice}
    metadata = {METADATA_PREFIX + name: value for name, value in hints.items() if value is not None}
    return {"model": model, "messages": list(pair.messages), "stream": stream, "metadata": metadata}


async def drive(
    url: str,
    pairs: Sequence[RecordedPair],
    *,
    model: str,
    concurrency: int = 8,
    on_answer: Callable[[], None] = lambda: None,
) -> None:
    """Send every pair once, every other one as a stream.

    Raises:
        StepdownError: An answer was not a 200; the others are still sent.
    """
    waiting = iter(enumerate(pairs))
    refused: list[str] = []

    async def client(session: aiohttp.ClientSession) -> None:
        for index, pair in waiting:
            body = request_body(pair, model=model, stream=index % 2 == 1)
            async with session.post(f"{url}/chat/completions", json=body) as response:
                content = await response.read()
                if response.status != 200:
                    refused.append(f"{response.status}: {content[:300].decode(errors='replace')}")
            on_answer()

    async with aiohttp.ClientSession(timeout=TIMEOUT) as session, asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(client(session))
    if refused:
        raise StepdownError(f"{len(refused)} of {len(pairs)} requests failed; the first: {refused[0]}")
