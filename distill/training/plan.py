"""The plan of a training: all that shapes the student, in one value whose hash names the run.

Invariant: two runs with the same plan make the same student, and whatever would make another one is in the
plan. Where the run happens, how long it may take and what it costs are not. Pure, and standard library
only, since the trainer's Python reads it too.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

VERSION = 1
TOKENS_AT_ONCE = 8_192  # of a device in one forward pass, padding included
ALL_LINEAR = "all-linear"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that shapes a student.

    Attributes:
        dataset: Artifact id of the dataset.
        base: Checkpoint that it is trained from, as the settings name it.
        base_hash: Of that checkpoint, as `identity.checkpoint_hash` has it.
        tokenizer_hash: Hash of its tokenizer's vocabulary and template.
        teacher: Checkpoint of the teacher, for gkd.
        teacher_hash: Of the teacher, likewise, for gkd.
        targets: Names of the layers that get an adapter, or `all-linear`.
        batch: Examples in a step, over all devices.
        micro_batch: Of those, how many a device takes at once.
        checkpoint_steps: Steps between two checkpoints and validations.
        patience: Validations without a lower loss after which training stops.
        code: Version of Stepdown.
        version: Of what a plan means.
    """

    task: str
    dataset: str
    base: str
    base_hash: str
    tokenizer_hash: str
    method: Literal["lora", "full"]
    objective: Literal["sft", "gkd"]
    teacher: str | None = None
    teacher_hash: str | None = None
    rank: int
    alpha: int
    targets: str | tuple[str, ...] = ALL_LINEAR
    epochs: float
    learning_rate: float
    batch: int
    micro_batch: int
    processes: int
    checkpoint_steps: int
    patience: int
    max_tokens: int
    seed: int
    code: str
    version: int = VERSION

    @property
    def run(self) -> str:
        """The run's id: SHA-256 of the plan, in hex."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @property
    def accumulation(self) -> int:
        """Forward passes of a device in a step."""
        return self.batch // (self.micro_batch * self.processes)

    def to_bytes(self) -> bytes:
        """The plan as JSON; the same plan gives the same bytes."""
        return json.dumps(self.to_json(), sort_keys=True).encode()

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON values."""
        return json.loads(json.dumps(dataclasses.asdict(self)))  # type: ignore[no-any-return]

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> Plan:
        """The plan that JSON values are."""
        targets = values["targets"]
        return cls(**{**values, "targets": targets if isinstance(targets, str) else tuple(targets)})


def micro_batch(batch: int, processes: int, max_tokens: int) -> int:
    """Examples that a device takes at once: as many as divide its share and hold `TOKENS_AT_ONCE` tokens.

    Raises:
        ValueError: A step cannot be shared out evenly.
    """
    share, left = divmod(batch, processes)
    if left or not share:
        raise ValueError(f"a batch of {batch} examples cannot be shared out to {processes} devices evenly")
    fitting = max(1, TOKENS_AT_ONCE // max_tokens)
    return max(size for size in range(1, share + 1) if share % size == 0 and size <= fitting)


def steps(examples: int, plan: Plan) -> int:
    """Steps of a whole training on so many examples, each as often as it is seen in an epoch."""
    per_epoch = -(-examples // plan.batch)
    return max(1, -(-int(per_epoch * plan.epochs * 1000) // 1000))
