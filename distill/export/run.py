"""Makes one variant; run by the trainer's Python as `distill.export.run PLAN.json`.

Invariant: what came of it is in one file in the work folder, in words for who started it, and the variant
has its name only when it is whole. It ends with the process that started it, whose end closes its input.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from distill.export.compress import compress
from distill.export.convert import convert
from distill.export.merge import merge
from distill.export.plan import COMPRESSED, Plan, Refused, Told, whole

TOOLS = {
    "merged": ("torch", "transformers", "peft"),
    "fp8": ("torch", "transformers", "llmcompressor", "compressed-tensors"),
    "int8": ("torch", "transformers", "llmcompressor", "compressed-tensors"),
    "gguf": ("gguf",),
}
FULL = (f"os error {errno.ENOSPC}", os.strerror(errno.ENOSPC), f"os error {errno.EDQUOT}")


def main(plan_file: str) -> None:
    """The script."""
    threading.Thread(target=_end_with_starter, daemon=True).start()
    plan = Plan.read(Path(plan_file))
    try:
        likeness = made(plan)
    except Refused as error:
        told = Told(error=str(error))
    except ImportError as error:
        told = Told(error=f"{error}; install the extra distill for {sys.executable}")
    except Exception as error:  # torch and its kin raise what they like; the words go to who started it
        told = Told(error=complaint(error, plan))
    else:
        told = Told(likeness=likeness, tools=_versions(plan.variant))
    told.write(plan.told)


def made(plan: Plan) -> Mapping[str, Any]:
    """Make the variant, at `plan.out`; nothing of it that was made before.

    Returns:
        How much it says what it was made from says.

    Raises:
        Refused: It cannot be made.
    """
    if plan.variant == "merged":
        return whole(plan.out, lambda folder: merge(plan, folder))
    if plan.checkpoint is None:
        whole(plan.merged, lambda folder: merge(plan, folder))
    source = plan.merged if plan.checkpoint is None else Path(plan.checkpoint)
    if plan.variant in COMPRESSED:
        return whole(plan.out, lambda folder: compress(source, folder, plan.variant))
    return whole(plan.out, lambda folder: convert(source, folder, plan.converter))


def complaint(error: BaseException, plan: Plan) -> str:
    """An error in words; of a full disk, what to do about it."""
    text = f"{type(error).__name__}: {error}"
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or any(sign in text for sign in FULL):
        return (
            f"the disk of {plan.work!r} is full; free some of it, or move `trainer.folder` to a larger one, "
            "and export again"
        )
    return text[:2000]


def _versions(variant: str) -> dict[str, str]:
    found = {}
    for name in TOOLS[variant]:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _end_with_starter() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
