"""A night that is killed, with SIGKILL, at every step there is: it goes on there, and does nothing twice."""

from __future__ import annotations

import os
import shutil
import signal
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select

from distill.night.book import Book
from distill.night.machine import ENDED, MOST_TRIES, Stage, asleep
from distill.night.run import look
from stepdown.ledger import Ledger, schema
from stepdown.registry import Registry
from tests.distill.night.nights import AT, NIGHT
from tests.distill.night.rooms import TASK, Rooms, Scene, asked_before, settings_for

SETTINGS: dict[str, Any] = {"sleeps": True, "practice_rounds": 1, "variants": ("adapter", "int8")}
KINDS = ("slices", "dataset", "student", "practice", "gate", "router", "night")


def a_scene(folder: Path) -> Scene:
    return Scene(folder, practises=True, passes={"adapter": 1e6, "int8": 2e6})


def opened(home: Path) -> Ledger:
    """The ledger, which does not wait for the disk: what a killed process wrote, the kernel has."""
    ledger = Ledger(f"sqlite:///{home / 'ledger.db'}", migrated=False)
    event.listen(ledger.engine, "connect", lambda made, _: made.execute("PRAGMA synchronous=OFF"))
    return ledger


def in_a_process(run: Callable[[], None]) -> int | None:
    """Run something in a process of its own; the signal that ended it, or None."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the child opens all that it needs anew
        child = os.fork()
    if child == 0:
        try:
            run()
            os._exit(0)
        except BaseException:  # whatever it is, this is no test of its own
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else None


@dataclass(frozen=True)
class Deaths:
    """Where processes died, in a file that outlives them: at every point once, and in no stage too often."""

    file: Path
    home: Path

    def known(self) -> list[tuple[str, str, str]]:
        """The homes, stages and points of the deaths so far."""
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        return [(home, stage, point) for home, stage, point in (line.split("|") for line in lines)]

    def __call__(self, stage: str, point: str) -> bool:
        """Whether to die here; if so, this is noted."""
        known = self.known()
        here = [one for one in known if one[:2] == (str(self.home), stage)]
        if (stage, point) in [one[1:] for one in known] or len(here) >= MOST_TRIES - 1:
            return False
        with self.file.open("a") as file:
            file.write(f"{self.home}|{stage}|{point}\n")
        return True


def a_look(home: Path, dies: Callable[[str, str], bool] = lambda _stage, _point: False) -> Callable[[], None]:
    """A look that may be killed around each call of another room, and around each event written."""

    def run() -> None:
        ledger, scene = opened(home), a_scene(home)
        scene.dies = dies
        _note_points(scene)
        look(ledger, settings_for(home, **SETTINGS), {}, TASK, at=AT, parts=Rooms.of(scene))

    return run


def _note_points(scene: Scene) -> None:
    note = Book.note

    def dying(self: Book, night: str, stage: str, name: str, *args: Any, **more: Any) -> bool:
        scene.stage, kind = str(stage), name.split()[0]
        scene.point(f"before {kind}")
        written = note(self, night, stage, name, *args, **more)
        scene.point(f"after {kind}")
        return written

    Book.note = dying  # type: ignore[method-assign, assignment]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with one request."""
    file = tmp_path_factory.mktemp("empty") / "ledger.db"
    ledger = Ledger(f"sqlite:///{file}")
    asked_before(ledger, AT - timedelta(days=9))
    ledger.close()
    return file


def fresh(empty: Path, home: Path) -> Path:
    home.mkdir()
    shutil.copy(empty, home / "ledger.db")
    return home


def what_came_of(home: Path) -> dict[str, Any]:
    """All that a night leaves behind, but for when it was and how often it was begun."""
    ledger = opened(home)
    registry, book = Registry(ledger), Book(ledger, TASK)
    ended = [e for e in book.events(NIGHT) if e.event == ENDED]
    artifacts = ledger.rows(select(schema.artifacts.c.kind, schema.artifacts.c.id))
    came = {
        "nights": [night.id for night in book.nights()],
        "ends": {e.stage: e.outcome for e in ended},
        "made": {e.stage: _without_counts(e.found) for e in ended if e.stage != Stage.REPORT},
        "artifacts": sorted(row.id for row in artifacts if row.kind != "night"),
        "counts": {kind: registry.count(kind, TASK) for kind in KINDS},
        "expenses": len(ledger.rows(select(schema.expenses.c.id))),
        "deployed": registry.deployed(TASK),
        "promotions": len(registry.history(TASK)),
        "asleep": ((home / "asleep").exists(), asleep(book.events(NIGHT))),
    }
    ledger.close()
    return came


def _without_counts(found: Mapping[str, Any]) -> dict[str, Any]:
    """What was found, but for how much of it was done in this very try."""
    return {k: v for k, v in found.items() if k not in ("seconds", "labelled", "asked", "new")}


def test_killed_anywhere_it_goes_on_there_and_does_nothing_twice(empty: Path, tmp_path: Path) -> None:
    whole = fresh(empty, tmp_path / "whole")
    assert in_a_process(a_look(whole)) is None
    expected = what_came_of(whole)
    assert expected["counts"] == {**dict.fromkeys(KINDS, 1), "student": 2, "gate": 2}
    assert set(expected["ends"].values()) == {"done"}
    deaths, rounds, before = Deaths(tmp_path / "deaths", whole), 0, -1
    while len(deaths.known()) > before:
        before, rounds = len(deaths.known()), rounds + 1
        home = fresh(empty, tmp_path / f"round {rounds}")
        deaths = Deaths(deaths.file, home)
        while (ended_by := in_a_process(a_look(home, deaths))) is not None:
            assert ended_by == signal.SIGKILL
        assert what_came_of(home) == expected, deaths.known()[before:]
    assert {stage for _, stage, _ in deaths.known()} == {*map(str, Stage)}
    assert len(deaths.known()) > 100


def test_a_training_that_kills_its_process_every_time_is_given_up_and_the_gpu_is_given_back(
    empty: Path, tmp_path: Path
) -> None:
    home = fresh(empty, tmp_path / "home")

    def dies_in_training() -> None:
        ledger, scene = opened(home), a_scene(home)
        scene.meanwhile["train"] = lambda: os.kill(os.getpid(), signal.SIGKILL)
        look(ledger, settings_for(home, **SETTINGS), {}, TASK, at=AT, parts=Rooms.of(scene))

    for _ in range(MOST_TRIES):
        assert in_a_process(dies_in_training) == signal.SIGKILL
        assert (home / "asleep").exists()
    assert in_a_process(dies_in_training) is None
    came = what_came_of(home)
    assert came["ends"][Stage.TRAIN] == "failed"
    assert came["ends"][Stage.EVALUATE] == "skipped"
    assert came["ends"][Stage.REPORT] == "done"
    assert came["asleep"] == (False, [])
    assert came["counts"]["student"] == 0
