"""What `stepdown up` must have to itself, claimed before any process is started: its folder and its port.

Invariant: what is taken is said once, by name and with the remedy, instead of by a child that fails again
and again. The module starts nothing.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stepdown.errors import SettingsError

LOCK = "up.lock"
PATIENCE_S = 5.0
TICK_S = 0.1


@contextmanager
def alone_in(home: Path) -> Iterator[None]:
    """Hold the folder for this process, as long as the block lasts or the process lives.

    Raises:
        SettingsError: The folder cannot be made or written to, or another `stepdown up` runs in it.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(home / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise SettingsError(
            f"home = {str(home)!r} cannot be written to: {error.strerror}; give another --home"
        ) from error
    with os.fdopen(descriptor, "r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SettingsError(
                f"another `stepdown up` (pid {lock.read().strip() or 'unknown'}) runs in {str(home)!r}; "
                "stop it, or give another --home"
            ) from error
        lock.truncate()
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def check_port(name: str, host: str, port: int, *, patience_s: float = PATIENCE_S) -> None:
    """Refuse a port that cannot be listened on.

    Args:
        name: Of its setting, `proxy.port` or `dashboard.port`.
        host: The address to listen on.
        port: The port; 0 is any.
        patience_s: How long to wait for it, since what a killed `stepdown up` left behind ends in a moment.

    Raises:
        SettingsError: The port is taken, or the address is not one of this machine's.
    """
    deadline = time.monotonic() + patience_s
    while (error := _refusal(host, port)) is not None:
        if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
            raise SettingsError(
                f"{name} = {port} on {host!r} cannot be listened on: {error.strerror}; "
                "stop what uses it, or give another port"
            ) from error
        time.sleep(TICK_S)


def _refusal(host: str, port: int) -> OSError | None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        return error
    for family, kind, protocol, _, address in found:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind(address)
            except OSError as error:
                return error
    return None
