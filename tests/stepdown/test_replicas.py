"""What was last seen of servers: in place of what was seen before, and which models sleep by it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from stepdown.ids import now
from stepdown.ledger import Ledger
from stepdown.replicas import Replica, Replicas, State

ON_BOTH_DATABASES = True


def note(ledger: Ledger, url: str, state: State = State.SERVING, alias: str = "small") -> None:
    Replicas(ledger).note(Replica(url, alias, now(), state))


def test_a_look_replaces_the_one_before(ledger: Ledger) -> None:
    seen = Replica("http://a/v1", "small", now(), State.SERVING, {"x": "/x"}, {"y": {"tries": 1}}, "no y")
    note(ledger, seen.url, State.AWAY)
    Replicas(ledger).note(seen)
    assert Replicas(ledger).all() == [seen]


def test_two_who_look_at_once_do_not_get_in_each_others_way(ledger: Ledger) -> None:
    urls = [f"http://{number:02}/v1" for number in range(20)]
    with ThreadPoolExecutor(2) as lookers:
        for url in urls:
            list(lookers.map(lambda state, url=url: note(ledger, url, state), (State.AWAY, State.SERVING)))
    assert [seen.url for seen in Replicas(ledger).all()] == urls


def test_servers_that_are_declared_no_more_are_forgotten(ledger: Ledger) -> None:
    note(ledger, "http://a/v1")
    note(ledger, "http://b/v1")
    note(ledger, "http://c/v1", alias="other")
    Replicas(ledger).forget("small", but=["http://b/v1"])
    assert [seen.url for seen in Replicas(ledger).all()] == ["http://b/v1", "http://c/v1"]


@pytest.mark.parametrize(
    ("states", "asleep"),
    [
        ([State.ASLEEP, State.ASLEEP], True),
        ([State.ASLEEP, State.AWAY], True),
        ([State.ASLEEP, State.SERVING], False),
        ([State.AWAY, State.AWAY], False),
        ([State.SERVING], False),
    ],
)
def test_a_model_sleeps_where_a_server_sleeps_and_none_serves(
    ledger: Ledger, states: list[State], asleep: bool
) -> None:
    for number, state in enumerate(states):
        note(ledger, f"http://{number}/v1", state)
    assert Replicas(ledger).asleep() == ({"small"} if asleep else frozenset())
