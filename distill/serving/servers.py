"""The servers of one model, and whose turn it is to change them.

Invariant: who changes a model's servers holds its turn, and who has them sleep holds their sleep; both end
with the process that holds them. Knows nothing of what is changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TypeVar

import msgspec

from distill.serving.vllm import VllmServer
from router.upstream.factory import read_keys
from stepdown.errors import ServingError, SettingsError
from stepdown.ledger import Ledger
from stepdown.ledger.lock import alone
from stepdown.settings import Settings

TURN_PATIENCE_S = 600.0
TRY_AGAIN_S = 0.1

T = TypeVar("T")

# A sleep is asked for by one call and ended by another, and must end if the process between them does: so the
# lock is held here, by ledger and alias.
_sleeps: dict[tuple[str, str], ExitStack] = {}


def servers_of(settings: Settings, environ: Mapping[str, str], alias: str) -> list[VllmServer]:
    """The servers of a model.

    Raises:
        SettingsError: There is no such model, it has no URL, or the variable of its key is not set.
    """
    if alias not in settings.models or not settings.models[alias].servers:
        raise SettingsError(f"model {alias!r} is not declared with a url under [models]")
    model = settings.models[alias]
    key = read_keys(msgspec.structs.replace(settings, models={alias: model}), environ)[alias]
    return [VllmServer(url, key) for url in model.servers]


def each(servers: Sequence[VllmServer], do: Callable[[VllmServer], T]) -> list[T]:
    """Do something with all servers at once, since one that hangs must not keep the others waiting."""
    with ThreadPoolExecutor(max_workers=len(servers)) as pool:
        return list(pool.map(do, servers))


@contextmanager
def turn(ledger: Ledger, alias: str, *, patience_s: float = 0.0) -> Iterator[bool]:
    """Hold the turn at a model's servers, or learn that somebody else has it still.

    Raises:
        LedgerError: The database refused.
    """
    deadline = time.monotonic() + patience_s
    while True:
        with alone(ledger, f"servers of {alias}") as held:
            if held or time.monotonic() >= deadline:
                yield held
                return
        time.sleep(TRY_AGAIN_S)


@contextmanager
def my_turn(ledger: Ledger, alias: str, *, patience_s: float = TURN_PATIENCE_S) -> Iterator[None]:
    """Hold the turn at a model's servers.

    Raises:
        ServingError: Somebody else has it for too long.
    """
    with turn(ledger, alias, patience_s=patience_s) as held:
        if not held:
            raise ServingError(f"somebody else is changing the servers of {alias!r} for {patience_s:g} s now")
        yield


def asked_for(name: str) -> str:
    """The heartbeat by which somebody asks for a student, where a server has one checkpoint at a time."""
    return f"serve {name}"


def hold_sleep(ledger: Ledger, alias: str) -> None:
    """Say that a model's servers are to sleep until `end_sleep`, or the end of this process; hold the turn.

    Raises:
        ServingError: Somebody else has put them to sleep.
    """
    key = _sleep_key(ledger, alias)
    if key in _sleeps:
        return
    stack = ExitStack()
    if not stack.enter_context(alone(ledger, _sleep_name(alias))):
        stack.close()
        raise ServingError(f"the servers of {alias!r} sleep already for another training; wait for its end")
    _sleeps[key] = stack


def end_sleep(ledger: Ledger, alias: str) -> None:
    """Say that they need not sleep any more for this process."""
    stack = _sleeps.pop(_sleep_key(ledger, alias), None)
    if stack is not None:
        stack.close()


def is_to_sleep(ledger: Ledger, alias: str) -> bool:
    """Whether somebody who is alive has put a model's servers to sleep; hold the turn."""
    with alone(ledger, _sleep_name(alias)) as free:
        return not free


def _sleep_name(alias: str) -> str:
    return f"sleep of {alias}"


def _sleep_key(ledger: Ledger, alias: str) -> tuple[str, str]:
    return ledger.engine.url.render_as_string(hide_password=False), alias
