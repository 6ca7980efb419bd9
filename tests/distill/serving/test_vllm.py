"""The client of a vLLM: what it finds out, what it changes, and its words for what goes wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from distill.serving.plan import Card
from distill.serving.vllm import ServerAway, VllmServer
from stepdown.errors import ServingError
from tests.fake_vllm import Failure, FakeVllm
from tests.fakes import closed_port


@pytest.fixture
def fake() -> Iterator[FakeVllm]:
    with FakeVllm() as server:
        yield server


@pytest.fixture
def server(fake: FakeVllm) -> VllmServer:
    return VllmServer(fake.url, look_s=2.0, change_s=2.0)


@pytest.fixture
def adapter(tmp_path: Path) -> str:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 8}))
    return str(tmp_path)


def test_an_adapter_is_loaded_listed_answers_and_is_unloaded(
    fake: FakeVllm, server: VllmServer, adapter: str
) -> None:
    server.check_health()
    server.check_loads()
    server.load("a1", adapter)
    assert server.cards() == [Card("small", fake.root, None), Card("a1", adapter, "small")]
    server.probe("a1")
    assert fake.asked[-1]["max_tokens"] == 1
    server.unload("a1")
    server.unload("a1")
    assert server.cards() == [Card("small", fake.root, None)]
    with pytest.raises(ServingError, match="does not answer as 'a1': 404: The model `a1` does not exist"):
        server.probe("a1")


def test_a_refusal_carries_the_servers_own_words(fake: FakeVllm, server: VllmServer, adapter: str) -> None:
    fake.max_rank = 4
    with pytest.raises(ServingError, match="refuses adapter 'a1': 500: LoRA rank 8 is greater"):
        server.load("a1", adapter)


def test_a_path_that_the_server_does_not_see_names_the_setting(server: VllmServer) -> None:
    with pytest.raises(ServingError, match=r"404: .*trainer\.mounted"):
        server.load("a1", "/not/there")


def test_a_server_without_runtime_updates_says_how_to_start_it(fake: FakeVllm, server: VllmServer) -> None:
    fake.runtime_lora = False
    with pytest.raises(ServingError, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"):
        server.check_loads()
    with pytest.raises(ServingError, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"):
        server.load("a1", "/any")


def test_an_older_adapter_under_the_name_is_found_out(
    fake: FakeVllm, server: VllmServer, adapter: str
) -> None:
    fake.load_fault = "ignores"
    with pytest.raises(ServingError, match="serves an older adapter under 'a1': from '/adapters/older'"):
        server.load("a1", adapter)
    assert "a1" not in fake.adapters, "it goes on answering under the name"


def test_a_server_that_dies_on_a_load_is_away(fake: FakeVllm, server: VllmServer, adapter: str) -> None:
    fake.load_fault, fake.hang_s = "dies", 0.5
    with pytest.raises(ServerAway):
        server.load("a1", adapter)
    with pytest.raises(ServerAway, match="cannot be reached"):
        server.check_health()


def test_a_server_that_hangs_is_away_after_its_time(fake: FakeVllm, adapter: str) -> None:
    fake.load_fault, fake.hang_s = "hangs", 2.0
    with pytest.raises(ServerAway, match=r"sent nothing for 0\.1 s"):
        VllmServer(fake.url, change_s=0.1).load("a1", adapter)


def test_health(fake: FakeVllm, server: VllmServer) -> None:
    fake.unhealthy = True
    with pytest.raises(ServerAway, match="not healthy"):
        server.check_health()
    with pytest.raises(ServerAway, match="cannot be reached"):
        VllmServer(f"http://127.0.0.1:{closed_port()}/v1").check_health()


def test_sleep_and_waking(fake: FakeVllm, server: VllmServer) -> None:
    assert server.is_asleep() is False
    server.sleep()
    assert server.is_asleep() is True
    server.wake()
    assert server.is_asleep() is False
    fake.sleep_mode = False
    assert server.is_asleep() is None
    with pytest.raises(ServingError, match="does not go to sleep"):
        server.sleep()


def test_how_busy_it_is(fake: FakeVllm, server: VllmServer) -> None:
    assert server.busy() == 0
    fake.running = 3
    assert server.busy() == 3


def test_a_server_that_answers_something_else_is_an_error_in_words(
    fake: FakeVllm, server: VllmServer
) -> None:
    fake.answer = lambda _model, _body: Failure(400, "no chat template")
    with pytest.raises(ServingError, match="400: no chat template"):
        server.probe("small")
    with pytest.raises(ServingError, match="lists no models"):
        VllmServer(fake.url + "/nope").cards()


def test_the_rank_is_not_known_where_the_server_does_not_say(server: VllmServer) -> None:
    assert server.max_rank() is None
