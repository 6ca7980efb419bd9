"""The first program inside of the sandbox: it gives up its powers and becomes the program asked for.

It runs as a script of its own, with the standard library alone. Invariant: by the time that it becomes the
other program, it is nobody, all limits are in force, and nothing but its three standard streams is open.

It reads eight bytes of length and so much JSON from stdin; what follows is the other program's own stdin.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

READY = b"stepdown sandbox ready\n"
NICE = 10


def main() -> None:
    """Become the program that stdin asks for."""
    order = json.loads(_exactly(int.from_bytes(_exactly(8), "big")))
    if order["uid"] is not None:
        _become(order["uid"])
    for name, content in order["files"].items():
        Path(name).write_bytes(bytes.fromhex(content))
    os.nice(NICE)
    os.closerange(3, 1024)
    _limit(order["limits"])
    os.write(2, READY)
    try:
        os.execv(order["argv"][0], order["argv"])
    except OSError as error:
        sys.exit(f"{order['argv'][0]}: {error}")


def _exactly(size: int) -> bytes:
    """So many bytes of stdin and not one more, since the rest is another's."""
    got = b""
    while len(got) < size:
        piece = os.read(0, size - len(got))
        if not piece:
            sys.exit("the order broke off")
        got += piece
    return got


def _become(uid: int) -> None:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def _limit(limits: dict[str, Any]) -> None:
    kinds = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_FSIZE: limits["scratch_bytes"],
        resource.RLIMIT_NOFILE: limits["open_files"],
        resource.RLIMIT_AS: limits["memory_bytes"],
        resource.RLIMIT_NPROC: limits["threads"],
    }
    for kind, most in kinds.items():
        resource.setrlimit(kind, (most, most))
    # At the first a signal that tells what happened, at the second one that cannot be caught.
    resource.setrlimit(resource.RLIMIT_CPU, (limits["cpu_s"], limits["cpu_s"] + 1))


if __name__ == "__main__":
    main()
