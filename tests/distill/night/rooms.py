"""The other rooms as a night sees them, in short: each keeps what it makes in the ledger, as they do.

A call may be told to kill its process: before it does what it is for, or when that is done.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from distill.night.parts import Judged, Parts
from stepdown.errors import ServingError
from stepdown.ids import now
from stepdown.ledger import Ledger
from stepdown.records import Artifact, Deployed, Expense
from stepdown.registry import Registry
from stepdown.settings import ModelSettings, NightSettings, Settings, StudentSettings, TaskSettings
from stepdown.students import Manifest, Variant
from tests.records import a_request

TASK = "sums"


def settings_for(
    home: Path, *, sleeps: bool = False, task: Mapping[str, Any] | None = None, **student: Any
) -> Settings:
    """Settings of a task that distils."""
    small = ModelSettings(model="tiny", url="http://127.0.0.1:9/v1", serving="adapters", sleeps=sleeps)
    made = StudentSettings(base="tiny", **{"min_new": 20, **student})
    return Settings(
        home=str(home),
        night=NightSettings(at="02:30"),
        models={"strong": ModelSettings(model="large", url="http://127.0.0.1:9/v1"), "small": small},
        tasks={TASK: TaskSettings(small="small", student=made, **(task or {}))},
    )


@dataclass
class Scene:
    """What the rooms find, and what was asked of them.

    Attributes:
        folder: Where whether a model sleeps is, and who dies when: what outlives a process.
        raises: What a call raises, by its name.
        calls: The names of the calls in this process.
        stage: The stage that is under way.
        dies: Whether the process is to be killed at a point, by its name; a call has two, and an event too.
    """

    folder: Path
    new: int = 100
    backlog: int = 3
    passes: Mapping[str, float] = field(default_factory=lambda: {"adapter": 5e6})
    coverage: float = 0.4
    net_usd_micros: float = 4e6
    practises: bool = False
    raises: dict[str, Exception] = field(default_factory=dict)
    meanwhile: dict[str, Callable[[], None]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    stage: str = ""
    dies: Callable[[str, str], bool] = lambda _stage, _point: False

    def point(self, name: str) -> None:
        """Die here, if it is the time."""
        if self.dies(self.stage, name):
            os.kill(os.getpid(), signal.SIGKILL)

    @contextmanager
    def call(self, name: str) -> Iterator[None]:
        """A call of a room."""
        self.calls.append(name)
        self.point(f"before {name}")
        if name in self.meanwhile:
            self.meanwhile[name]()
        if name in self.raises:
            raise self.raises[name]
        yield
        self.point(f"after {name}")

    @property
    def asleep(self) -> bool:
        """Whether the small model sleeps."""
        return (self.folder / "asleep").exists()


class Rooms(Parts):
    """The other rooms for one scene."""

    scene: Scene

    @classmethod
    def of(cls, scene: Scene) -> Callable[[Ledger, Settings, Mapping[str, str], str], Rooms]:
        """The rooms of a scene, as a night opens them."""

        def opened(ledger: Ledger, settings: Settings, environ: Mapping[str, str], task: str) -> Rooms:
            rooms = cls(ledger, settings, environ, task)
            rooms.scene = scene
            return rooms

        return opened

    def _keep(self, kind: str, name: str, parent: str = "", **summary: Any) -> Artifact:
        content = name.encode()
        if kind == "student":
            variant: Any = name.rpartition(" ")[2]
            content = Manifest(
                base="tiny",
                base_hash="0",
                variant=variant,
                method="lora",
                rank=4,
                folder=name,
                files={},
                run=parent,
            ).to_bytes()
        parents = (parent,) if parent else ()
        return Registry(self.ledger).keep(
            kind, self.task, content, parents=parents, settings={}, summary=summary
        )

    def label(self, deadline: float, *, at_once: bool = False) -> int:
        with self.scene.call("label"):
            assert deadline > time.monotonic()
            made, self.scene.backlog = self.scene.backlog, 0
            return made

    def slice(self) -> Any:
        with self.scene.call("slice"):
            kept = self._keep("slices", "slices")
            model = SimpleNamespace(slices=[SimpleNamespace(name="sums")])
            return SimpleNamespace(model=model, new=(), fresh=True, artifact=kept)

    def new_examples(self) -> int:
        with self.scene.call("new_examples"):
            return 0 if Registry(self.ledger).newest("dataset", self.task) else self.scene.new

    def build_dataset(self) -> Artifact:
        with self.scene.call("build_dataset"):
            return self._keep(
                "dataset",
                f"dataset {Registry(self.ledger).count('dataset', self.task)}",
                examples={"train": 90, "test": 10},
            )

    def train(self, dataset: Artifact, deadline: float) -> Artifact:
        with self.scene.call("train"):
            assert self.scene.asleep or not self.settings.models["small"].sleeps
            return self._keep("student", "student adapter", dataset.id)

    def export(self, student: Artifact, variant: Variant, deadline: float) -> Artifact:
        with self.scene.call(f"export {variant}"):
            return self._keep("student", f"student {variant}", student.id)

    def serve(self, student: Artifact, patience_s: float) -> None:
        with self.scene.call("serve"):
            if self.scene.asleep:
                raise ServingError("the small model sleeps")

    def ask(self, student: str, most: int, deadline: float, *, beside: bool) -> int:
        with self.scene.call(f"ask {most}" + (" beside" if beside else "")):
            spent = Expense(
                id=f"asked {student} {most}",
                at=now(),
                task=self.task,
                kind="serving",
                subject="asked",
                seconds=1.0,
                cost_usd_micros=300_000,
            )
            self.ledger.append([spent])
            return most

    def run_suites(self, student: str, deadline: float) -> None:
        with self.scene.call("run_suites"):
            assert not self.scene.asleep

    def practise(self, student: Artifact, dataset: Artifact, deadline: float) -> Artifact | str:
        with self.scene.call("practise"):
            newest = Registry(self.ledger).newest("practice", self.task)
            if not self.scene.practises or newest is not None:
                return "it failed nothing"
            return Registry(self.ledger).keep(
                "practice",
                self.task,
                b"practice",
                parents=(student.id, dataset.id),
                settings={},
                summary={"round": 1, "kept": 7},
            )

    def judge(self, student: str, deadline: float) -> Judged:
        with self.scene.call("judge"):
            variant = Registry(self.ledger).artifact(student)
            name = variant.content.decode().split('"variant":"')[1].partition('"')[0]
            net = self.scene.passes.get(name)
            kept = self._keep("gate", f"gate {name}", student)
            return Judged(
                gate=kept.id,
                passed=net is not None,
                reason="all criteria are met" if net is not None else "fresh sample: 8.0% worse",
                net_usd_micros=net,
                table="overall  -8%",
            )

    def fit(self, student: str) -> Artifact:
        with self.scene.call("fit"):
            certificate = {"coverage": self.scene.coverage, "reason": "too few labels"}
            return self._keep("router", "router", student, certificate=certificate)

    def saving_at(self, gate: str, coverage: float) -> tuple[float, str]:
        with self.scene.call("saving_at"):
            return self.scene.net_usd_micros, f"{self.scene.net_usd_micros:g} at {coverage:.0%}"

    def begin_trial(self, student: str, router: str, evidence: Mapping[str, Any]) -> str | None:
        with self.scene.call("begin_trial"):
            registry = Registry(self.ledger)
            current = registry.current(self.task)
            begun = registry.promote(
                self.task,
                Deployed(candidate=student, candidate_router=router),
                actor="auto",
                reason="a trial",
                evidence=dict(evidence),
                after=current.sequence if current else 0,
            )
            return None if begun else "it was changed meanwhile"

    def put_to_sleep(self, alias: str) -> None:
        with self.scene.call(f"put_to_sleep {alias}"):
            (self.scene.folder / "asleep").touch()

    def wake(self, alias: str) -> None:
        with self.scene.call(f"wake {alias}"):
            (self.scene.folder / "asleep").unlink(missing_ok=True)


def asked_before(ledger: Ledger, at: Any) -> None:
    """A request of the task, so that it has nights."""
    ledger.append([a_request(task=TASK, at=at)])
