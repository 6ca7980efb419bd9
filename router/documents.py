"""JSON documents in and out, for the endpoints beside chat: validated on the way in, uncached on the way out.

Invariant: a document is answered only after what it says is kept, and a ledger that cannot keep it is a 503
in OpenAI's shape. Bodies must be declared as JSON: a page in somebody's browser cannot send that to the
proxy unasked.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import msgspec

from router.asgi import JSON, ClientGone, Header, Receive, Send, read_body, respond
from router.relay import refused_headers
from router.wire import UNREADABLE, error_body, unreadable
from stepdown.errors import BadRequest, LedgerError

Headers = dict[bytes, bytes]
HEADERS: tuple[Header, ...] = (
    JSON,
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)

log = logging.getLogger(__name__)
Document = TypeVar("Document", bound=msgspec.Struct)


class WrongMediaType(BadRequest):
    """The body is declared as something else than JSON."""

    status = 415


async def read_json(receive: Receive, headers: Headers, limit: int) -> bytes:
    """The body of a request that must be JSON.

    Raises:
        WrongMediaType: It says that it is something else.
        BodyTooLarge: It is larger than `limit` bytes.
        ClientGone: The client hung up.
    """
    declared = headers.get(b"content-type", b"")
    if declared.partition(b";")[0].strip().lower() != b"application/json":
        shown = declared.decode("latin-1")
        raise WrongMediaType(
            f"Content-Type: {shown!r:.100} is not taken; send JSON as application/json",
            param="Content-Type",
            code="unsupported_media_type",
        )
    return await read_body(receive, headers.get(b"content-length"), limit)


def decode(body: bytes, decoder: msgspec.json.Decoder[Document], remedies: Mapping[str, str]) -> Document:
    """The document in a body.

    Args:
        body: JSON.
        decoder: Of the document.
        remedies: What each field takes, in words.

    Raises:
        BadRequest: It is none; names the field, its value and what it takes.
    """
    try:
        body.decode()
        return decoder.decode(body)
    except UNREADABLE as error:
        found = unreadable(error, body)
        takes = remedies.get(found.param or "")
        remedy = f"{found.param} is {takes}" if takes else f"the fields are {', '.join(remedies)}"
        raise BadRequest(f"{found}; {remedy}", param=found.param, code=found.code) from error


async def answer(send: Send, work: Callable[[], Awaitable[Any]]) -> None:
    """Answer with what `work` gives, as JSON.

    Raises:
        BadRequest: As `work` does.
    """
    try:
        document = await work()
    except ClientGone:
        return
    except LedgerError as error:
        log.error("%s", error)
        body = error_body(
            "the ledger cannot be reached; nothing was kept, try again",
            kind="server_error",
            code="ledger_unavailable",
        )
        await respond(send, 503, body, refused_headers())
        return
    await respond(send, 200, msgspec.json.encode(document), HEADERS)
