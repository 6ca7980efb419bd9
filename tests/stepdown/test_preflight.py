"""What is taken is said by name, before any process is started."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from stepdown.errors import SettingsError
from stepdown.preflight import alone_in, check_port
from tests.processes import free_port

HOLD = """
import sys, time
from pathlib import Path
from stepdown.preflight import alone_in
with alone_in(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_folder_is_held_by_one_process_and_free_when_that_is_killed(tmp_path: Path) -> None:
    home = tmp_path / "new" / "home"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(home)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(SettingsError, match=rf"pid {holder.pid}\) runs in '{home}'"), alone_in(home):
            pass
        holder.kill()
    with alone_in(home):
        assert (home / "up.lock").read_text() == f"{os.getpid()}\n"


def test_a_new_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    with alone_in(tmp_path / "home"):
        assert (tmp_path / "home").stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(SettingsError, match=r"file/home.*another --home"),
        alone_in(tmp_path / "file/home"),
    ):
        pass


def test_a_taken_port_is_named_and_a_free_one_is_left_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"proxy.port = {port} .*another port"):
            check_port("proxy.port", "127.0.0.1", port, patience_s=0.0)
    free = free_port()
    for _ in range(2):
        check_port("proxy.port", "127.0.0.1", free)
    check_port("proxy.port", "127.0.0.1", 0)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"'192\.0\.2\.1'"):
        check_port("proxy.port", "192.0.2.1", 0)
