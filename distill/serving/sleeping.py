"""Puts a model's servers to sleep, so that the GPU is free for a training, and wakes them.

Invariant: no server sleeps while a proxy may still send it requests: the proxies are told first, through the
ledger, and what is under way is waited for. Servers sleep no longer than the process that put them to sleep
lives: `reconcile` wakes them then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from distill.serving.reconcile import look_at
from distill.serving.servers import each, end_sleep, hold_sleep, my_turn, servers_of
from distill.serving.vllm import ServerAway, VllmServer
from stepdown.errors import ServingError
from stepdown.ids import now
from stepdown.ledger import Ledger
from stepdown.replicas import Replica, Replicas, State
from stepdown.settings import Settings

RELOADS = 2
DRAIN_S = 120.0
TICK_S = 0.1
CANNOT_SLEEP = (
    "cannot sleep: start vLLM with --enable-sleep-mode and VLLM_SERVER_DEV_MODE=1 (it needs a GPU), or take "
    "`sleeps` out of the settings"
)


def put_to_sleep(ledger: Ledger, settings: Settings, environ: Mapping[str, str], alias: str) -> None:
    """Have all servers of a model sleep until `wake`, or until this process ends.

    Raises:
        ServingError: One cannot, or does not; those that slept already are woken.
        SettingsError: The model has no URL, or its key is not set.
        LedgerError: The ledger refused.
    """
    servers = servers_of(settings, environ, alias)
    with my_turn(ledger, alias):
        for server, able in zip(servers, each(servers, _can_sleep), strict=True):
            if not able:
                raise ServingError(f"server {server.url} {CANNOT_SLEEP}")
        hold_sleep(ledger, alias)
        try:
            _note_asleep(ledger, alias, servers)
            time.sleep(RELOADS * settings.proxy.reload_s)
            each(servers, _drain)
            each(servers, _unless_away(VllmServer.sleep))
        except BaseException:
            end_sleep(ledger, alias)
            look_at(ledger, settings, alias, servers, now())  # it wakes those that sleep
            raise


def wake(ledger: Ledger, settings: Settings, environ: Mapping[str, str], alias: str) -> None:
    """Have all servers of a model serve again, with what they should have; waking twice changes nothing.

    Raises:
        ServingError: One that is there does not wake; the next look tries again.
        SettingsError: The model has no URL, or its key is not set.
        LedgerError: The ledger refused.
    """
    servers = servers_of(settings, environ, alias)
    with my_turn(ledger, alias):
        end_sleep(ledger, alias)
        look_at(ledger, settings, alias, servers, now())
        for server, asleep in zip(servers, each(servers, _is_asleep), strict=True):
            if asleep:
                raise ServingError(f"server {server.url} was told to wake up, and sleeps on")


def _can_sleep(server: VllmServer) -> bool:
    """Whether it can; one that is not there holds no GPU and is put to sleep when it comes."""
    try:
        return server.is_asleep() is not None
    except ServerAway:
        return True


def _is_asleep(server: VllmServer) -> bool:
    try:
        return server.is_asleep() is True
    except ServerAway:
        return False


def _note_asleep(ledger: Ledger, alias: str, servers: Sequence[VllmServer]) -> None:
    """Tell the proxies; what else is known of the servers stays."""
    replicas = Replicas(ledger)
    before = {seen.url: seen for seen in replicas.all()}
    for server in servers:
        refused = before[server.url].refused if server.url in before else {}
        replicas.note(Replica(server.url, alias, now(), State.ASLEEP, refused=refused))


def _drain(server: VllmServer) -> None:
    """Wait until a server has nothing to do; what takes too long is broken off by its sleep."""
    deadline = time.monotonic() + DRAIN_S
    try:
        while server.busy() and time.monotonic() < deadline:
            time.sleep(TICK_S)
    except ServerAway:
        return


def _unless_away(do: Callable[[VllmServer], None]) -> Callable[[VllmServer], None]:
    def attempt(server: VllmServer) -> None:
        try:
            do(server)
        except ServerAway:
            return

    return attempt
