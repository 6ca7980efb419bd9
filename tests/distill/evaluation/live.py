"""A task with live traffic, strong's answers to it, and small models whose answers a test decides."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec

from distill.dataset.kept import Content
from stepdown.ids import now
from stepdown.ledger import Body, Ledger
from stepdown.records import Artifact, Call, Decision, Deployed, Mode, Reason, Request, Role, Tier
from stepdown.registry import Registry
from stepdown.settings import ModelSettings, Settings, StudentSettings, TaskSettings
from stepdown.students import STUDENT, Manifest, served_name
from tests import fakes
from tests.fakes import Asked, FakeModel, Reply, running
from tests.traffic import chat_body, completion_body, prompt_key

TASK = "default"
DECLARED = "tiny"
START = now() - timedelta(hours=20)


@dataclass
class Live:
    """The traffic of a task, written as the proxy writes it, one request a minute.

    Attributes:
        small: The server of the small model and of all students.
        answer: What a model of a name says to a prompt.
        gate: Settings of the student; `task` those of the task.
    """

    ledger: Ledger
    small: FakeModel = field(default_factory=FakeModel)
    answer: Callable[[str, str], Reply] = lambda model, prompt: fakes.plain("yes")
    student: dict[str, Any] = field(default_factory=dict)
    task: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    written: int = 0

    @property
    def settings(self) -> Settings:
        """All settings: an exact check, and prices at which strong is ten times as dear."""
        declared = TaskSettings(
            small="small",
            check="same",
            checks={"same": {"kind": "exact"}},
            student=StudentSettings(**{"base": "base", "margin": 0.1, "test_share": 0.5, **self.student}),
            **self.task,
        )
        prices = {"input_usd_per_million": 1.0, "output_usd_per_million": 1.0}
        small = self.small.settings(DECLARED, **{**prices, **self.model})
        strong = ModelSettings(model="large", url="http://127.0.0.1:9/v1")
        return Settings(models={"strong": strong, "small": small}, tasks={TASK: declared})

    def asks(
        self,
        prompt: str,
        *,
        reference: str = "yes",
        strong: str | None = "yes",
        reason: Reason = Reason.MODE_SHADOW,
        at: datetime | None = None,
        kind: str | None = None,
        conversation: str | None = None,
        fields: dict[str, Any] | None = None,
        kept: bool = True,
    ) -> str:
        """Write a request, with strong's answer unless that is None; returns its id."""
        self.written += 1
        name, at = f"r{self.written:05d}", at or START + timedelta(minutes=self.written)
        body = Body.of(json.dumps({**json.loads(chat_body(prompt)), **(fields or {})}).encode())
        request = Request(
            id=name,
            at=at,
            task=TASK,
            tenant="",
            conversation=conversation,
            model_asked="stepdown",
            stream=False,
            prompt_hash=prompt_key(body.content),
            body=body.digest,
            reference=json.dumps(reference),
            check=None,
            slice=kind,
            status=200,
            latency_ms=10.0,
        )
        mode = Mode.ROUTE if reason in (Reason.EXPLORED, Reason.ROUTED_STRONG) else Mode.SHADOW
        decision = Decision(request=name, at=at, mode=mode, policy="none", chosen=Tier.STRONG, reason=reason)
        self.ledger.append([request, decision, *([body] if kept else [])])
        if strong is not None:
            self.answered(name, "large", strong, tier=Tier.STRONG, role=Role.LIVE, at=at, cost=1000)
        return name

    def answered(
        self,
        request: str,
        model: str,
        text: str,
        *,
        tier: Tier = Tier.SMALL,
        role: Role = Role.SHADOW,
        at: datetime | None = None,
        cost: int = 10,
        latency_ms: float = 5.0,
    ) -> None:
        """Write a whole answer."""
        body = Body.of(completion_body(text))
        call = Call(
            id=f"{request} {model}",
            request=request,
            at=at or now(),
            role=role,
            tier=tier,
            model=model,
            status=200,
            complete=True,
            latency_ms=latency_ms,
            prompt_tokens=7,
            completion_tokens=3,
            cost_usd_micros=cost,
            finish_reason="stop",
            body=body.digest,
        )
        self.ledger.append([call, body])

    def trained(self, name: str, parts: dict[str, str] | None = None) -> Artifact:
        """A student, from a dataset with these prompts by their part's code (T: trained on, E: held out)."""
        prompts = {prompt_key(chat_body(prompt)): code for prompt, code in (parts or {}).items()}
        registry = Registry(self.ledger)
        dataset = registry.keep(
            "dataset", TASK, Content(prompts=prompts).to_bytes(), settings={"of": name}, summary={}
        )
        manifest = Manifest(
            base="base",
            base_hash="",
            variant="adapter",
            method="lora",
            rank=4,
            folder=name,
            files={},
            run=name,
        )
        return registry.keep(
            STUDENT, TASK, manifest.to_bytes(), parents=(dataset.id,), settings={"of": name}, summary={}
        )

    def in_service(self, student: str) -> None:
        """Put a student in force."""
        registry = Registry(self.ledger)
        current = registry.current(TASK)
        assert registry.promote(
            TASK,
            Deployed(Mode.SHADOW, None, student),
            actor="test",
            reason="",
            evidence={},
            after=current.sequence if current else 0,
        )

    def asked_of(self, student: str | None) -> list[str]:
        """The prompts that a small model was asked, in order."""
        wanted = DECLARED if student is None else served_name(student)
        asked = (one.json for one in self.small.asked)
        return [one["messages"][-1]["content"] for one in asked if one["model"] == wanted]


@contextmanager
def serving(live: Live) -> Iterator[Live]:
    """Serve the small models for the length of the block."""

    def behave(asked: Asked) -> Reply:
        return live.answer(asked.json["model"], asked.json["messages"][-1]["content"])

    live.small.behaviour = behave
    with running(live.small):
        yield live


def says(table: dict[str, Iterable[str]]) -> Callable[[str, str], Reply]:
    """Answers with which a model is wrong on some prompts, and right on all others."""
    wrong = {model: frozenset(prompts) for model, prompts in table.items()}
    return lambda model, prompt: fakes.plain("no" if prompt in wrong.get(model, ()) else "yes")


def with_worker(settings: Settings, **worker: Any) -> Settings:
    """The settings with others for the worker."""
    return msgspec.structs.replace(settings, worker=msgspec.structs.replace(settings.worker, **worker))
