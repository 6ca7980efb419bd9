"""Drives the proxy in the test's own event loop, as an ASGI server would."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from router.app import Proxy, create_app
from stepdown.ledger import Ledger
from stepdown.settings import ModelSettings, ProxySettings, Settings, TaskSettings
from tests.fakes import Behaviour, FakeModel, Reply

CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "hello"}]
PRICES = {"input_usd_per_million": 10.0, "output_usd_per_million": 100.0}


@dataclass
class Response:
    """What a client received."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    chunks: list[bytes] = field(default_factory=list)
    ended: bool = False

    @property
    def body(self) -> bytes:
        """All bytes."""
        return b"".join(self.chunks)

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error in the body."""
        found: dict[str, Any] = self.json["error"]
        return found

    @property
    def id(self) -> str:
        """The request's id."""
        return self.headers["x-stepdown-request-id"]

    @property
    def reason(self) -> str:
        """Why it went where it went."""
        return self.headers["x-stepdown-reason"]


class Client:
    """A client of one proxy."""

    def __init__(self, app: Proxy) -> None:
        self.app = app

    async def chat(self, headers: Mapping[str, str] | None = None, **fields: Any) -> Response:
        """A chat request for `stepdown`, unless the fields say otherwise."""
        body = {"model": "stepdown", "messages": HELLO, **fields}
        return await self.send("POST", CHAT, json.dumps(body).encode(), headers)

    async def send(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        hangs_up: Callable[[Response], bool] = lambda _: False,
        seen: Callable[[Response], None] = lambda _: None,
        piece: int = 1 << 20,
        gone: asyncio.Event | None = None,
    ) -> Response:
        """Send a request.

        Args:
            method: Of HTTP.
            path: Of the endpoint, with its query.
            body: Sent in pieces.
            headers: Beside content-length.
            hangs_up: Asked after each message, whether to hang up now.
            seen: Told of the response after each message.
            piece: Bytes in a piece.
            gone: Set where the client is to hang up at once.
        """
        response = Response()
        pieces = [body[i : i + piece] for i in range(0, len(body), piece)] or [b""]
        gone = gone or asyncio.Event()

        async def receive() -> dict[str, Any]:
            if pieces:
                return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Mapping[str, Any]) -> None:
            if gone.is_set():
                return
            if message["type"] == "http.response.start":
                assert response.status == 0, "a response began twice"
                response.status = message["status"]
                response.headers = {k.decode(): v.decode() for k, v in message["headers"]}
            else:
                if message.get("body"):
                    response.chunks.append(message["body"])
                response.ended = not message.get("more_body", False)
            seen(response)
            if hangs_up(response) or response.ended:
                gone.set()
                await asyncio.sleep(0)

        scope = http_scope(method, path, {"content-length": str(len(body)), **(headers or {})})
        if hangs_up(response):
            asyncio.get_running_loop().call_later(0.05, gone.set)
        await self.app(scope, receive, send)
        return response


def http_scope(method: str, path: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """ASGI's scope of a request; the path may have a query."""
    place, _, query = path.partition("?")
    return {
        "type": "http",
        "method": method,
        "path": place,
        "query_string": query.encode(),
        "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()],
    }


@asynccontextmanager
async def serving(settings: Settings, ledger: Ledger, **parts: Any) -> AsyncIterator[Client]:
    """A started proxy."""
    environ = parts.pop("environ", {})
    app = create_app(settings, environ=environ, ledger=ledger, **parts)
    inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    outbox: asyncio.Queue[Any] = asyncio.Queue()
    life = asyncio.create_task(app({"type": "lifespan"}, inbox.get, outbox.put))
    inbox.put_nowait({"type": "lifespan.startup"})
    started = await outbox.get()
    assert started["type"] == "lifespan.startup.complete", started
    try:
        yield Client(app)
    finally:
        inbox.put_nowait({"type": "lifespan.shutdown"})
        await life


def settings_for(
    strong: ModelSettings,
    small: ModelSettings | None = None,
    *,
    proxy: ProxySettings | None = None,
    tasks: Mapping[str, TaskSettings] | None = None,
    **task: Any,
) -> Settings:
    """Settings with one or two models and a default task."""
    models = {"strong": strong} | ({} if small is None else {"small": small})
    default = TaskSettings(small=None if small is None else "small", **task)
    return Settings(
        models=models,
        tasks={"default": default, **(tasks or {})},
        proxy=proxy or ProxySettings(reload_s=0.02),
    )


def routing(strong: FakeModel, small: FakeModel, **task: Any) -> Settings:
    """Settings with two fake models, and a tenth of requests explored."""
    task.setdefault("exploration", 0.1)
    return settings_for(strong.settings("gpt"), small.settings("mini"), **task)


def always(reply: Reply) -> Behaviour:
    """A fake's behaviour that is the same whatever it is asked."""
    return lambda asked: reply


def wire(**fields: Any) -> bytes:
    """The bytes of a chat request."""
    return json.dumps({"model": "stepdown", "messages": HELLO, **fields}).encode()
