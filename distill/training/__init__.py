"""Training: a student from a dataset, in a process of its own.

Two kinds of module are here. `run`, `count`, `look`, `chat`, `template`, `gkd`, `callbacks`, `checkpoints`,
`identity` and `plan` run in the trainer's Python, whose packages are not the worker's: they import the
standard library, each other and, within functions, the torch stack. All others run in the worker, which
never imports torch.

Invariant: a run is named by the hash of its plan, and what a plan is made into depends on nothing else.
Importing this package imports none of its modules, for half of them are of no use to either Python.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distill.training.adapter import check_adapter
    from distill.training.dry_run import Estimate, estimate
    from distill.training.launch import train
    from distill.training.tokens import open_counter

__all__ = ["Estimate", "check_adapter", "estimate", "open_counter", "train"]

_MODULES = {
    "Estimate": "dry_run",
    "check_adapter": "adapter",
    "estimate": "dry_run",
    "open_counter": "tokens",
    "train": "launch",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
