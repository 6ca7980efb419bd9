"""Export: a student in the forms in which it may be served, each a student of its own.

Two kinds of module are here. `plan`, `run`, `merge`, `compress`, `convert`, `gguf_writer` and `likeness` run
in the trainer's Python: they import the standard library, each other and, within functions, the torch stack.
All others run in the worker, which never imports torch.

Invariant: a variant is compared with what it was made from before it is kept, and what cannot say the same
is refused. What precision costs in quality is not measured here: each variant is evaluated as a candidate.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distill.export.make import export
    from distill.export.variants import variants_of

__all__ = ["export", "variants_of"]

_HOMES = {"export": "distill.export.make", "variants_of": "distill.export.variants"}


def __getattr__(name: str) -> Any:
    """Import the worker's side when it is asked for: the trainer's Python may not have what it needs."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
