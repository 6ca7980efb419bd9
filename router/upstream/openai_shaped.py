"""OpenAI-shaped APIs over one pool of aiohttp connections.

Invariant: status and bytes come back as the upstream sent them, undecoded.
"""

from __future__ import annotations

from typing import Any

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from router.upstream.base import RELAYED_HEADERS, Headers, Reply
from stepdown.errors import UNREACHABLE, UpstreamError, UpstreamTimeout, UpstreamUnreachable
from stepdown.tracing import current

KEEP_ALIVE_S = 4.0  # below the 5 s after which uvicorn, and so vLLM, closes an idle connection
DNS_CACHE_S = 60
PATH = "/chat/completions"


def open_session(connect_timeout_s: float) -> aiohttp.ClientSession:
    """The pool that all OpenAI-shaped upstreams share; to be called inside the event loop."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=DNS_CACHE_S, keepalive_timeout=KEEP_ALIVE_S),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout_s),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )


class OpenAIShaped:
    """A model behind a URL that speaks OpenAI's chat API.

    Args:
        name: How errors call the model.
        url: Base URL, up to and with /v1.
        key: The upstream's key, or None.
        timeout_s: Longest wait for the first and between two bytes.
        session: The shared pool.
    """

    def __init__(
        self, *, name: str, url: str, key: str | None, timeout_s: float, session: aiohttp.ClientSession
    ) -> None:
        self._name = name
        self._url = URL(url.rstrip("/") + PATH)
        self._session = session
        self._own_key = key is not None
        self._headers = CIMultiDict({"Content-Type": "application/json", "Accept-Encoding": "identity"})
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key}"
        connect_s = session.timeout.sock_connect
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_s, sock_read=timeout_s)

    async def ask(self, body: bytes, *, stream: bool, authorization: str | None) -> Reply:
        """Send a chat request and wait for the head of the answer."""
        headers = self._headers
        if authorization is not None and not self._own_key:
            headers = headers.copy()
            headers["Authorization"] = authorization
        if (span := current.get()) is not None:
            headers = headers.copy()
            headers.update(span.headers)
            span.note({"server.address": self._url.host or "", "server.port": self._url.port or 0})
        try:
            response = await self._session.post(
                self._url, data=body, headers=headers, timeout=self._timeout, allow_redirects=False
            )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise self.mapped(error) from error
        return _Reply(self, response)

    def mapped(self, error: Exception) -> UpstreamError:
        """A transport's error in this project's words."""
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            waited = self._timeout.sock_connect
            return UpstreamTimeout(f"{self._name} accepted no connection within {waited:g} s")
        if isinstance(error, TimeoutError):
            waited = self._timeout.sock_read
            return UpstreamTimeout(f"{self._name} sent nothing for {waited:g} s (its timeout_s)")
        if isinstance(error, aiohttp.ClientConnectorError):
            reason = error.os_error.strerror or type(error.os_error).__name__
            return UpstreamUnreachable(f"{self._name} {UNREACHABLE}: {reason}")
        if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError | OSError):
            return UpstreamError(f"{self._name} closed the connection before its answer was whole")
        return UpstreamError(f"{self._name} sent no valid HTTP answer: {type(error).__name__}")

    async def close(self) -> None:
        """Nothing: the pool belongs to whoever opened it."""


class _Reply:
    """An aiohttp response, its errors mapped."""

    def __init__(self, upstream: OpenAIShaped, response: aiohttp.ClientResponse) -> None:
        self._upstream = upstream
        self._response = response
        self.status = response.status
        self.headers = relayed(response.raw_headers)
        self.streams = response.headers.get("Content-Type", "").startswith("text/event-stream")

    async def next_chunk(self) -> bytes:
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._upstream.mapped(error) from error

    async def read(self) -> bytes:
        try:
            return await self._response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._upstream.mapped(error) from error

    def close(self) -> None:
        self._response.close()


def relayed(headers: Any) -> Headers:
    """Those of an upstream's headers that the client is to see."""
    return [(lower, value) for name, value in headers if (lower := name.lower()).startswith(RELAYED_HEADERS)]
