"""A closed-loop load generator: each connection sends its next request when the last answer is whole.

Reads its orders as JSON lines on standard input and answers each with one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from dataclasses import asdict, dataclass
from functools import partial

import uvloop

REQUESTS = 64
_length = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Order:
    """One round of load.

    Attributes:
        port: Where to.
        stream: Whether to ask for streams.
        concurrency: Connections, each with one request at a time.
        seconds: How long.
    """

    port: int
    stream: bool
    concurrency: int
    seconds: float


@dataclass(frozen=True)
class Round:
    """What a round measured; failures are answers without status 200 and broken connections."""

    requests_per_s: float
    p50_ms: float
    p95_ms: float
    failures: int


def requests(stream: bool) -> list[bytes]:
    """Distinct requests of about 2 KB."""
    return [_request(number, stream) for number in range(REQUESTS)]


def _request(number: int, stream: bool) -> bytes:
    text = f"Question {number}: " + "what does a step-down transformer have to do with it? " * 34
    fields = {"model": "stepdown", "messages": [{"role": "user", "content": text}], "stream": stream}
    body = json.dumps(fields, separators=(",", ":")).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    return head + b"content-length: %d\r\n\r\n%b" % (len(body), body)


class Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, bodies: list[bytes], offset: int, latencies: list[float], failures: list[str]) -> None:
        self._bodies = bodies
        self._next = offset
        self._latencies = latencies
        self._failures = failures
        self._received = b""
        self._sent = 0.0
        self._stopping = False
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._bodies[self._next % len(self._bodies)])
        self._next += 1

    def data_received(self, data: bytes) -> None:
        """Note an answer that is whole, and send the next request."""
        self._received = self._received + data if self._received else data
        if not _is_whole(self._received):
            return
        self._latencies.append(time.perf_counter() - self._sent)
        if not self._received.startswith(b"HTTP/1.1 200"):
            self._failures.append(self._received[:60].decode("latin-1"))
        self._received = b""
        if self._stopping:
            self._transport.close()
        else:
            self._send()

    def connection_lost(self, error: Exception | None) -> None:
        """A connection lost before the end is a failure."""
        if not self._stopping:
            self._failures.append("connection lost")
        if not self.closed.done():
            self.closed.set_result(None)

    def stop(self) -> None:
        """Close when the answer under way is whole."""
        self._stopping = True


def _is_whole(received: bytes) -> bool:
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return False
    length = _length.search(received, 0, end)
    if length is not None:
        return len(received) >= end + 4 + int(length.group(1))
    return received.endswith(b"0\r\n\r\n")


def _same(connection: Connection) -> Connection:
    return connection


async def run(order: Order) -> Round:
    """Run one round."""
    latencies: list[float] = []
    failures: list[str] = []
    bodies = requests(order.stream)
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    connections = [Connection(bodies, number * 7, latencies, failures) for number in range(order.concurrency)]
    for connection in connections:
        await loop.create_connection(partial(_same, connection), "127.0.0.1", order.port)
    await asyncio.sleep(order.seconds)
    for connection in connections:
        connection.stop()
    elapsed, counted = time.perf_counter() - started, sorted(latencies)
    await asyncio.wait([connection.closed for connection in connections], timeout=30)
    if not counted:
        return Round(0.0, float("nan"), float("nan"), len(failures))
    middle, high = counted[len(counted) // 2], counted[int(len(counted) * 0.95)]
    return Round(len(counted) / elapsed, middle * 1000, high * 1000, len(failures))


def main() -> None:
    """Serve orders until the input ends."""
    for line in sys.stdin:
        print(json.dumps(asdict(uvloop.run(run(Order(**json.loads(line)))))), flush=True)


if __name__ == "__main__":
    main()
