"""A student and the nights around it, as records: enough for its pages to have everything to show."""

from __future__ import annotations

from datetime import datetime, timedelta

from bench.dashboard.traffic import Phases
from distill.night.machine import ENDED, STARTED, Outcome, Stage
from stepdown.ledger import Ledger
from stepdown.records import ACTOR, Artifact, Expense, Night, NightEvent, Progress
from stepdown.registry import artifact_id
from stepdown.settings import DEFAULT_TASK
from stepdown.students import STUDENT, Manifest

RUN = "run-bench"
BEFORE = (Stage.LABEL, Stage.SLICES)
A_STAGE = timedelta(minutes=6)
TRAINING_S = 5400.0
TRAINING_USD_MICROS = 3_000_000
STEPS = 200


def write_student(ledger: Ledger, at: datetime) -> str:
    """Keep a dataset, a student that was trained on it, and what that cost; returns the student's id."""
    dataset = _artifact("dataset", b"examples", at, (), {"examples": {"train": 900, "test": 100}})
    manifest = Manifest(
        base="tiny-base",
        base_hash="0" * 64,
        variant="adapter",
        method="lora",
        rank=16,
        folder=RUN,
        files={},
        run=RUN,
    )
    student = _artifact(STUDENT, manifest.to_bytes(), at, (dataset.id,), {})
    curve = [
        Progress(run=RUN, step=step, kind="train", at=at, values={"loss": 2.0 / (1 + step / 20)})
        for step in range(0, STEPS, 5)
    ]
    paid = Expense(
        id=f"{RUN}-1",
        at=at,
        task=DEFAULT_TASK,
        kind="training",
        subject=RUN,
        seconds=TRAINING_S,
        cost_usd_micros=TRAINING_USD_MICROS,
    )
    ledger.append([dataset, student, *curve, paid])
    return student.id


def _artifact(
    kind: str, content: bytes, at: datetime, parents: tuple[str, ...], summary: dict[str, object]
) -> Artifact:
    name = artifact_id(kind, DEFAULT_TASK, content, parents=parents, settings={})
    return Artifact(
        id=name, kind=kind, task=DEFAULT_TASK, at=at, content=content, parents=parents, summary=summary
    )


def write_nights(ledger: Ledger, student: str, phases: Phases) -> str:
    """A night each day since there is a router; returns the id of the one in which the student was made."""
    at, made = phases.route, ""
    while at < phases.end - timedelta(days=1):
        at += timedelta(days=1)
        night = Night(
            id=f"{DEFAULT_TASK}/{at:%Y-%m-%d}", task=DEFAULT_TASK, date=f"{at:%Y-%m-%d}", at=at, actor=ACTOR
        )
        makes = timedelta() <= phases.student - timedelta(days=2) - at < timedelta(days=1)
        ledger.append([night, *_events(night, student if makes else None)])
        made = night.id if makes else made
    return made


def _events(night: Night, student: str | None) -> list[NightEvent]:
    events = []
    for number, stage in enumerate(Stage):
        at = night.at + number * A_STAGE
        events.append(NightEvent(night=night.id, stage=stage, event=STARTED, at=at))
        events.append(
            NightEvent(
                night=night.id,
                stage=stage,
                event=ENDED,
                at=at + A_STAGE,
                outcome=_outcome(stage, student),
                reason="done" if student else "too few new examples for a student",
                found={"seconds": A_STAGE.total_seconds(), **({"student": student} if student else {})},
            )
        )
    return events


def _outcome(stage: Stage, student: str | None) -> Outcome:
    if student is not None or stage in (*BEFORE, Stage.REPORT):
        return Outcome.DONE
    return Outcome.STOPPED if stage is Stage.DATASET else Outcome.SKIPPED
