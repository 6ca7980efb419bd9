"""The files of a run's folder, and the exit codes of its script: what parent and child agree on.

Invariant: names stand here and nowhere else. Standard library only.
"""

from __future__ import annotations

import enum
from typing import Literal

PLAN = "plan.json"
PLACE = "place.json"  # where base and teacher are on this machine: not part of the plan
PROGRESS = "progress.jsonl"
LOG = "log.txt"
LOCK = "lock"
RESULT = "result.json"
CHECKPOINTS = "checkpoints"
PARTIAL = "partial"
RESULTS = {"lora": "adapter", "full": "merged"}
PARTS: tuple[Literal["train", "validation"], ...] = ("train", "validation")


class Exit(enum.IntEnum):
    """How a script ended."""

    DONE = 0
    REFUSED = 64
    OUT_OF_MEMORY = 71
    DISK_FULL = 74
    STOPPED = 75
