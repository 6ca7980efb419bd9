"""A vLLM for tests: its own HTTP API over a socket, with the failures that a real one has.

It answers as vLLM 0.32 does, to the status and the words, and each adapter may answer differently. It runs in
threads of the test's process (`with FakeVllm(...) as server`), or as a program of its own where a test is
about processes (`python -m tests.fake_vllm --model DIR --port N`, with vLLM's own options).
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlparse

from stepdown.settings import ModelSettings
from tests.fakes import DONE, EVENTS, JSON, event, usage_event

LoadFault = Literal["refuses", "dies", "ignores", "hangs"]


@dataclass(frozen=True)
class Failure:
    """An answer that is an error."""

    status: int
    message: str = "the fake was told to fail"


Answer = Callable[[str, Mapping[str, Any]], "str | Failure"]


def says_its_name(model: str, _body: Mapping[str, Any]) -> str:
    """The answer of a server that was told nothing else."""
    return f"I am {model}."


@dataclass
class FakeVllm:
    """A vLLM server. All of its fields may be changed while it runs.

    Attributes:
        base: Name of the base model.
        answer: What it answers, given the model asked and the request.
        root: Path of the base model.
        names: Further names of the base model.
        runtime_lora: Whether adapters can be loaded while it runs (VLLM_ALLOW_RUNTIME_LORA_UPDATING).
        max_rank: Highest rank of an adapter (--max-lora-rank).
        sleep_mode: Whether it can sleep (--enable-sleep-mode and VLLM_SERVER_DEV_MODE).
        load_fault: How loading an adapter goes wrong: an error, a server that is gone, an adapter that is
            not the one sent (the name keeps an older path), no answer for `hang_s`.
        delay_s: Time an answer takes.
        load_delay_s: Time a load takes.
        unhealthy: Whether /health says so.
        adapters: The paths of the loaded adapters by name.
        asked: The chat requests, in order.
        did: `load NAME`, `unload NAME`, `sleep`, `wake`, in order.
        starts: How often it was started.
    """

    base: str = "small"
    answer: Answer = says_its_name
    root: str = "/models/base"
    names: Sequence[str] = ()
    runtime_lora: bool = True
    max_rank: int = 16
    sleep_mode: bool = True
    load_fault: LoadFault | None = None
    delay_s: float = 0.0
    load_delay_s: float = 0.0
    hang_s: float = 30.0
    unhealthy: bool = False
    host: str = "127.0.0.1"
    port: int = 0
    adapters: dict[str, str] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    did: list[str] = field(default_factory=list)
    asleep: bool = False
    running: int = 0
    starts: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _server: _Server | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """Its base URL, up to and with /v1."""
        return f"http://{self.host}:{self.port}/v1"

    def settings(self, **more: Any) -> ModelSettings:
        """Settings that name it."""
        return ModelSettings(**{"model": self.base, "url": self.url, "serving": "adapters", **more})

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen; on the same port as before where there was one."""
        self._server = _Server((self.host, self.port), self)
        self.port = self._server.server_address[1]
        self.starts += 1
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Be gone, with every open connection, and forget the adapters and the sleep."""
        server, self._server = self._server, None
        if server is not None:
            server.end()
        self.adapters.clear()
        self.asleep = False

    def restart(self) -> None:
        """Stop and start: the base model alone is left."""
        self.stop()
        self.start()

    def serve_forever(self) -> None:
        """Serve in this thread."""
        self._server = _Server((self.host, self.port), self)
        self._server.serve_forever(0.02)

    def models(self) -> list[dict[str, Any]]:
        """The cards of /v1/models."""
        bases = [_card(name, self.root, None) for name in (self.base, *self.names)]
        return bases + [_card(name, path, self.base) for name, path in self.adapters.items()]


def _card(name: str, root: str, parent: str | None) -> dict[str, Any]:
    return {"id": name, "object": "model", "owned_by": "vllm", "root": root, "parent": parent}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], fake: FakeVllm) -> None:
        self.fake = fake
        self._open: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is gone is nothing to print."""

    def end(self) -> None:
        self.shutdown()
        self.server_close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Refused(Exception):
    def __init__(self, status: int, message: str, kind: str = "BadRequestError") -> None:
        super().__init__(message)
        self.status, self.kind = status, kind


class _Absent(Exception):
    """This server has no such endpoint."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    @property
    def fake(self) -> FakeVllm:
        return self.server.fake

    def log_message(self, *args: Any) -> None:
        """Tests read what was asked, not a log."""

    def do_GET(self) -> None:
        self._handle(GET)

    def do_POST(self) -> None:
        self._handle(POST)

    def _handle(self, endpoints: Mapping[str, Callable[[_Handler, dict[str, Any]], None]]) -> None:
        sent = self.rfile.read(int(self.headers.get("content-length") or 0))
        endpoint = endpoints.get(urlparse(self.path).path)
        try:
            if endpoint is None:
                raise _Absent
            endpoint(self, json.loads(sent) if sent else {})
        except _Absent:
            self.reply(404, {"detail": "Not Found"})
        except _Refused as error:
            self.reply(error.status, _error(str(error), error.kind, error.status))

    def reply(self, status: int, document: Any) -> None:
        """Send a document as JSON, or text as it is."""
        body = document.encode() if isinstance(document, str) else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", JSON)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def health(self, _: dict[str, Any]) -> None:
        self.reply(503 if self.fake.unhealthy else 200, "")

    def list_models(self, _: dict[str, Any]) -> None:
        self.reply(200, {"object": "list", "data": self.fake.models()})

    def metrics(self, _: dict[str, Any]) -> None:
        name = f'vllm:num_requests_running{{engine="0",model_name="{self.fake.base}"}}'
        self.reply(200, f"# TYPE vllm:num_requests_running gauge\n{name} {float(self.fake.running)}\n")

    def load(self, asked: dict[str, Any]) -> None:
        fake, name, path = self.fake, asked.get("lora_name", ""), asked.get("lora_path", "")
        if not fake.runtime_lora:
            raise _Absent
        time.sleep(fake.load_delay_s)
        if name in fake.adapters and not asked.get("load_inplace"):
            raise _Refused(400, f"The lora adapter '{name}' has already been loaded. ", "InvalidUserInput")
        self._fail_to_load()
        if fake.load_fault == "ignores":
            path = fake.adapters.get(name, "/adapters/older")
        else:
            self._check(name, path)
        fake.adapters[name] = path
        fake.did.append(f"load {name}")
        self.reply(200, f"Success: LoRA adapter '{name}' added successfully.")

    def _fail_to_load(self) -> None:
        if self.fake.load_fault == "refuses":
            raise _Refused(500, "Call to add_lora method failed: no space", "InternalServerError")
        if self.fake.load_fault == "hangs":
            time.sleep(self.fake.hang_s)
        if self.fake.load_fault == "dies":
            threading.Thread(target=self.fake.stop, daemon=True).start()
            time.sleep(self.fake.hang_s)

    def _check(self, name: str, path: str) -> None:
        config = Path(path) / "adapter_config.json"
        if not config.is_file():
            message = f"Loading lora {name} failed: No adapter found for {path}"
            raise _Refused(404, message, "NotFoundError")
        rank = json.loads(config.read_text()).get("r", 0)
        if rank > self.fake.max_rank:
            message = f"LoRA rank {rank} is greater than max_lora_rank {self.fake.max_rank}."
            raise _Refused(500, message, "InternalServerError")

    def unload(self, asked: dict[str, Any]) -> None:
        name = asked.get("lora_name", "")
        if not self.fake.runtime_lora:
            raise _Absent
        if not name:
            raise _Refused(400, "'lora_name' needs to be provided.", "InvalidUserInput")
        if self.fake.adapters.pop(name, None) is None:
            raise _Refused(404, f"The lora adapter '{name}' cannot be found.", "NotFoundError")
        self.fake.did.append(f"unload {name}")
        self.reply(200, f"Success: LoRA adapter '{name}' removed successfully.")

    def sleep(self, _: dict[str, Any]) -> None:
        self._sleeping(True, "sleep", {"status": "sleeping", "level": 1})

    def wake(self, _: dict[str, Any]) -> None:
        self._sleeping(False, "wake", {"status": "awake", "tags": None})

    def _sleeping(self, asleep: bool, did: str, answer: dict[str, Any]) -> None:
        if not self.fake.sleep_mode:
            raise _Absent
        self.fake.asleep = asleep
        self.fake.did.append(did)
        self.reply(200, answer)

    def is_sleeping(self, _: dict[str, Any]) -> None:
        if not self.fake.sleep_mode:
            raise _Absent
        self.reply(200, {"is_sleeping": self.fake.asleep})

    def chat(self, asked: dict[str, Any]) -> None:
        fake, model = self.fake, asked.get("model", "")
        with fake.lock:
            fake.asked.append(asked)
            fake.running += 1
        try:
            while fake.asleep and fake._server is not None:
                time.sleep(0.01)  # a paused engine keeps its requests waiting
            time.sleep(fake.delay_s)
            if model not in {card["id"] for card in fake.models()}:
                raise _Refused(404, f"The model `{model}` does not exist.", "NotFoundError")
            text = fake.answer(model, asked)
            if isinstance(text, Failure):
                raise _Refused(text.status, text.message, "InternalServerError")
            self._answer(model, text, asked)
        finally:
            with fake.lock:
                fake.running -= 1

    def _answer(self, model: str, text: str, asked: dict[str, Any]) -> None:
        tokens = len(json.dumps(asked.get("messages", []))) // 4, max(len(text) // 4, 1)
        if not asked.get("stream"):
            self.reply(200, _completion(model, text, *tokens))
            return
        self.send_response(200)
        self.send_header("content-type", EVENTS)
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        words = [event({"content": word}, model=model) for word in re.findall(r"\s*\S+|\s+$", text)]
        for part in (*words, event({}, "stop", model=model), usage_event(*tokens), DONE):
            self.wfile.write(part)


Endpoint = Callable[[_Handler, dict[str, Any]], None]
GET: dict[str, Endpoint] = {
    "/health": _Handler.health,
    "/v1/models": _Handler.list_models,
    "/metrics": _Handler.metrics,
    "/is_sleeping": _Handler.is_sleeping,
}
POST: dict[str, Endpoint] = {
    "/v1/load_lora_adapter": _Handler.load,
    "/v1/unload_lora_adapter": _Handler.unload,
    "/sleep": _Handler.sleep,
    "/wake_up": _Handler.wake,
    "/v1/chat/completions": _Handler.chat,
}


def _error(message: str, kind: str, status: int) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": status}}


def _completion(model: str, text: str, prompt: int, answer: int) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [choice],
        "usage": usage,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve a checkpoint's folder: its file `answer.txt` is the answer, its file `broken` ends the start."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True, type=Path)
    parser.add_argument("--served-model-name", nargs="+", default=["small"])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--start-delay-s", type=float, default=0.0)
    options, _ = parser.parse_known_args(arguments)
    if (options.model / "broken").exists():
        sys.exit(f"cannot load {options.model}")
    time.sleep(options.start_delay_s)
    said = options.model / "answer.txt"
    text = said.read_text() if said.exists() else str(options.model)
    base, *names = options.served_model_name
    fake = FakeVllm(base, lambda _model, _body: text, str(options.model), names, host=options.host)
    fake.port = options.port
    fake.serve_forever()


if __name__ == "__main__":
    main()
