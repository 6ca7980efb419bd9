"""A provider's batch endpoint, in OpenAI's shape: files, and batches of requests made from them.

Invariant: every refusal is an `UpstreamError` in the provider's words, without the key. Knows nothing of
judges, and keeps nothing.
"""

from __future__ import annotations

from typing import Any, TypeVar

import aiohttp
import msgspec

from stepdown.errors import UpstreamError, UpstreamTimeout, UpstreamUnreachable

COMPLETIONS = "/v1/chat/completions"
WINDOW = "24h"
TAG = "stepdown"
PAGE = 100
MOST_PAGES = 20
SHOWN_CHARS = 300
LIMIT = aiohttp.ClientTimeout(total=900, sock_connect=10, sock_read=120)


class Remote(msgspec.Struct, frozen=True):
    """A batch as the provider tells of it.

    Attributes:
        status: `validating`, `in_progress`, `finalizing`, `completed`, `failed`, `expired`, `cancelling` or
            `cancelled`.
        errors: Why it failed, where it did.
    """

    id: str
    status: str
    output_file_id: str | None = None
    error_file_id: str | None = None
    metadata: dict[str, str] | None = None
    errors: Any = None


class _File(msgspec.Struct, frozen=True):
    id: str


class _Listing(msgspec.Struct, frozen=True):
    data: list[Remote]
    has_more: bool = False


Document = TypeVar("Document", Remote, _File, _Listing)


class Endpoint:
    """A batch endpoint.

    Args:
        name: How errors call the model.
        url: Base URL, up to and with /v1.
        key: The upstream's key, or None.
        session: A pool of connections.
    """

    def __init__(self, *, name: str, url: str, key: str | None, session: aiohttp.ClientSession) -> None:
        self._name = name
        self._url = url.rstrip("/")
        self._key = key
        self._session = session
        self._headers = {"Accept-Encoding": "identity"}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key}"

    async def upload(self, lines: bytes) -> str:
        """Upload the requests of a batch, a JSON document a line; returns the file's id."""
        form = aiohttp.FormData()
        form.add_field("purpose", "batch")
        form.add_field("file", lines, filename="judgements.jsonl", content_type="application/jsonl")
        return self._read(await self._send("POST", "/files", data=form), _File).id

    async def create(self, file: str, tag: str) -> Remote:
        """Make a batch of an uploaded file, under a tag by which it can be found."""
        body = {
            "input_file_id": file,
            "endpoint": COMPLETIONS,
            "completion_window": WINDOW,
            "metadata": {TAG: tag},
        }
        return self._read(await self._send("POST", "/batches", json=body), Remote)

    async def look(self, batch: str) -> Remote:
        """A batch by its id."""
        return self._read(await self._send("GET", f"/batches/{batch}"), Remote)

    async def find(self, tag: str) -> Remote | None:
        """The batch that was made under a tag, or None; the newest two thousand are looked through."""
        after: dict[str, str] = {}
        for _ in range(MOST_PAGES):
            answer = await self._send("GET", "/batches", params={"limit": str(PAGE), **after})
            listing = self._read(answer, _Listing)
            for remote in listing.data:
                if (remote.metadata or {}).get(TAG) == tag:
                    return remote
            if not listing.has_more or not listing.data:
                break
            after = {"after": listing.data[-1].id}
        return None

    async def content(self, file: str) -> bytes:
        """The content of a file."""
        return await self._send("GET", f"/files/{file}/content")

    async def _send(self, method: str, path: str, **what: Any) -> bytes:
        try:
            async with self._session.request(
                method, self._url + path, headers=self._headers, timeout=LIMIT, allow_redirects=False, **what
            ) as response:
                body, status = await response.read(), response.status
        except aiohttp.ClientConnectorError as error:
            raise UpstreamUnreachable(f"{self._name}: its batch endpoint cannot be reached") from error
        except TimeoutError as error:
            raise UpstreamTimeout(f"{self._name}: its batch endpoint did not answer in time") from error
        except (aiohttp.ClientError, OSError) as error:
            why = type(error).__name__
            raise UpstreamError(f"{self._name}: its batch endpoint broke off: {why}") from error
        if status >= 300:
            raise UpstreamError(f"{self._name}: {method} {path} answered {status}: {self._shown(body)}",
                                status=status)  # fmt: skip
        return body

    def _read(self, body: bytes, kind: type[Document]) -> Document:
        try:
            return msgspec.json.decode(body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UpstreamError(
                f"{self._name}: its batch endpoint answered {self._shown(body)}: {error}"
            ) from error

    def _shown(self, body: bytes) -> str:
        text = " ".join(body.decode("utf-8", "replace").split())
        return (text.replace(self._key, "[key]") if self._key else text)[:SHOWN_CHARS]
