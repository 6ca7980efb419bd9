"""Reads the journal of a run as it grows: curves for the ledger, and what each stretch of it cost.

Invariant: the journal is only added to, so reading it again from its start changes nothing: records have
the keys that they had. A stretch that was killed is accounted up to the last line that it wrote. Seconds
are those of a clock that never jumps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from stepdown.ids import now
from stepdown.ledger import Ledger
from stepdown.prices import rent_usd_micros
from stepdown.records import Expense, Progress

CURVES = ("train", "validation")
POINTS = 200  # of a curve in a student's summary

Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Stretch:
    """One life of the trainer's process.

    Attributes:
        number: 1, 2, … within the run.
        seconds: From its start to its end, or to its last sign of life.
        tokens: Trained on; 0 where the trainer does not count them.
        training_s: Of those seconds, from its being ready to the last step.
    """

    number: int
    at: datetime
    seconds: float
    tokens: float
    training_s: float


class Tail:
    """The lines that were added to a file since the last look.

    Args:
        file: Which may not be there yet.
    """

    def __init__(self, file: Path) -> None:
        self._file, self._read, self._rest = file, 0, b""

    def lines(self) -> Iterator[Line]:
        """The new whole lines; one that is torn is passed over."""
        if not self._file.is_file():
            return
        with self._file.open("rb") as opened:
            opened.seek(self._read)
            new = opened.read()
        self._read += len(new)
        *whole, self._rest = (self._rest + new).split(b"\n")
        for line in whole:
            try:
                decoded = msgspec.json.decode(line)
            except msgspec.DecodeError:
                continue  # its writer was killed in the middle of it
            if isinstance(decoded, dict):
                yield decoded


def progress(run: str, lines: Iterator[Line]) -> list[Progress]:
    """The points of curves among lines."""
    return [
        Progress(
            run=run,
            step=line["step"],
            kind=line["kind"],
            at=now(),
            values={**line["values"], "tokens": line.get("tokens"), "steps": line.get("steps")},
        )
        for line in lines
        if line.get("kind") in CURVES
    ]


def stretches(file: Path) -> list[Stretch]:
    """The lives that a run had so far, oldest first."""
    groups: list[list[Line]] = []
    for line in Tail(file).lines():
        if line["kind"] == "begin":
            groups.append([])
        if groups:
            groups[-1].append(line)
    return [_stretch(number, lines) for number, lines in enumerate(groups, 1)]


def _stretch(number: int, lines: list[Line]) -> Stretch:
    began, last = lines[0], lines[-1]
    ready = next((line["monotonic"] for line in lines if line["kind"] == "ready"), None)
    steps = [line for line in lines if line["kind"] == "train"]
    return Stretch(
        number=number,
        at=datetime.fromisoformat(began["at"]),
        seconds=last["monotonic"] - began["monotonic"],
        tokens=float((steps[-1].get("tokens") or 0) if steps else 0),
        training_s=steps[-1]["monotonic"] - ready if steps and ready is not None else 0.0,
    )


def account(ledger: Ledger, task: str, run: str, file: Path, usd_per_hour: float) -> None:
    """Put every stretch of a run that is over on the task's bill, once.

    Raises:
        LedgerError: The ledger refused.
    """
    ledger.append(
        Expense(
            id=f"training/{run}/{stretch.number}",
            at=stretch.at,
            task=task,
            kind="training",
            subject=run,
            seconds=stretch.seconds,
            cost_usd_micros=round(rent_usd_micros(usd_per_hour, stretch.seconds)),
        )
        for stretch in stretches(file)
    )


def curve(file: Path) -> list[dict[str, Any]]:
    """The losses of a run by step, thinned out to what a page can show; a step that was done twice once."""
    points = {
        (line["step"], line["kind"]): {
            "step": line["step"],
            "kind": line["kind"],
            "loss": line["values"]["loss"],
        }
        for line in Tail(file).lines()
        if line.get("kind") in CURVES
    }
    kept = [points[key] for key in sorted(points)]
    every = max(1, -(-len(kept) // POINTS))
    return [point for place, point in enumerate(kept) if place % every == 0 or point["kind"] == "validation"]
