"""Traffic with labels, written as the proxy and the workers write it: for tests of datasets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import delete

from distill.dataset import Dataset, Example, approximate_tokens, build_dataset
from router.prompt import prompt_hash
from router.wire import read_prompt
from stepdown.ids import digest
from stepdown.ledger import Body, Ledger, Record, schema
from stepdown.records import Decision, Feedback, Label, Reason, Role, Tier, Verdict
from stepdown.settings import ModelSettings, Settings, StudentSettings, TaskSettings
from tests.fakes import completion
from tests.records import a_call, a_decision, a_label, a_request

MANY = 60
ALL_TRAIN: dict[str, Any] = {"test_share": 0.0, "validation_share": 0.0}
START = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
TASK = "default"
STRONG, SMALL = "large-1", "tiny-1"
NUMBERS = count()
WORDS = (
    "river copper window garden silver market engine letter forest winter planet bridge butter castle "
    "doctor famous guitar hammer island jungle kitten ladder magnet needle orange pencil quartz rabbit "
    "saddle tunnel umpire violin walrus yellow zipper anchor basket candle desert effort"
).split()


def question(number: int, *, length: int = 12) -> str:
    """A question that is like no other one: its words have syllables of their own."""
    noise = digest(f"question {number}".encode()) * (length // 8 + 1)
    words = [
        WORDS[int(noise[8 * n : 8 * n + 3], 16) % len(WORDS)] + noise[8 * n + 3 : 8 * n + 7]
        for n in range(length)
    ]
    return f"Number {number}: {' '.join(words)}?"


def student(**changes: Any) -> StudentSettings:
    """A task's settings of students."""
    return StudentSettings(**{"base": "tiny", **changes})


def settings_with(folder: Path, *, suites: Sequence[str] = (), **changes: Any) -> Settings:
    """Settings with a strong and a small model, and a task that distils."""
    models = {
        "strong": ModelSettings(model=STRONG, url="https://api.example.com/v1"),
        "small": ModelSettings(model=SMALL, url="http://127.0.0.1:9/v1"),
    }
    task = TaskSettings(small="small", suites=tuple(suites), student=student(**changes))
    return Settings(home=str(folder), models=models, tasks={TASK: task})


def built(ledger: Ledger, settings: Settings) -> Dataset:
    """The dataset of the task, its tokens counted by the rule of thumb."""
    return build_dataset(ledger, settings, TASK, count=approximate_tokens)


def examples_of(dataset: Dataset) -> list[Example]:
    """All examples of all parts."""
    return [example for part in dataset.parts.values() for example in part]


def prompts_in(dataset: Dataset, *parts: str) -> set[str]:
    """The last question of each example of some parts, or of all."""
    return {
        str(example.messages[-2]["content"])
        for part, examples in dataset.parts.items()
        for example in examples
        if not parts or part in parts
    }


def answers_in(dataset: Dataset) -> dict[str, str]:
    """What is learnt for each question."""
    return {str(e.messages[-2]["content"]): str(e.messages[-1]["content"]) for e in examples_of(dataset)}


@dataclass
class Traffic:
    """Writes requests one a minute, all in one transaction when the block is left."""

    ledger: Ledger
    records: list[Record] = field(default_factory=list)

    def __enter__(self) -> Traffic:
        return self

    def __exit__(self, *_: object) -> None:
        self.ledger.append(self.records)
        self.records = []

    def at(self) -> datetime:
        """A minute later than the time before."""
        return START + timedelta(minutes=next(NUMBERS))

    def ask(
        self,
        prompt: str | Sequence[Mapping[str, Any]],
        *,
        reason: Reason = Reason.MODE_SHADOW,
        fields: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> str:
        """A request; returns its id."""
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        body = json.dumps({"model": "stepdown", "messages": messages, **(fields or {})}).encode()
        at = self.at()
        name = str(changes.pop("id", f"r{next(NUMBERS)}"))
        request = a_request(
            **{
                "id": name,
                "at": at,
                "body": Body.of(body).digest,
                "prompt_hash": prompt_hash(read_prompt(body)),
                **changes,
            }
        )
        decision: Decision = a_decision(request=name, at=at, reason=reason)
        self.records += [Body.of(body), request, decision]
        return name

    def answer(
        self,
        request: str,
        text: str | bytes = "an answer",
        *,
        tier: Tier = Tier.STRONG,
        good: bool | None = True,
        labeller: str = "check:exact",
        **changes: Any,
    ) -> str:
        """A call with its answer and, unless `good` is None, its label; returns the call's id."""
        body = Body.of(text if isinstance(text, bytes) else completion(text))
        at = self.at()
        name = f"c{next(NUMBERS)}"
        values = {
            "id": name,
            "request": request,
            "at": at,
            "tier": tier,
            "model": STRONG if tier is Tier.STRONG else SMALL,
            "role": Role.LIVE if tier is Tier.STRONG else Role.SHADOW,
            "body": body.digest,
            "finish_reason": "stop",
        }
        self.records += [body, a_call(**{**values, **changes})]
        if good is not None:
            self.records.append(self.label(name, good, labeller))
        return name

    def label(self, call: str, good: bool, labeller: str = "check:exact") -> Label:
        """A label."""
        verdict = Verdict.GOOD if good else Verdict.BAD
        return a_label(subject=call, labeller=labeller, at=self.at(), verdict=verdict, score=float(good))

    def pair(
        self,
        prompt: str | Sequence[Mapping[str, Any]],
        strong: str = "the strong answer",
        small: str = "the small answer",
        *,
        strong_good: bool | None = True,
        small_good: bool | None = True,
        **changes: Any,
    ) -> str:
        """A request that both models answered; returns its id."""
        request = self.ask(prompt, **changes)
        self.answer(request, strong, good=strong_good)
        self.answer(request, small, tier=Tier.SMALL, good=small_good)
        return request

    def edit(self, request: str, text: str) -> str:
        """A user's edit of the answer; returns the id of the feedback."""
        at = self.at()
        name = digest(f"{request} {text} {at}".encode())
        self.records.append(Feedback(id=name, request=request, at=at, kind="edit", value=json.dumps(text)))
        return name


def fill(traffic: Traffic, number: int = MANY, *, first: int = 1000) -> None:
    """Ask questions that both models answer well, and that are like no others."""
    for n in range(first, first + number):
        traffic.pair(question(n), f"answer {n}")


def write_suite(folder: Path, cases: Sequence[Mapping[str, Any]], name: str = "suite") -> str:
    """A suite of cases whose answers must be equal to their references; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [msgspec.json.encode({"reference": "x", **case}) + b"\n" for case in cases]
    (folder / f"{name}.jsonl").write_bytes(b"".join(lines))
    file = folder / f"{name}.toml"
    file.write_text(f'cases = "{name}.jsonl"\ncheck = "exact"\n[checks.exact]\nkind = "exact"\n')
    return str(file)


def forget(ledger: Ledger, *bodies: str) -> None:
    """Delete texts, as the end of their retention does, or a user's wish."""
    with ledger.writing() as connection:
        connection.execute(delete(schema.bodies).where(schema.bodies.c.digest.in_(bodies)))
