"""A provider with a batch endpoint, as a real HTTP server: OpenAI's files and batches, and its chat beside.

A batch goes one status further whenever it is looked at. What the batch's judge answers is a function of the
question, as in `judging`. The shapes are those of OpenAI's API reference: file and batch objects, listings
with `has_more`, output and error files whose lines come in no order.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from stepdown.settings import ModelSettings
from tests.evals.judge.judging import Judging, longer_wins, quoted_in
from tests.fakes import completion

STATUSES = ("validating", "in_progress", "finalizing", "completed")


@dataclass
class Provider:
    """The provider's state; any of it may be changed at any time.

    Attributes:
        judging: What the judge answers.
        statuses: What a batch goes through.
        fails: What becomes of the question with a custom_id: None answers it; else `(status, body)`, or the
            code of an error without a response.
        refuses: Status by method and path with which a call is refused.
        stalls: Methods and paths whose answer never comes, though they are carried out.
        seen: Methods and paths of all calls, in order.
        chats: Bodies of the chat calls, outside of batches.
    """

    judging: Judging = longer_wins
    statuses: Sequence[str] = STATUSES
    fails: Callable[[str], tuple[int, str] | str | None] = lambda _: None
    refuses: dict[str, int] = field(default_factory=dict)
    stalls: set[str] = field(default_factory=set)
    seen: list[str] = field(default_factory=list)
    chats: list[Any] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    looks: dict[str, int] = field(default_factory=dict)
    authorizations: set[str] = field(default_factory=set)
    closing: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    def settings(self, model: str, **more: Any) -> ModelSettings:
        """Settings that name it."""
        return ModelSettings(model=model, url=self.url, **more)

    def asked(self) -> list[Mapping[str, Any]]:
        """The requests of all batches."""
        return [line for batch in self.batches.values() for line in self._requests(batch)]

    def upload(self, head: str, content: bytes) -> dict[str, Any]:
        """POST /files."""
        form = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {head}\r\n\r\n".encode() + content)
        parts: dict[Any, Any] = {
            part.get_param("name", header="content-disposition"): part for part in form.iter_parts()
        }
        assert parts["purpose"].get_payload(decode=True).strip() == b"batch"
        assert parts["file"].get_filename().endswith(".jsonl")
        name = f"file-{len(self.files)}"
        self.files[name] = parts["file"].get_payload(decode=True)
        return {"id": name, "object": "file", "purpose": "batch", "bytes": len(self.files[name])}

    def create(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """POST /batches."""
        assert asked["endpoint"] == "/v1/chat/completions"
        assert asked["completion_window"] == "24h"
        name = f"batch_{len(self.batches)}"
        self.looks[name] = 0
        self.batches[name] = {
            "id": name,
            "object": "batch",
            "endpoint": asked["endpoint"],
            "errors": None,
            "input_file_id": asked["input_file_id"],
            "completion_window": "24h",
            "status": self.statuses[0],
            "output_file_id": None,
            "error_file_id": None,
            "created_at": 1711471533,
            "metadata": asked["metadata"],
        }
        return self.batches[name]

    def look(self, name: str) -> dict[str, Any]:
        """GET /batches/ID."""
        batch = self.batches[name]
        self.looks[name] += 1
        batch["status"] = self.statuses[min(self.looks[name], len(self.statuses) - 1)]
        if batch["status"] in ("completed", "expired", "cancelled") and batch["output_file_id"] is None:
            self._write_results(batch)
        if batch["status"] == "failed":
            errors = [{"code": "invalid_json_line", "line": 1, "message": "This line is not valid JSON."}]
            batch["errors"] = {"object": "list", "data": errors}
        return batch

    def listing(self, query: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        """GET /batches, the newest first."""
        names = list(reversed(self.batches))
        if "after" in query:
            names = names[names.index(query["after"][0]) + 1 :]
        page = names[: int(query["limit"][0])]
        return {
            "object": "list",
            "data": [self.batches[name] for name in page],
            "first_id": page[0] if page else None,
            "last_id": page[-1] if page else None,
            "has_more": len(names) > len(page),
        }

    def chat(self, asked: Any) -> bytes:
        """POST /chat/completions."""
        self.chats.append(asked)
        return self._answer(asked)

    def _answer(self, asked: Any) -> bytes:
        text = self.judging(quoted_in(asked["messages"][1]["content"]))
        return completion(text, prompt=100, answer=10)

    def _requests(self, batch: Mapping[str, Any]) -> list[Any]:
        return [json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]

    def _write_results(self, batch: dict[str, Any]) -> None:
        output: list[str] = []
        errors: list[str] = []
        for number, line in enumerate(reversed(self._requests(batch))):
            assert (line["method"], line["url"]) == ("POST", "/v1/chat/completions")
            result = {
                "id": f"batch_req_{number}",
                "custom_id": line["custom_id"],
                "response": None,
                "error": None,
            }
            failed = self.fails(line["custom_id"])
            if isinstance(failed, str):
                result["error"] = {"code": failed, "message": "This request was not run."}
            else:
                status, body = failed or (200, self._answer(line["body"]).decode())
                result["response"] = {"status_code": status, "request_id": "r", "body": json.loads(body)}
            (output if failed is None else errors).append(json.dumps(result))
        for name, lines in (("output_file_id", output), ("error_file_id", errors)):
            if lines:
                batch[name] = f"file-{len(self.files)}"
                self.files[batch[name]] = "\n".join(lines).encode() + b"\n"


class _Handler(BaseHTTPRequestHandler):
    provider: Provider
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        provider, url = self.provider, urlsplit(self.path)
        what = f"{self.command} {url.path.removeprefix('/v1')}"
        content = self._body()
        provider.seen.append(what)
        provider.authorizations.add(self.headers.get("Authorization", ""))
        if what in provider.refuses:
            error = {
                "error": {"message": f"no: {self.headers.get('Authorization')}", "type": "x", "code": "x"}
            }
            return self._send(provider.refuses[what], json.dumps(error).encode())
        answer = self._answer(what, parse_qs(url.query), content)
        if what in provider.stalls:
            provider.closing.wait(60)
            self.close_connection = True
            return None
        return self._send(200 if answer is not None else 404, answer or b'{"error": {"message": "none"}}')

    def _answer(self, what: str, query: Mapping[str, Sequence[str]], content: bytes) -> bytes | None:
        provider = self.provider
        if what == "POST /files":
            return json.dumps(provider.upload(self.headers["Content-Type"], content)).encode()
        if what == "POST /batches":
            return json.dumps(provider.create(json.loads(content))).encode()
        if what == "GET /batches":
            return json.dumps(provider.listing(query)).encode()
        if what == "POST /chat/completions":
            return provider.chat(json.loads(content))
        kind, _, name = what.removeprefix("GET /").partition("/")
        if kind == "batches" and name in provider.batches:
            return json.dumps(provider.look(name)).encode()
        return provider.files.get(name.removesuffix("/content")) if kind == "files" else None

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _send(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A client that was killed is no error of the server."""


@contextmanager
def serving(provider: Provider) -> Iterator[Provider]:
    """Serve a provider for the length of a block."""
    handler = type("Handler", (_Handler,), {"provider": provider})
    server = _Server(("127.0.0.1", 0), handler)
    provider.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        provider.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def wait_for(provider: Provider, what: str) -> None:
    """Return when a call was seen; fail the test when it is not."""
    deadline = time.monotonic() + 30
    while what not in provider.seen:
        assert time.monotonic() < deadline, f"waited in vain for {what}; saw {provider.seen}"
        time.sleep(0.02)
