"""The pool: which server a request goes to, what moves it on, and when a place is free again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.upstream import open_models
from router.upstream.openai_shaped import OpenAIShaped, open_session
from router.upstream.pool import AVOIDED_S, Balance, Pool
from stepdown.errors import UpstreamError, UpstreamTimeout, UpstreamUnreachable
from stepdown.settings import ModelSettings, Settings
from tests.fakes import Asked, FakeModel, Reply, closed_port, error, plain, running, streamed

QUESTION = json.dumps({"model": "small", "messages": []}).encode()


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def models() -> Iterator[list[FakeModel]]:
    fakes = [FakeModel(), FakeModel(), FakeModel()]
    with running(*fakes):
        yield fakes


@asynccontextmanager
async def pool_of(*urls: str, clock: Clock | None = None, timeout_s: float = 5.0) -> AsyncIterator[Pool]:
    async with open_session(5.0) as session:
        servers = [
            OpenAIShaped(name="small", url=url, key=None, timeout_s=timeout_s, session=session)
            for url in urls
        ]
        yield Pool(servers, urls, clock or Clock())


async def ask(pool: Pool, model: str = "small", *, stream: bool = False) -> int:
    body = json.dumps({"model": model, "messages": [], "stream": stream}).encode()
    reply = await pool.ask(body, stream=stream, authorization=None)
    await reply.read()
    reply.close()
    return reply.status


deeds = st.sampled_from(["take", "take", "take", "give back", "give back", "avoid"])
steps = st.lists(st.tuples(deeds, st.integers(0, 30)), min_size=10, max_size=60)


@given(servers=st.integers(1, 4), steps=steps)
def test_whatever_comes_and_goes_the_least_busy_server_that_is_not_avoided_is_next(
    servers: int, steps: list[tuple[str, int]]
) -> None:
    """Take a place, give one of the held ones back, or avoid a server; all counted beside it."""
    clock = Clock()
    balance = Balance(servers, clock)
    held: list[int] = []
    avoided: dict[int, float] = {}
    for deed, number in steps:
        clock.now += 1.0
        if deed == "take":
            busy = [held.count(i) for i in range(servers)]
            free = [i for i in range(servers) if avoided.get(i, 0.0) <= clock.now]
            taken = balance.take("small")
            assert taken is not None
            assert not free or (taken in free and busy[taken] == min(busy[i] for i in free))
            held.append(taken)
        elif deed == "avoid":
            balance.avoid(number % servers)
            avoided[number % servers] = clock.now + AVOIDED_S
        elif held:
            balance.give_back(held.pop(number % len(held)))
        assert balance.outstanding == tuple(held.count(i) for i in range(servers))


@given(servers=st.integers(1, 8), requests=st.integers(0, 60))
def test_requests_that_do_not_end_spread_evenly(servers: int, requests: int) -> None:
    balance = Balance(servers, Clock())
    for _ in range(requests):
        balance.take("small")
    assert max(balance.outstanding) - min(balance.outstanding) <= 1


def test_of_idle_servers_the_one_that_waited_longest_is_next() -> None:
    balance = Balance(3, Clock())
    taken = []
    for _ in range(6):
        taken.append(server := balance.take("small"))
        assert server is not None
        balance.give_back(server)
    assert taken == [0, 1, 2, 0, 1, 2]


async def test_a_stream_is_outstanding_until_it_is_at_its_end_or_closed(models: list[FakeModel]) -> None:
    async with pool_of(models[0].url, models[1].url) as pool:
        first = await pool.ask(QUESTION, stream=False, authorization=None)
        assert pool.balance.outstanding == (1, 0)
        for model in models:
            model.behaviour = lambda _: streamed(pause_s=0.01)
        second = await pool.ask(QUESTION, stream=True, authorization=None)
        assert pool.balance.outstanding == (1, 1)
        await first.read()
        first.close()
        assert pool.balance.outstanding == (0, 1)
        while await second.next_chunk():
            assert pool.balance.outstanding == (0, 1)
        assert pool.balance.outstanding == (0, 0)
        third = await pool.ask(QUESTION, stream=True, authorization=None)
        third.close()
        third.close()
        assert pool.balance.outstanding == (0, 0)


async def test_a_caller_that_is_gone_gives_its_place_back(models: list[FakeModel]) -> None:
    loop, arrived = asyncio.get_running_loop(), asyncio.Event()

    def slow(_: Asked) -> Reply:
        loop.call_soon_threadsafe(arrived.set)
        return streamed(head_after_s=30)

    models[0].behaviour = slow
    async with pool_of(models[0].url, models[1].url) as pool:
        waiting = asyncio.create_task(pool.ask(QUESTION, stream=True, authorization=None))
        await arrived.wait()
        assert pool.balance.outstanding == (1, 0)
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
        assert pool.balance.outstanding == (0, 0)


async def test_requests_at_once_go_to_every_server(models: list[FakeModel]) -> None:
    async with pool_of(*(model.url for model in models)) as pool:
        assert set(await asyncio.gather(*(ask(pool) for _ in range(30)))) == {200}
    assert [len(model.asked) for model in models] == [10, 10, 10]


async def test_a_server_that_is_down_is_passed_over_and_left_alone_for_a_while(
    models: list[FakeModel],
) -> None:
    clock = Clock()
    down = FakeModel(port=closed_port())
    async with pool_of(down.url, models[1].url, clock=clock) as pool:
        for _ in range(5):
            assert await ask(pool) == 200
        assert len(models[1].asked) == 5
        async with await asyncio.start_server(down.serve, "127.0.0.1", down.port):
            assert await ask(pool) == 200
            assert not down.asked, "it was asked though it is avoided"
            clock.now += AVOIDED_S
            assert await ask(pool) == 200
            assert len(down.asked) == 1, "it was never asked again"


async def test_a_server_that_breaks_off_before_its_head_is_passed_over(models: list[FakeModel]) -> None:
    listening = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with listening, pool_of(f"http://127.0.0.1:{port}/v1", models[0].url) as pool:
        assert await ask(pool) == 200
    assert len(models[0].asked) == 1


async def test_a_server_without_the_adapter_gets_no_request_for_it_but_others(
    models: list[FakeModel],
) -> None:
    lost, has, _ = models
    lost.behaviour = lambda asked: error(404) if asked.json["model"] == "adapter" else plain()
    async with pool_of(lost.url, has.url) as pool:
        assert [await ask(pool, "adapter") for _ in range(3)] == [200, 200, 200]
        assert len(lost.asked) == 1
        assert len(has.asked) == 3
        assert await ask(pool) == 200
        assert len(lost.asked) == 2, "it was avoided for a model that it has"


async def test_an_overloaded_server_is_left_alone(models: list[FakeModel]) -> None:
    models[0].behaviour = lambda _: error(503)
    async with pool_of(models[0].url, models[1].url) as pool:
        assert [await ask(pool) for _ in range(3)] == [200, 200, 200]
    assert (len(models[0].asked), len(models[1].asked)) == (1, 3)


async def test_a_server_that_rests_is_sent_nothing_while_another_is_there(models: list[FakeModel]) -> None:
    first, second, _ = models
    async with pool_of(first.url, second.url) as pool:
        pool.rest([first.url])
        assert [await ask(pool) for _ in range(3)] == [200, 200, 200]
        second.behaviour = lambda _: error(503)
        assert await ask(pool) == 503
        assert not first.asked
        pool.rest([first.url, second.url])
        second.behaviour = lambda _: plain()
        assert await ask(pool) == 200, "what the ledger says of all of them may be old"
        pool.rest([])
        assert await ask(pool) == 200
    assert first.asked


async def test_any_other_answer_is_the_answer(models: list[FakeModel]) -> None:
    models[0].behaviour = lambda _: error(400)
    async with pool_of(models[0].url, models[1].url) as pool:
        assert await ask(pool) == 400
    assert not models[1].asked


async def test_where_all_are_down_the_error_is_that_of_one(models: list[FakeModel]) -> None:
    urls = [f"http://127.0.0.1:{closed_port()}/v1" for _ in range(2)]
    async with pool_of(*urls) as pool:
        for _ in range(2):
            with pytest.raises(UpstreamUnreachable, match="cannot be reached"):
                await ask(pool)
        assert pool.balance.outstanding == (0, 0)


async def test_where_all_lack_the_model_their_own_words_are_the_answer(models: list[FakeModel]) -> None:
    for model in models:
        model.behaviour = lambda _: error(404, "no such model")
    async with pool_of(*(model.url for model in models)) as pool:
        reply = await pool.ask(QUESTION, stream=False, authorization=None)
        assert reply.status == 404
        assert b"no such model" in await reply.read()
        assert [len(model.asked) for model in models] == [1, 1, 1]
        assert await ask(pool) == 404
        assert sum(len(model.asked) for model in models) == 4, "a hopeless request went to all of them again"
        assert pool.balance.outstanding == (0, 0, 0)


async def test_a_server_that_is_slow_is_at_it_still_and_nobody_else_is_asked(models: list[FakeModel]) -> None:
    models[0].behaviour = lambda _: streamed(head_after_s=5)
    async with pool_of(models[0].url, models[1].url, timeout_s=0.1) as pool:
        with pytest.raises(UpstreamTimeout):
            await ask(pool)
        assert pool.balance.outstanding == (0, 0)
    assert not models[1].asked


async def test_a_body_that_is_cut_off_is_not_asked_for_elsewhere(models: list[FakeModel]) -> None:
    models[0].behaviour = lambda _: streamed(breaks=True)
    async with pool_of(models[0].url, models[1].url) as pool:
        reply = await pool.ask(QUESTION, stream=True, authorization=None)
        with pytest.raises(UpstreamError):
            await reply.read()
        reply.close()
        assert pool.balance.outstanding == (0, 0)
    assert not models[1].asked


async def test_only_a_model_with_several_servers_is_a_pool() -> None:
    one = ModelSettings(model="small", url="http://127.0.0.1:9/v1")
    two = ModelSettings(model="small", url="http://127.0.0.1:9/v1", replicas=("http://127.0.0.1:8/v1",))
    async with open_session(1.0) as session:
        opened = open_models(Settings(models={"one": one, "two": two}), {"one": None, "two": None}, session)
        assert isinstance(opened["one"].upstream, OpenAIShaped)
        assert isinstance(opened["two"].upstream, Pool)
