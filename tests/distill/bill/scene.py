"""A task with two students whose bills can be added up on paper.

Strong takes 180 micro-dollars for an answer and a student 10; both read 10 tokens and write 20, so that
what strong would have cost is known to the micro-dollar from any ten pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from stepdown.records import Arm, Artifact, Deployed, Expense, Mode, Promotion, Reason, Role, Tier
from stepdown.registry import artifact_id
from stepdown.settings import Settings, load_settings
from stepdown.students import Manifest, served_name
from tests.gathering import Gathering
from tests.records import a_call, a_decision, a_request

START = datetime(2026, 11, 2, tzinfo=UTC)
DAY = timedelta(days=1)
STRONG, SMALL = 180, 10


def settings(**small: Any) -> Settings:
    """Settings with both prices known; more of the small model's."""
    strong = {"model": "large-1", "input_usd_per_million": 2.0, "output_usd_per_million": 8.0}
    cheap = {"model": "tiny-1", "input_usd_per_million": 0.0, "output_usd_per_million": 0.5}
    return load_settings(
        environ={},
        overrides={
            "models": {"strong": strong, "small": {**cheap, **small}},
            "tasks": {"default": {"small": "small"}},
        },
    )


@dataclass
class Scene(Gathering):
    """Writes a task's traffic at times of choice, with ids that count up."""

    task: str = "default"
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def dataset(self, *, at: datetime = START) -> str:
        """Keep a dataset; returns its id."""
        return self._artifact("dataset", b"examples", at)

    def student(self, run: str, *, at: datetime = START, parents: tuple[str, ...] = (), **more: Any) -> str:
        """Keep a student's artifact; returns its id."""
        fields = {"variant": "adapter", "method": "lora", "rank": 8, "folder": "f", "files": {}, **more}
        manifest = Manifest(base="tiny-base", base_hash="0", run=run, **fields)
        return self._artifact("student", manifest.to_bytes(), at, parents)

    def _artifact(self, kind: str, content: bytes, at: datetime, parents: tuple[str, ...] = ()) -> str:
        name = artifact_id(kind, self.task, content, parents=parents, settings={})
        made = Artifact(id=name, kind=kind, task=self.task, at=at, content=content, parents=parents)
        self.ledger.append([made])
        return name

    def expense(
        self, subject: str, cost: int | None, *, kind: str = "training", at: datetime = START
    ) -> None:
        """Write the hours of a machine."""
        name = f"e{next(self.numbers)}"
        self.ledger.append(
            [
                Expense(
                    id=name,
                    at=at,
                    task=self.task,
                    kind=kind,
                    subject=subject,
                    seconds=3600.0,
                    cost_usd_micros=cost,
                )
            ]
        )

    def promote(self, deployed: Deployed, at: datetime, *, reason: str = "by hand", **evidence: Any) -> None:
        """Put something in force."""
        self.ledger.append(
            [
                Promotion(
                    task=self.task,
                    sequence=next(self.numbers),
                    at=at,
                    **deployed._asdict(),
                    actor="ana",
                    reason=reason,
                    evidence=evidence,
                )
            ]
        )

    def request(self, at: datetime, student: str | None, *, arm: Arm | None = None, **decision: Any) -> str:
        """Write a request that a student's policy decided; returns its id."""
        name = f"r{next(self.numbers):05d}"
        fields = {"mode": Mode.ROUTE, "reason": Reason.ROUTED_SMALL, "chosen": Tier.SMALL, **decision}
        self.keep(
            a_request(id=name, at=at, task=self.task, prompt_hash=name),
            a_decision(request=name, at=at, student=student, arm=arm, **fields),
        )
        return name

    def call(self, request: str, at: datetime, model: str | None, **more: Any) -> str:
        """Write a call of a student, or of strong where it is None; returns its id."""
        name = f"c{next(self.numbers):05d}"
        tier = Tier.STRONG if model is None else Tier.SMALL
        fields = {"cost_usd_micros": STRONG if model is None else SMALL, **more}
        self.keep(
            a_call(
                id=name,
                request=request,
                at=at,
                tier=tier,
                model="large-1" if model is None else served_name(model),
                prompt_tokens=10,
                completion_tokens=20,
                **fields,
            )
        )
        return name

    def shadowed(self, student: str, *, pairs: int = 10, at: datetime = START) -> list[str]:
        """Write requests that strong answered and the student was asked in the shadow of."""
        shadow: dict[str, Any] = {"mode": Mode.SHADOW, "reason": Reason.MODE_SHADOW, "chosen": Tier.STRONG}
        with self.together():
            requests = [self.request(at, None, **shadow) for _ in range(pairs)]
            for request in requests:
                self.call(request, at, None)
                self.call(request, at, student, role=Role.SHADOW)
        return requests

    def answered(self, student: str, at: datetime, *, requests: int = 1, **decision: Any) -> None:
        """Write requests that a student answered."""
        with self.together():
            for _ in range(requests):
                self.call(self.request(at, student, **decision), at, student)

    def by_strong(self, student: str | None, at: datetime, *, requests: int = 1, **decision: Any) -> None:
        """Write requests that strong answered, by the word of a student's policy."""
        fields = {"reason": Reason.ROUTED_STRONG, "chosen": Tier.STRONG, **decision}
        with self.together():
            for _ in range(requests):
                self.call(self.request(at, student, **fields), at, None)
