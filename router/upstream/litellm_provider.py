"""Any other provider, through litellm, which is imported when the first such request comes.

Invariant: a caller's field never becomes an argument of litellm's that is not OpenAI's own, so nobody
can point a call at another address or key; such fields go into the provider's body instead.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
from collections.abc import AsyncIterator
from typing import Any

from router.upstream.base import Headers, Reply
from router.wire import error_body
from stepdown.errors import UpstreamError, UpstreamTimeout, UpstreamUnreachable
from stepdown.tracing import current

ENVIRONMENT = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"}
JSON: Headers = [(b"content-type", b"application/json")]
EVENTS: Headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
ARGUMENTS = frozenset(
    "messages stream stream_options temperature top_p n stop max_tokens max_completion_tokens "
    "presence_penalty frequency_penalty logit_bias user response_format seed tools tool_choice "
    "parallel_tool_calls logprobs top_logprobs functions function_call modalities audio prediction "
    "reasoning_effort service_tier store verbosity web_search_options".split()
)


def import_litellm() -> Any:
    """litellm, told not to fetch its price list and not to read `.env`.

    Raises:
        UpstreamError: It is not installed.
    """
    for variable, value in ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    try:
        litellm: Any = importlib.import_module("litellm")
    except ImportError as error:
        raise UpstreamUnreachable(
            "a model without `url` needs litellm: install stepdown[providers], or give the model a url"
        ) from error
    litellm.suppress_debug_info = True
    return litellm


class LiteLlmProvider:
    """A model of a provider that litellm knows.

    Args:
        name: How errors call the model.
        model: litellm's name for it, `anthropic/…`, `bedrock/…`.
        key: The provider's key; None leaves it to the variables that litellm reads.
        timeout_s: Longest wait for the first and between two bytes.
    """

    def __init__(self, *, name: str, model: str, key: str | None, timeout_s: float) -> None:
        self._name = name
        self._model = model
        self._key = key
        self._timeout_s = timeout_s

    async def ask(self, body: bytes, *, stream: bool, authorization: str | None) -> Reply:
        """Send a chat request; an error that litellm raises is an answer with its status."""
        if (span := current.get()) is not None:
            span.note({"gen_ai.provider.name": self._model.partition("/")[0]})
        litellm = await asyncio.to_thread(import_litellm)
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await litellm.acompletion(**self._arguments(json.loads(body)))
        except Exception as error:
            return _Whole(*self.mapped(error))
        if stream:
            return _Events(self, aiter(answer), self._timeout_s)
        return _Whole(200, answer.model_dump_json(exclude_none=True).encode())

    def _arguments(self, fields: dict[str, Any]) -> dict[str, Any]:
        known = {key: value for key, value in fields.items() if key in ARGUMENTS}
        others = {k: v for k, v in fields.items() if k not in ARGUMENTS and k != "model"}
        if others:
            known["extra_body"] = others
        if self._key is not None:
            known["api_key"] = self._key
        return {**known, "model": self._model, "num_retries": 0, "timeout": self._timeout_s}

    def mapped(self, error: Exception) -> tuple[int, bytes]:
        """The status and body of an error that litellm raised.

        Raises:
            UpstreamError: The provider was not reached, or too late.
        """
        if isinstance(error, TimeoutError) or type(error).__name__ == "Timeout":
            raise UpstreamTimeout(f"{self._name} sent nothing for {self._timeout_s:g} s") from error
        status = getattr(error, "status_code", None)
        if not isinstance(status, int) or status < 400 or type(error).__name__ == "APIConnectionError":
            raise UpstreamUnreachable(f"{self._name}: {error}") from error
        return status, error_body(str(error), kind="upstream_error", code=type(error).__name__)

    async def close(self) -> None:
        """Nothing is kept open."""


class _Whole:
    """An answer that is already here."""

    headers = JSON
    streams = False

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self._body = body

    async def next_chunk(self) -> bytes:
        body, self._body = self._body, b""
        return body

    async def read(self) -> bytes:
        return await self.next_chunk()

    def close(self) -> None:
        self._body = b""


class _Events:
    """litellm's chunks, written as OpenAI's server-sent events."""

    status = 200
    headers = EVENTS
    streams = True

    def __init__(self, provider: LiteLlmProvider, chunks: AsyncIterator[Any], timeout_s: float) -> None:
        self._provider = provider
        self._chunks = chunks
        self._timeout_s = timeout_s
        self._over = False

    async def next_chunk(self) -> bytes:
        if self._over:
            return b""
        try:
            async with asyncio.timeout(self._timeout_s):
                chunk = await anext(self._chunks)
        except StopAsyncIteration:
            self._over = True
            return b"data: [DONE]\n\n"
        except Exception as error:
            self._over = True
            _, body = self._provider.mapped(error)
            raise UpstreamError(json.loads(body)["error"]["message"]) from error
        event: str = chunk.model_dump_json(exclude_none=True)
        return b"data: " + event.encode() + b"\n\n"

    async def read(self) -> bytes:
        parts = []
        while part := await self.next_chunk():
            parts.append(part)
        return b"".join(parts)

    def close(self) -> None:
        self._over = True
