"""One model behind several servers: each request goes to the one with the fewest outstanding requests.

Invariant: a request moves on to another server only where the one asked has answered nothing of it: it
could not be reached, broke off before the head of its answer, has not the model (a vLLM that was started
anew has lost its adapters), or says that it is overloaded. A stream is outstanding until it is at its end or
closed. Knows nothing of what is asked but the model's name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

import aiohttp
import msgspec

from router.upstream.base import Reply, Upstream
from stepdown.errors import UpstreamError, UpstreamTimeout

AVOIDED_S = 5.0
NOT_FOUND, UNAVAILABLE = 404, 503

Clock = Callable[[], float]


@dataclass(slots=True)
class _Server:
    outstanding: int = 0
    last: int = 0
    avoided_until: float = 0.0
    lacks_until: dict[str, float] = field(default_factory=dict)

    def free_at(self, model: str) -> float:
        return max(self.avoided_until, self.lacks_until.get(model, 0.0))


class Balance:
    """Which of several servers a request goes to. Pure but for its clock.

    Args:
        servers: How many there are.
        clock: Seconds that only grow.
    """

    def __init__(self, servers: int, clock: Clock = time.monotonic) -> None:
        self._servers = [_Server() for _ in range(servers)]
        self._resting: frozenset[int] = frozenset()
        self._clock = clock
        self._taken = 0

    @property
    def outstanding(self) -> tuple[int, ...]:
        """Of each server."""
        return tuple(server.outstanding for server in self._servers)

    def take(self, model: str, tried: Sequence[int] = ()) -> int | None:
        """Take a place at the least busy server that is not avoided; of equals, the one that waited longest.

        Where all are avoided or rest, a request that was nowhere yet is for the one that is avoided for the
        shortest time yet.

        Args:
            model: What is asked for, which a server may lack.
            tried: Servers that this request was sent to already.

        Returns:
            The server's number, or None where no other is worth a try.
        """
        now = self._clock()
        left = [i for i in range(len(self._servers)) if i not in tried]
        free = [i for i in left if i not in self._resting and self._servers[i].free_at(model) <= now]
        if free:
            chosen = min(free, key=lambda i: (self._servers[i].outstanding, self._servers[i].last))
        elif left and not tried:
            chosen = min(left, key=lambda i: self._servers[i].free_at(model))
        else:
            return None
        self._taken += 1
        self._servers[chosen].last = self._taken
        self._servers[chosen].outstanding += 1
        return chosen

    def rest(self, servers: Iterable[int]) -> None:
        """Send these nothing, until the next call says otherwise, as long as there is another."""
        self._resting = frozenset(servers)

    def give_back(self, server: int) -> None:
        """Give a place back."""
        self._servers[server].outstanding -= 1

    def avoid(self, server: int, model: str | None = None) -> None:
        """Send a server nothing for a while; or nothing for a model that it lacks."""
        until = self._clock() + AVOIDED_S
        if model is None:
            self._servers[server].avoided_until = until
        else:
            lacks = {name: at for name, at in self._servers[server].lacks_until.items() if at > self._clock()}
            self._servers[server].lacks_until = {**lacks, model: until}


class _Asked(msgspec.Struct):
    model: str = ""


class Pool:
    """The servers of one model, as one upstream.

    Args:
        servers: One upstream for each.
        urls: Of the servers, in the same order.
        clock: Seconds that only grow.
    """

    def __init__(
        self, servers: Sequence[Upstream], urls: Sequence[str] = (), clock: Clock = time.monotonic
    ) -> None:
        self._upstreams = tuple(servers)
        self._urls = tuple(urls)
        self.balance = Balance(len(self._upstreams), clock)

    def rest(self, urls: Collection[str]) -> None:
        """Send the servers with these URLs nothing for now: they sleep, or are about to be stopped."""
        self.balance.rest(number for number, url in enumerate(self._urls) if url in urls)

    async def ask(self, body: bytes, *, stream: bool, authorization: str | None) -> Reply:
        """Send a chat request to one server after another until one takes it.

        Raises:
            UpstreamError: None did; the last one's error.
        """
        model = msgspec.json.decode(body, type=_Asked).model
        tried: list[int] = []
        error: UpstreamError | None = None
        refusal: Reply | None = None
        while (server := self.balance.take(model, tried)) is not None:
            tried.append(server)
            if refusal is not None:
                refusal.close()
            try:
                reply = await self._ask(server, body, stream, authorization)
            except UpstreamError as failed:
                if not _may_go_elsewhere(failed):
                    raise
                self.balance.avoid(server)
                error, refusal = failed, None
                continue
            if reply.status not in (NOT_FOUND, UNAVAILABLE):
                return reply
            self.balance.avoid(server, model if reply.status == NOT_FOUND else None)
            error, refusal = None, reply
        if refusal is not None:
            return refusal
        assert error is not None, "a pool has servers, and the first is always asked"
        raise error

    async def _ask(self, server: int, body: bytes, stream: bool, authorization: str | None) -> Reply:
        try:
            reply = await self._upstreams[server].ask(body, stream=stream, authorization=authorization)
        except BaseException:  # a caller that hangs up gives the place back too
            self.balance.give_back(server)
            raise
        return _Outstanding(reply, lambda: self.balance.give_back(server))

    async def close(self) -> None:
        """Close what is open."""
        for upstream in self._upstreams:
            await upstream.close()


def _may_go_elsewhere(error: UpstreamError) -> bool:
    """Whether the server has not begun with the request, or is gone; one that is slow is at it still."""
    return not isinstance(error, UpstreamTimeout) or isinstance(
        error.__cause__, aiohttp.ConnectionTimeoutError
    )


class _Outstanding:
    """A reply that says once when nothing more of it will come."""

    def __init__(self, reply: Reply, ended: Callable[[], None]) -> None:
        self._reply = reply
        self._ended: Callable[[], None] | None = ended
        self.status = reply.status
        self.headers = reply.headers
        self.streams = reply.streams

    async def next_chunk(self) -> bytes:
        chunk = await self._reply.next_chunk()
        if not chunk:
            self._end()
        return chunk

    async def read(self) -> bytes:
        whole = await self._reply.read()
        self._end()
        return whole

    def close(self) -> None:
        self._end()
        self._reply.close()

    def _end(self) -> None:
        if self._ended is not None:
            self._ended()
            self._ended = None
