"""A trainer's Python that trains nothing: it takes the commands of the real one and does as it is told.

Run as a script by an executable that `fake_python` writes; the file `scenario` beside that says what the
training does: `done`, `crash`, `disk_full`, `out_of_memory`, `refused`, or `slow` until it is told to stop.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

LOOK = {
    "teacher": None,
    "tokenizer_hash": "t" * 64,
    "device": "cpu",
    "name": "2 cores",
    "count": 2,
    "free_bytes": 8_000_000_000,
    "total_bytes": 16_000_000_000,
}
STEPS = 4


def fake_python(folder: Path, scenario: str, **look: Any) -> str:
    """Write the executable; returns its path."""
    folder.mkdir(exist_ok=True)
    (folder / "scenario").write_text(scenario)
    (folder / "look.json").write_text(json.dumps({**LOOK, **look}))
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).absolute()} {folder} "$@"\n')
    python.chmod(0o755)
    return str(python)


def main(here: Path, module: str, *arguments: str) -> int:
    """Do as the module would; returns the exit code."""
    if module.endswith(".look"):
        base, _teacher, out = arguments
        Path(out).write_text(json.dumps({"base": base, **json.loads((here / "look.json").read_text())}))
        return 0
    if module.endswith(".count"):
        _base, lines, out = arguments
        counts = [len(json.loads(line)["messages"]) for line in Path(lines).read_text().splitlines()]
        Path(out).write_text(json.dumps(counts))
        with (here / "counted").open("a") as opened:
            opened.write(f"{len(counts)}\n")
        return 0
    return Training(Path(arguments[0])).run((here / "scenario").read_text())


class Training:
    """One life of the trainer."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stopping = False
        signal.signal(signal.SIGTERM, self._stop)

    def run(self, scenario: str) -> int:
        modes = [
            oct((self._folder / f"{part}.jsonl").stat().st_mode & 0o777) for part in ("train", "validation")
        ]
        done = self._resumed()
        self._note("ready", pid=os.getpid(), resumed=done, modes=modes)
        for step in range(done + 1, STEPS + 1):
            self._note("train", step=step, steps=STEPS, tokens=100 * step, values={"loss": 1 / step})
            if scenario == "slow" and step == STEPS:
                while not self._stopping:
                    time.sleep(0.02)
                return 75
            if scenario not in ("done", "slow") and step == 3:
                return self._fail(scenario)
            self._checkpoint(step)
        self._finish()
        return 0

    def _resumed(self) -> int:
        whole = [path.parent.name for path in self._folder.glob("checkpoints/*/whole.json")]
        return max((int(name.removeprefix("checkpoint-")) for name in whole), default=0)

    def _checkpoint(self, step: int) -> None:
        folder = self._folder / "checkpoints" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / "optimizer.pt").write_bytes(b"x")
        (folder / "whole.json").write_text('{"optimizer.pt": 1}')

    def _fail(self, scenario: str) -> int:
        (self._folder / "checkpoints" / "checkpoint-3").mkdir()  # torn
        said = {"crash": "Traceback: it went wrong", "refused": "refused: nothing fits"}
        print(said.get(scenario, scenario), file=sys.stderr)
        return {"crash": 1, "refused": 64, "out_of_memory": 71, "disk_full": 74}.get(scenario, 1)

    def _finish(self) -> None:
        from tests.distill.training.models import an_adapter

        plan = json.loads((self._folder / "plan.json").read_text())
        an_adapter(self._folder / "adapter", rank=plan["rank"], base=plan["base"])
        summary = {"steps": STEPS, "most_steps": STEPS, "stopped_early": False, "kept_step": STEPS}
        learnt = {"validation_loss": 0.25, "epoch_tokens": 50, "epochs": 2.0}
        (self._folder / "result.json").write_text(json.dumps({**summary, **learnt}))

    def _note(self, kind: str, **values: Any) -> None:
        with (self._folder / "progress.jsonl").open("a") as opened:
            opened.write(json.dumps({"kind": kind, "monotonic": time.monotonic(), **values}) + "\n")

    def _stop(self, *_: object) -> None:
        self._stopping = True


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[3]))
    sys.exit(main(Path(sys.argv[1]), *sys.argv[3:]))
