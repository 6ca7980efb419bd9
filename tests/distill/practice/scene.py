"""A task of sums in a ledger, its students and datasets, and a small model that knows some sums."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from distill.dataset.example import Source
from distill.dataset.kept import DATASET, Content, Row
from router.prompt import prompt_hash
from router.wire import read_prompt
from stepdown.ledger import Body, Ledger
from stepdown.records import Artifact, Role, Tier, Verdict
from stepdown.registry import Registry
from stepdown.settings import ModelSettings, Settings, StudentSettings, TaskSettings, WorkerSettings
from stepdown.students import STUDENT, Manifest, served_name
from tests.fakes import Asked, Reply, plain
from tests.records import a_call, a_label, a_request

TASK = "sums"
START = datetime(2026, 11, 1, tzinfo=UTC)
CODES = {"train": "T", "validation": "V", "test": "E"}


def settings_of(home: Path, model: ModelSettings, *, samples: int = 4, rounds: int = 3) -> Settings:
    """Settings of a task that distils students and practises."""
    return Settings(
        home=str(home),
        worker=WorkerSettings(concurrency=2),
        models={"strong": ModelSettings(model="large", url="http://127.0.0.1:9/v1"), "small": model},
        tasks={
            TASK: TaskSettings(
                small="small",
                check="sum",
                checks={"sum": {"kind": "number"}},
                student=StudentSettings(base="base", practice_samples=samples, practice_rounds=rounds),
            )
        },
    )


@dataclass
class Scene:
    """Writes what practice reads."""

    ledger: Ledger
    times: count[int] = field(default_factory=count)
    requests: dict[str, str] = field(default_factory=dict)
    bodies: dict[str, str] = field(default_factory=dict)

    def now(self) -> datetime:
        return START + timedelta(seconds=next(self.times))

    def request(self, name: str, prompt: str, reference: str | None = "7", **more: Any) -> str:
        """Keep a request; returns its id."""
        fields = {"model": "stepdown", "messages": [{"role": "user", "content": prompt}], **more}
        body = Body.of(json.dumps(fields).encode())
        key = prompt_hash(read_prompt(body.content))
        self.ledger.append(
            [
                body,
                a_request(
                    id=name, at=self.now(), task=TASK, prompt_hash=key, body=body.digest, reference=reference
                ),
            ]
        )
        self.requests[name], self.bodies[name] = key, body.digest
        return name

    def answered(
        self, request: str, good: bool | None, model: str = "tiny", labeller: str = "check:sum"
    ) -> None:
        """Keep a small model's answer in the shadow, and its label."""
        call = a_call(
            request=request,
            at=self.now(),
            role=Role.SHADOW,
            tier=Tier.SMALL,
            model=model,
            cost_usd_micros=1,
        )
        self.ledger.append([call])
        if good is not None:
            verdict = Verdict.GOOD if good else Verdict.BAD
            self.ledger.append(
                [a_label(subject=call.id, at=self.now(), labeller=labeller, verdict=verdict, score=None)]
            )

    def dataset(
        self, parts: Mapping[str, Sequence[str]], parents: tuple[str, ...] = (), note: str = ""
    ) -> Artifact:
        """Keep a dataset with these requests in its parts."""
        rows = [
            Row(
                part,  # type: ignore[arg-type]
                Source.CHECKED,
                self.bodies[name],
                None,
                None,
                name,
                self.requests[name],
                self.requests[name],
                None,
                1.0,
                10,
                "large",
            )
            for part, names in parts.items()
            for name in names
        ]
        prompts = {self.requests[name]: CODES[part] for part, names in parts.items() for name in names}
        content = Content(rows=rows, prompts=prompts).to_bytes()
        return Registry(self.ledger).keep(
            DATASET, TASK, content, parents=parents, settings={"note": note}, summary={}
        )

    def student(self, name: str, parents: tuple[str, ...] = (), base: str = "0" * 64) -> Artifact:
        """Keep a student."""
        manifest = Manifest(
            base="base",
            base_hash=base,
            variant="adapter",
            method="lora",
            rank=8,
            folder=name,
            files={},
            run=name,
        )
        return Registry(self.ledger).keep(
            STUDENT, TASK, manifest.to_bytes(), parents=parents, settings={}, summary={}
        )

    def compared(
        self, before: Artifact, after: Artifact, right: Sequence[tuple[bool, bool]], tag: str = "held"
    ) -> list[str]:
        """Keep labelled answers of two students to fresh prompts; each pair is before and after."""
        names = []
        for number, (first, second) in enumerate(right):
            name = self.request(f"{tag}-{number}", f"{tag} prompt number {number}")
            self.answered(name, first, served_name(before.id))
            self.answered(name, second, served_name(after.id))
            names.append(name)
        return names


@dataclass
class Sums:
    """A small model: of its answers to a prompt, those whose places are named are right (7), others wrong.

    Attributes:
        knows: Places of right answers by a word of the prompt.
        times: How often each prompt was asked.
    """

    knows: Mapping[str, Sequence[int]]
    times: Counter[str] = field(default_factory=Counter)

    def __call__(self, asked: Asked) -> Reply:
        """Answer."""
        prompt = asked.json["messages"][-1]["content"]
        place, self.times[prompt] = self.times[prompt], self.times[prompt] + 1
        right = any(place in places for word, places in self.knows.items() if re.search(word, prompt))
        return plain(f"Attempt {place}: {7 if right else 8}")
