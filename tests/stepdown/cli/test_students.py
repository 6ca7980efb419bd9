"""`stepdown students` says where each student comes from, what became of it, and what it cost and earned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from distill.evidence import Rules
from distill.gate import SAMPLE
from distill.verdict import Criterion, Outcome, Verdict, as_values
from evals.report.layout import WIDTH
from stepdown.cli import cli
from stepdown.ledger import Ledger
from stepdown.records import Arm, Deployed, Mode
from stepdown.registry import Registry
from stepdown.settings import load_settings
from tests.distill.bill.scene import DAY, START, Scene

SETTINGS = """
home = "{home}"
[models.strong]
model = "large-1"
url = "http://127.0.0.1:9/v1"
input_usd_per_million = 2.0
output_usd_per_million = 8.0
[models.small]
model = "tiny-1"
url = "http://127.0.0.1:9/v1"
input_usd_per_million = 0.0
output_usd_per_million = 0.5
[tasks.default]
small = "small"
[tasks.bare]
small = "small"
[tasks.default.student]
base = "tiny-base"
"""


@pytest.fixture
def settings_file(tmp_path: Path) -> str:
    file = tmp_path / "stepdown.toml"
    file.write_text(SETTINGS.format(home=tmp_path / "home"))
    return str(file)


@pytest.fixture
def scene(settings_file: str) -> Scene:
    return Scene(Ledger(load_settings(settings_file, environ={}).database_url))


def run(settings_file: str, *arguments: str) -> Result:
    command = ["students", "--settings", settings_file, *arguments]
    return CliRunner().invoke(cli, command, catch_exceptions=False)


def gate(scene: Scene, student: str, *, passed: bool, reason: str) -> None:
    row: dict[str, Any] = {
        "p": 0.01,
        "outcome": Outcome.PASSED,
        "reason": "",
        "limit": -0.02,
        "unit": "share",
    }
    sample = Criterion(name=SAMPLE, n=400, estimate=0.031, low=-0.004, high=0.066, **row)
    verdict = Verdict(
        passed=passed, reason=reason, candidate=student, incumbent=None, rules=Rules(), criteria=(sample,)
    )
    summary = {**as_values(verdict), "quality": [0.8, 0.76, 0.84, 400]}
    Registry(scene.ledger).keep("gate", "default", b"", settings={"student": student}, summary=summary)


def life(scene: Scene) -> dict[str, str]:
    """Students in every place that there is."""
    dataset = scene.dataset()
    names = ("untried", "stopped", "first", "failed", "served", "trial")
    made = {name: scene.student(name, at=START + n * DAY, parents=(dataset,)) for n, name in enumerate(names)}
    made["export"] = scene.student("served", variant="merged", at=START + 6 * DAY, parents=(made["served"],))
    gate(scene, made["stopped"], passed=False, reason="fresh sample: 4.0% worse, and 2.0% is allowed")
    gate(scene, made["served"], passed=True, reason="all 6 criteria are met")
    first, served, trial = made["first"], made["served"], made["trial"]
    scene.promote(Deployed(Mode.ROUTE, "r", first), START)
    scene.promote(Deployed(Mode.ROUTE, "r", first, made["failed"], "r2", 0.1), START + DAY)
    scene.promote(Deployed(Mode.ROUTE, "r", first), START + 2 * DAY, reason="too slow", rollback_of=[2])
    scene.promote(Deployed(Mode.ROUTE, "r", first, served, "r3", 0.5), START + 3 * DAY)
    scene.shadowed(served)
    scene.answered(served, START + 3 * DAY, requests=40, arm=Arm.CANARY)
    scene.by_strong(first, START + 3 * DAY, requests=40, arm=Arm.CONTROL)
    scene.promote(Deployed(Mode.ROUTE, "r3", served), START + 4 * DAY)
    scene.promote(Deployed(Mode.ROUTE, "r3", served, trial, "r4", 0.1), START + 5 * DAY)
    scene.expense("served", 2000)
    scene.expense("broken off", 77)
    return made


def section_of(text: str, student: str) -> str:
    (section,) = (part for part in text.split("\n\n") if part.startswith(student))
    return " ".join(section.split())


def test_each_student_is_told_with_its_place_gate_and_bill(settings_file: str, scene: Scene) -> None:
    made = life(scene)
    text = run(settings_file).output
    assert max(map(len, text.splitlines())) <= WIDTH
    places = {
        "untried": "where never tried",
        "stopped": "where stopped by the gate: fresh sample: 4.0% worse",
        "first": "where succeeded by another",
        "failed": "where rolled back: too slow",
        "served": "where in service",
        "trial": "where on trial, canary of 10%",
    }
    for name, words in places.items():
        assert words in section_of(text, made[name]), name
    served = section_of(text, made["served"])
    assert "gate passed on" in served
    assert "quality 80.0% [76.0, 84.0] n=400 good answers; +3.1% [-0.4, +6.6] n=400 against" in served
    assert "= net against always strong $0.004700" in served
    assert "break-even paid back on 2026-11-05 [2026-11-05, 2026-11-05]" in served
    assert "per 1,000 requests beside" in served
    assert f"exported from {made['served']}" in section_of(text, made["export"])
    assert "Trainings that made no student: $0.000077" in text
    order = [text.index("\n\n" + made[name]) for name in ("trial", "served", "failed", "untried")]
    assert order == sorted(order)


def test_the_same_as_json(settings_file: str, scene: Scene) -> None:
    made = life(scene)
    found = json.loads(run(settings_file, "--json").output)
    by_id = {one["lineage"]["student"]: one for one in found["students"]}
    served, export = by_id[made["served"]], by_id[made["export"]]
    assert served["lineage"]["dataset"] == export["lineage"]["dataset"] == scene.dataset()
    assert served["bill"]["net"] == {"value": 4700, "low": 4700, "high": 4700, "n": 10}
    assert served["bill"]["payback"]["outlook"] == "paid back"
    assert found["unclaimed"] == {"usd_micros": 77, "unknown": 0}


def test_what_is_unknown_is_said_in_the_text(settings_file: str, scene: Scene) -> None:
    student = scene.student("run-1")
    scene.expense("run-1", None)
    scene.shadowed(student)
    scene.promote(Deployed(Mode.ROUTE, "r", student), START)
    scene.answered(student, START + DAY, requests=5)
    told = section_of(run(settings_file).output, student)
    assert "- training 1 unknown" in told
    assert "at most" in told
    assert "at the earliest, as some costs are unknown" in told


def test_a_corrupt_student_stops_no_other(settings_file: str, scene: Scene) -> None:
    whole = scene.student("run-1")
    broken = scene._artifact("student", b"{", START)
    text = run(settings_file).output
    assert "its manifest is corrupt" in section_of(text, broken)
    assert "adapter of tiny-base, lora" in section_of(text, whole)


@pytest.mark.parametrize(
    ("task", "said"),
    [("default", "`stepdown night --task default --now`"), ("bare", "set [tasks.bare.student] with `base`")],
)
def test_without_students_it_says_what_makes_one(settings_file: str, task: str, said: str) -> None:
    assert said in run(settings_file, "--task", task).output
