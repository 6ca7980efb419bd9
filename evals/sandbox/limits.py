"""What a program in the sandbox may use."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one program. It is one process always: it may start threads, but no other process.

    Attributes:
        wall_s: Seconds after which it is killed.
        cpu_s: Seconds of processor time after which it is killed.
        memory_bytes: Address space.
        scratch_bytes: Size of the scratch folder, which is in memory and all that it can write to.
        output_bytes: Of stdout and stderr together, after which it is killed.
        threads: Threads at one time, of all that runs as the same user.
        open_files: Files open at one time.
    """

    wall_s: float = 10.0
    cpu_s: int = 5
    memory_bytes: int = 512 << 20
    scratch_bytes: int = 16 << 20
    output_bytes: int = 256 << 10
    threads: int = 64
    open_files: int = 64
