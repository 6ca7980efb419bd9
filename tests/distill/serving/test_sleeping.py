"""Servers sleep while a student is trained, after the proxies were told, and not longer than it takes."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from distill.serving import put_to_sleep, reconcile, serve, wake
from distill.serving.servers import end_sleep
from distill.serving.vllm import VllmServer
from stepdown.errors import ServingError
from stepdown.ledger import Ledger
from stepdown.replicas import Replicas, State
from stepdown.settings import ModelSettings, Settings
from tests.distill.serving.students import TASK, a_student, names, promote, settings_for
from tests.fake_vllm import FakeVllm
from tests.processes import Process, wait_until

ON_BOTH_DATABASES = True

TRAINER = """
import sys, time
import msgspec
from distill.serving import put_to_sleep
from stepdown.ledger import Ledger
from stepdown.settings import ModelSettings, Settings
settings = msgspec.json.decode(open(sys.argv[1], "rb").read(), type=Settings)
put_to_sleep(Ledger(settings.database_url, migrated=False), settings, {}, "small")
print("trains", flush=True)
time.sleep(60)
"""


@pytest.fixture
def servers() -> Iterator[list[FakeVllm]]:
    with FakeVllm() as first, FakeVllm() as second:
        yield [first, second]


@pytest.fixture
def settings(tmp_path: Path, servers: list[FakeVllm]) -> Settings:
    return settings_for(tmp_path, *servers, sleeps=True)


def states(ledger: Ledger) -> set[State]:
    return {replica.state for replica in Replicas(ledger).all()}


def test_they_sleep_until_they_are_woken_and_have_what_they_should_then(
    ledger: Ledger, settings: Settings, servers: list[FakeVllm]
) -> None:
    student = a_student(ledger, settings, "one")
    promote(ledger, student=student.id)
    put_to_sleep(ledger, settings, {}, "small")
    assert all(server.asleep for server in servers)
    assert Replicas(ledger).asleep() == {"small"}
    assert reconcile(ledger, settings, {}) == [], "the reconciler leaves them asleep"
    assert all(server.asleep for server in servers)
    put_to_sleep(ledger, settings, {}, "small")
    wake(ledger, settings, {}, "small")
    assert not any(server.asleep for server in servers)
    assert Replicas(ledger).asleep() == frozenset()
    assert set(servers[0].adapters) == set(servers[1].adapters) == names(student)
    wake(ledger, settings, {}, "small")


def test_the_proxies_are_told_and_what_is_under_way_is_waited_for_before_a_server_sleeps(
    ledger: Ledger, settings: Settings, servers: list[FakeVllm]
) -> None:
    servers[0].running = 1
    training = threading.Thread(target=put_to_sleep, args=(ledger, settings, {}, "small"))
    training.start()
    wait_until("the proxies are told", lambda: Replicas(ledger).asleep() == {"small"})
    time.sleep(0.2)
    assert not servers[0].asleep
    servers[0].running = 0
    training.join(10)
    assert servers[0].asleep
    wake(ledger, settings, {}, "small")


def test_a_server_that_cannot_sleep_is_an_error_that_says_how_it_could(
    ledger: Ledger, settings: Settings, servers: list[FakeVllm]
) -> None:
    servers[1].sleep_mode = False
    with pytest.raises(ServingError, match="--enable-sleep-mode"):
        put_to_sleep(ledger, settings, {}, "small")
    assert not servers[0].asleep
    assert Replicas(ledger).asleep() == frozenset()


def test_where_one_does_not_go_to_sleep_the_others_are_woken(
    ledger: Ledger, settings: Settings, servers: list[FakeVllm], monkeypatch: pytest.MonkeyPatch
) -> None:
    sleep = VllmServer.sleep

    def fails(server: VllmServer) -> None:
        if server.url == servers[1].url:
            raise ServingError("it does not")
        sleep(server)

    monkeypatch.setattr(VllmServer, "sleep", fails)
    with pytest.raises(ServingError, match="it does not"):
        put_to_sleep(ledger, settings, {}, "small")
    assert not servers[0].asleep
    assert states(ledger) == {State.SERVING}


def test_a_server_that_comes_up_meanwhile_is_put_to_sleep_too(
    ledger: Ledger, settings: Settings, servers: list[FakeVllm]
) -> None:
    servers[0].stop()
    put_to_sleep(ledger, settings, {}, "small")
    assert states(ledger) == {State.ASLEEP}
    servers[0].start()
    reconcile(ledger, settings, {})
    assert servers[0].asleep
    servers[1].stop()
    wake(ledger, settings, {}, "small")
    assert not servers[0].asleep


def test_nothing_is_served_while_they_sleep(ledger: Ledger, settings: Settings) -> None:
    put_to_sleep(ledger, settings, {}, "small")
    student = a_student(ledger, settings, "one")
    with pytest.raises(ServingError, match="sleep while a student is trained"):
        serve(ledger, settings, {}, TASK, student, patience_s=1.0)
    wake(ledger, settings, {}, "small")


def test_they_are_woken_when_the_trainer_is_killed(
    ledger: Ledger, settings: Settings, servers: list[FakeVllm], tmp_path: Path
) -> None:
    url = ledger.engine.url.render_as_string(hide_password=False).replace("+psycopg", "")
    settings = msgspec.structs.replace(settings, database=url)
    file, log = tmp_path / "settings.json", tmp_path / "trainer.log"
    file.write_bytes(msgspec.json.encode(settings))
    with Process([sys.executable, "-c", TRAINER, str(file)], log) as trainer:
        wait_until("it trains", lambda: "trains" in log.read_text())
        reconcile(ledger, settings, {})
        assert all(server.asleep for server in servers)
        with pytest.raises(ServingError, match="sleep already for another training"):
            put_to_sleep(ledger, settings, {}, "small")
        assert all(server.asleep for server in servers)
        trainer.kill_group()

    def awake() -> bool:
        reconcile(ledger, settings, {})
        return not any(server.asleep for server in servers)

    wait_until("they are woken", awake)
    assert states(ledger) == {State.SERVING}


@pytest.mark.parametrize("serving", ["adapters", "as_is"])
def test_one_that_the_settings_have_sleep_no_more_is_woken_all_the_same(
    ledger: Ledger, settings: Settings, servers: list[FakeVllm], serving: str
) -> None:
    put_to_sleep(ledger, settings, {}, "small")
    small = msgspec.structs.replace(settings.models["small"], sleeps=False, serving=serving)
    settings = msgspec.structs.replace(settings, models={**settings.models, "small": small})
    assert reconcile(ledger, settings, {}) == [], "the training goes on"
    end_sleep(ledger, "small")
    assert all("woken" in line for line in reconcile(ledger, settings, {}))
    assert not any(server.asleep for server in servers)
    assert Replicas(ledger).asleep() == frozenset()


def test_one_that_has_no_servers_any_more_is_noted_asleep_no_more(ledger: Ledger, settings: Settings) -> None:
    put_to_sleep(ledger, settings, {}, "small")
    small = ModelSettings(model="provider/small")
    reconcile(ledger, msgspec.structs.replace(settings, models={**settings.models, "small": small}), {})
    assert Replicas(ledger).asleep() == frozenset()
    wake(ledger, settings, {}, "small")
