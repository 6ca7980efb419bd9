"""The lock: held once, given back at the end of its holder, even where that is killed."""

from __future__ import annotations

import sys
from pathlib import Path

from stepdown.ledger import Ledger
from stepdown.ledger.lock import alone
from tests.processes import Process, wait_until

ON_BOTH_DATABASES = True

HOLDER = """
import sys, time
from stepdown.ledger.lock import alone
from stepdown.ledger import Ledger
with alone(Ledger(sys.argv[1], migrated=False), "one") as held:
    print("held", held, flush=True)
    time.sleep(60)
"""


def test_one_name_is_held_once(ledger: Ledger) -> None:
    with alone(ledger, "one") as first, alone(ledger, "one") as second, alone(ledger, "two") as other:
        assert (first, second, other) == (True, False, True)
    with alone(ledger, "one") as again:
        assert again


def test_it_ends_with_a_holder_that_is_killed(ledger: Ledger, tmp_path: Path) -> None:
    url = ledger.engine.url.render_as_string(hide_password=False).replace("+psycopg", "")
    log = tmp_path / "holder.log"
    with Process([sys.executable, "-c", HOLDER, url], log) as process:
        wait_until("it holds the lock", lambda: "held True" in log.read_text())
        with alone(ledger, "one") as held:
            assert not held
        process.kill_group()

    def free() -> bool:
        with alone(ledger, "one") as held:
            return held

    wait_until("the lock is free", free)  # a server notices the end of a connection a moment later
