"""What happens beside a training: progress lines, sealed checkpoints, early stopping, and stopping when told.

Invariant: nothing here changes what is learnt. Whether to stop early is read from the trainer's own history,
which a checkpoint keeps, so a resumed run stops where an uninterrupted one does. Runs in the trainer's
Python.
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from distill.training import checkpoints

CURVE = ("loss", "learning_rate", "grad_norm", "epoch")


class Journal:
    """The run's progress as JSON lines, which the parent reads as they come.

    Args:
        file: Appended to.
        writes: Whether this process is the one of several that writes.
    """

    def __init__(self, file: Path, *, writes: bool = True) -> None:
        self._file, self._writes = file, writes

    def write(self, kind: str, **values: Any) -> None:
        """Append a line, stamped with a clock that never jumps."""
        if self._writes:
            line = json.dumps({"kind": kind, "monotonic": time.monotonic(), **values}) + "\n"
            with self._file.open("ab", buffering=0) as opened:
                opened.write(line.encode())


def stop_asked() -> list[bool]:
    """A value that is not empty any more once SIGTERM came."""
    asked: list[bool] = []
    signal.signal(signal.SIGTERM, lambda *_: asked.append(True))
    return asked


def should_stop(losses: list[float], patience: int) -> bool:
    """Whether so many validations in a row had no lower loss than one before them."""
    best = losses.index(min(losses)) if losses else 0
    return len(losses) - 1 - best >= patience


def callback(journal: Journal, stopping: list[bool], patience: int) -> Any:
    """The trainer's callback.

    Args:
        journal: Where progress is written.
        stopping: Not empty once the run is to stop after the step that it is in.
        patience: Validations without a lower loss.
    """
    from transformers import TrainerCallback

    class Watching(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, _args: Any, state: Any, control: Any, **_: Any) -> Any:
            # It may have stopped, and been killed before it was kept.
            control.should_training_stop = should_stop(_losses(state), patience)
            return control

        def on_log(self, _args: Any, state: Any, _control: Any, logs: Any = None, **_: Any) -> None:
            _write_point(journal, state, logs or {})

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
            if state.global_step >= state.max_steps and args.eval_strategy != "no":
                control.should_evaluate = True
            if _anywhere(stopping, args):
                control.should_save = control.should_training_stop = True
            return control

        def on_evaluate(self, _args: Any, state: Any, control: Any, **_: Any) -> Any:
            if should_stop(_losses(state), patience):
                control.should_training_stop = True
            return control

        def on_save(self, args: Any, state: Any, _control: Any, **_: Any) -> None:
            if state.is_world_process_zero:
                checkpoints.seal(Path(args.output_dir) / f"{checkpoints.PREFIX}{state.global_step}")
                journal.write("checkpoint", step=state.global_step)

    return Watching()


def _write_point(journal: Journal, state: Any, logs: dict[str, Any]) -> None:
    kind = "validation" if "eval_loss" in logs else "train"
    prefix = "eval_" if kind == "validation" else ""
    values = {name: logs[prefix + name] for name in CURVE if prefix + name in logs}
    tokens = logs.get(f"{prefix}num_tokens")
    if "loss" in values:
        journal.write(kind, step=state.global_step, steps=state.max_steps, tokens=tokens, values=values)


def _losses(state: Any) -> list[float]:
    return [line["eval_loss"] for line in state.log_history if "eval_loss" in line]


def _anywhere(stopping: list[bool], args: Any) -> bool:
    """Whether any of the processes was told to stop: all have to stop after the same step."""
    if args.world_size == 1:
        return bool(stopping)
    import torch

    asked = torch.tensor([float(bool(stopping))], device=args.device)
    torch.distributed.all_reduce(asked)
    return bool(asked.item() > 0)


def die_with_parent() -> None:
    """Have the kernel end this process when the one that started it is gone (Linux)."""
    import contextlib
    import ctypes

    parent = os.getppid()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != parent:  # it went while we asked
        os.kill(os.getpid(), signal.SIGKILL)
