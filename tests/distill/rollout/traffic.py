"""Traffic around a student, written as the proxy writes it, with arms drawn as the proxy draws them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from distill.rollout import begin
from router.policy import place_of
from stepdown.ids import now
from stepdown.ledger import Body, Ledger, Record
from stepdown.records import (
    Arm,
    Artifact,
    Call,
    Deployed,
    Label,
    Mode,
    Promotion,
    Reason,
    Role,
    Tier,
    Verdict,
)
from stepdown.registry import Registry
from stepdown.settings import ModelSettings, ProxySettings, Settings, StudentSettings, TaskSettings
from stepdown.students import Manifest, served_name
from tests.records import a_call, a_decision, a_label, a_request
from tests.router.ledgers import router_that_prefers
from tests.traffic import chat_body, prompt_key

TASK = "default"
Chance = float | Callable[[int], float]

STUDENT = StudentSettings(base="tiny", shadow_calls=40, canary_shares=(0.2, 0.5), canary_margin=0.2)


@dataclass
class Clock:
    """The time of a test, which moves with its traffic."""

    at: datetime = field(default_factory=now)

    def now(self) -> datetime:
        """The time, a millisecond later at each look."""
        self.at += timedelta(milliseconds=1)
        return self.at


CLOCK = Clock()


def settings_of(
    *, home: str = ".stepdown", student: Mapping[str, Any] | None = None, **task: Any
) -> Settings:
    """Settings of one task that distils students."""
    distilled = StudentSettings(
        **{**{name: getattr(STUDENT, name) for name in STUDENT.__struct_fields__}, **(student or {})}
    )
    return Settings(
        home=home,
        proxy=ProxySettings(reload_s=0.01),
        models={"strong": ModelSettings(model="gpt"), "small": ModelSettings(model="mini")},
        tasks={TASK: TaskSettings(small="small", student=distilled, **task)},
    )


def a_student(ledger: Ledger, name: str = "one", task: str = TASK) -> str:
    """Keep a student; returns its artifact id."""
    manifest = Manifest(
        base="tiny", base_hash="0", variant="adapter", method="lora", rank=8, folder=name, files={}, run=name
    )
    return Registry(ledger).keep("student", task, manifest.to_bytes(), settings={}, summary={}).id


def a_router(ledger: Ledger, student: str | None, *, small: bool = True, **summary: Any) -> Artifact:
    """Keep a router that was fitted for a student, and sends it every prompt, or none."""
    content = router_that_prefers(small=small).to_bytes()
    fitted = {"student": student} if student else {}
    return Registry(ledger).keep("router", TASK, content, settings=fitted, summary=summary)


def promote(ledger: Ledger, deployed: Deployed, *, at: datetime | None = None, **fields: Any) -> Promotion:
    """Put something in force, at a time of the past where one is given."""
    current = Registry(ledger).current(TASK)
    promotion = Promotion(
        task=TASK,
        sequence=current.sequence + 1 if current else 1,
        at=at or CLOCK.now(),
        **deployed._asdict(),
        **{"actor": "auto", "reason": "test", "evidence": {}, **fields},
    )
    ledger.append([promotion])
    return promotion


def begun(ledger: Ledger, settings: Settings | None = None, name: str = "one") -> str:
    """A student whose trial has begun."""
    student = a_student(ledger, name)
    assert begin(
        ledger, settings or settings_of(), TASK, student, a_router(ledger, student).id, {"gate": "passed"}
    )
    return student


def in_canary(ledger: Ledger, share: float = 0.2) -> str:
    """A student in its canary, past the shadow."""
    student = begun(ledger)
    deployed = Registry(ledger).deployed(TASK)
    promote(ledger, deployed._replace(candidate_share=share))
    return student


@dataclass
class Traffic:
    """Requests of a task, ten a second, each batch a second after what was before it.

    Their ids count up, so that each run draws the same arms.

    Attributes:
        version: Of the labels, all by the check `exact`.
    """

    ledger: Ledger
    version: str = "1"
    numbers: int = 0
    chance: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def shadow(
        self,
        count: int,
        *,
        strong: Chance = 1.0,
        small: Chance = 1.0,
        labelled: bool = True,
        failing: Chance = 0.0,
        latency_ms: float = 10.0,
        **request: Any,
    ) -> None:
        """Requests that strong answers while the candidate is asked unseen."""
        candidate = self._deployed().candidate
        assert candidate is not None
        with self._batch() as batch:
            for number in range(count):
                made = batch.request(request, a_decision(mode=Mode.SHADOW, reason=Reason.MODE_SHADOW))
                batch.call(made, self._draw(strong, number) if labelled else None)
                failed = self._draw(failing, number)
                batch.call(
                    made,
                    self._draw(small, number) if labelled and not failed else None,
                    role=Role.SHADOW,
                    tier=Tier.SMALL,
                    model=served_name(candidate),
                    status=503 if failed else 200,
                    complete=not failed,
                    latency_ms=latency_ms,
                )

    def canary(
        self,
        count: int,
        *,
        control: Chance = 1.0,
        canary: Chance = 1.0,
        failing: Chance = 0.0,
        labelled: bool | Callable[[Arm], bool] = True,
        unanswered: bool = False,
        latency_ms: float = 10.0,
        unit: Callable[[int], Mapping[str, Any]] = lambda number: {},
        **request: Any,
    ) -> None:
        """Requests of both arms: control's by strong, the canary's by the candidate where it does not fail.

        Where it fails strong answers, or nobody does.
        """
        deployed = self._deployed()
        candidate = deployed.candidate
        assert candidate is not None
        with self._batch() as batch:
            for number in range(count):
                fields = {"id": f"r{self.numbers + 1:06d}", **request, **unit(number)}
                name = fields.get("conversation")
                place = place_of(fields["id"] if name is None else f" {name}", candidate)
                arm = Arm.CANARY if place < deployed.candidate_share else Arm.CONTROL
                knows = labelled(arm) if callable(labelled) else labelled
                if arm is Arm.CONTROL:
                    made = batch.request(
                        fields, a_decision(mode=deployed.mode, arm=arm, student=deployed.student)
                    )
                    batch.call(made, self._draw(control, number) if knows else None)
                    continue
                failed = self._draw(failing, number)
                decided = a_decision(
                    mode=Mode.ROUTE,
                    arm=arm,
                    student=candidate,
                    chosen=Tier.STRONG if failed else Tier.SMALL,
                    reason=Reason.FALLBACK if failed else Reason.ROUTED_SMALL,
                    gain=-0.1,
                    threshold=0.0,
                )
                made = batch.request(
                    {**fields, **({"status": 502} if failed and unanswered else {})}, decided
                )
                small = {"tier": Tier.SMALL, "model": served_name(candidate)}
                if failed:
                    batch.call(made, None, **small, status=503, complete=False)
                    if not unanswered:
                        batch.call(made, self._draw(control, number) if knows else None)
                else:
                    good = self._draw(canary, number) if knows else None
                    batch.call(made, good, **small, latency_ms=latency_ms)

    def explored(self, count: int, *, student: str, small: Chance = 1.0, gain: float = -0.1) -> None:
        """Explored requests of a student in service: strong answers, it is asked unseen."""
        decided = a_decision(
            mode=Mode.ROUTE, reason=Reason.EXPLORED, student=student, explored=True, gain=gain, threshold=0.0
        )
        with self._batch() as batch:
            for number in range(count):
                made = batch.request({}, decided)
                batch.call(made, True)
                batch.call(
                    made,
                    self._draw(small, number),
                    role=Role.SHADOW,
                    tier=Tier.SMALL,
                    model=served_name(student),
                )

    def served(
        self,
        count: int,
        *,
        model: str,
        student: str | None = None,
        failing: Chance = 0.0,
        status_of_failed: int = 0,
        error_of_failed: str | None = None,
        latency_ms: float = 10.0,
        **request: Any,
    ) -> None:
        """Requests that a small model in service answers, or fails to."""
        decided = a_decision(
            mode=Mode.ROUTE, chosen=Tier.SMALL, reason=Reason.ROUTED_SMALL, student=student, gain=0.0
        )
        with self._batch() as batch:
            for number in range(count):
                made = batch.request(request, decided)
                failed = self._draw(failing, number)
                batch.call(
                    made,
                    None,
                    tier=Tier.SMALL,
                    model=model,
                    status=status_of_failed if failed else 200,
                    error=error_of_failed if failed else None,
                    complete=not failed,
                    latency_ms=latency_ms,
                )

    def _deployed(self) -> Deployed:
        return Registry(self.ledger).deployed(TASK)

    def _draw(self, chance: Chance, number: int) -> bool:
        return bool(self.chance.random() < (chance(number) if callable(chance) else chance))

    def _batch(self) -> _Batch:
        return _Batch(self)


class _Batch:
    """Records of one batch, committed together."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        CLOCK.at += timedelta(seconds=1)
        self._records: list[Record] = []

    def __enter__(self) -> _Batch:
        return self

    def __exit__(self, *_: object) -> None:
        self._traffic.ledger.append(self._records)

    def request(self, fields: Mapping[str, Any], decision: Any) -> str:
        """A request with a prompt of its own, and its decision; returns its id."""
        self._traffic.numbers += 1
        CLOCK.at += timedelta(milliseconds=100)
        body = Body.of(chat_body(f"question {self._traffic.numbers}"))
        values = {"prompt_hash": prompt_key(body.content), "body": body.digest, **fields}
        made = a_request(at=CLOCK.at, **values)
        kept = {name: getattr(decision, name) for name in decision.__dataclass_fields__}
        self._records += [body, made, a_decision(**{**kept, "request": made.id, "at": CLOCK.at})]
        return made.id

    def call(self, request: str, good: bool | None, **fields: Any) -> None:
        """A call, and its label unless `good` is None."""
        call: Call = a_call(request=request, at=CLOCK.at, **fields)
        self._records.append(call)
        if good is not None:
            verdict = Verdict.GOOD if good else Verdict.BAD
            label: Label = a_label(
                subject=call.id, labeller="check:exact", version=self._traffic.version, verdict=verdict
            )
            self._records.append(label)
