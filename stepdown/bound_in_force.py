"""The bound that is in force for a task: what a person set, or else what the settings say.

Invariant: whoever uses a task's `max_quality_loss` asks here first, so that no two parts of the product keep
different promises. It does not know what a bound costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

import msgspec

from stepdown.records import Deployed, Promotion
from stepdown.registry import Registry
from stepdown.settings import TaskSettings


def with_bound(task: TaskSettings, deployed: Deployed) -> TaskSettings:
    """The task's settings under what is in force for it."""
    if deployed.max_quality_loss is None:
        return task
    return msgspec.structs.replace(task, max_quality_loss=deployed.max_quality_loss)


def bounded(registry: Registry, task_name: str, task: TaskSettings) -> TaskSettings:
    """The task's settings under the bound that is in force now.

    Raises:
        LedgerError: The promotion in force is corrupt, or the ledger cannot be read.
    """
    return with_bound(task, registry.deployed(task_name))


def set_by(history: Sequence[Promotion]) -> Promotion | None:
    """Of a task's promotions, oldest first, the one that set the bound; None where the settings say it."""
    if not history or (bound := history[-1].max_quality_loss) is None:
        return None
    return list(takewhile(lambda promotion: promotion.max_quality_loss == bound, reversed(history)))[-1]
