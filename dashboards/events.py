"""Answers that come bit by bit, as server-sent events.

Invariant: who stops listening ends what makes the events, and that is waited for. Knows no page.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send


class EventStream(StreamingResponse):
    """Events as they come.

    Args:
        events: Whole events, each with the blank line that ends it.
    """

    def __init__(self, events: AsyncGenerator[bytes, None]) -> None:
        headers = {"x-accel-buffering": "no"}  # or a proxy between might keep them to itself
        super().__init__(events, media_type="text/event-stream", headers=headers)
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them."""
        async with aclosing(self._events):
            await super().__call__(scope, receive, send)
