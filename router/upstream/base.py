"""The seam between the online path and a model's API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

Headers = Sequence[tuple[bytes, bytes]]

RELAYED_HEADERS = (
    b"content-type",
    b"content-encoding",
    b"retry-after",
    b"x-request-id",
    b"x-ratelimit-",
    b"openai-",
)


class Reply(Protocol):
    """An upstream's answer whose head has arrived.

    Attributes:
        status: HTTP status.
        headers: Those that the client is to see, names in lower case.
        streams: Whether the body is a stream of server-sent events.
    """

    status: int
    headers: Headers
    streams: bool

    async def next_chunk(self) -> bytes:
        """The next bytes of the body as they arrived; empty at its end.

        Raises:
            UpstreamError: The body was cut off, or the next byte did not come in time.
        """

    async def read(self) -> bytes:
        """The whole body.

        Raises:
            UpstreamError: As above.
        """

    def close(self) -> None:
        """Give the connection up, or back where the body is whole; closing twice changes nothing."""


class Upstream(Protocol):
    """One model's API."""

    async def ask(self, body: bytes, *, stream: bool, authorization: str | None) -> Reply:
        """Send a chat request and wait for the head of the answer, whatever its status.

        Args:
            body: The JSON to send, in OpenAI's shape.
            stream: Whether the body asks for a stream.
            authorization: The caller's own `Authorization`, for an upstream without a key of its own.

        Raises:
            UpstreamError: There was no answer.
        """

    async def close(self) -> None:
        """Close what is open."""
