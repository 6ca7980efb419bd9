"""Reading a model's stream to its end, through the gate that says what the client may see of it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from router.attempt import Attempt
from router.sse import Gate
from stepdown.errors import UpstreamError

LINGER_S = 1.0


async def linger(attempt: Attempt, gate: Gate) -> None:
    """Read what follows `[DONE]`, so that the connection can be used again; but not for long."""
    if gate.done:
        with suppress(TimeoutError, UpstreamError):
            async with asyncio.timeout(LINGER_S):
                while chunk := await attempt.chunk():
                    gate.feed(chunk)


def not_whole(attempt: Attempt) -> str:
    """What is said of a stream that ended before it was whole."""
    return f"model {attempt.model.alias!r} ended its stream before it was whole"


async def read_stream(attempt: Attempt, gate: Gate, limit_bytes: int) -> bytes:
    """All of an open stream that the client may see.

    Raises:
        UpstreamError: It was cut off, ended too early, or is longer than the limit.
    """
    passed, size = [], 0
    while not gate.done and (chunk := await attempt.chunk()):
        passed.append(gate.feed(chunk))
        size += len(chunk)
        if size > limit_bytes:
            raise too_long(attempt, limit_bytes)
    await linger(attempt, gate)
    if not attempt.complete:
        raise UpstreamError(not_whole(attempt))
    return b"".join((*passed, gate.close()))


def too_long(attempt: Attempt, limit_bytes: int) -> UpstreamError:
    """The error for an answer that is not held."""
    return UpstreamError(
        f"model {attempt.model.alias!r} answered more than the {limit_bytes:,} bytes held of a candidate"
    )
