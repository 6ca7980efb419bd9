"""From a ledger to the gate's verdict: labels, pairs, slices, suites and costs; what is kept and shown."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from distill.evaluation import (
    ask_student,
    expected_saving,
    gather,
    keep_gate,
    label_now,
    newest_gate,
    read_gate,
    render_gate,
    rules_of,
)
from distill.evidence import Evidence
from distill.gate import SAMPLE, Outcome, decide
from distill.verdict import SAVING
from stepdown.errors import ArtifactError, OutOfBudget
from stepdown.ids import now
from stepdown.records import Expense, Reason
from stepdown.students import served_name
from tests import fakes
from tests.distill.evaluation.live import START, TASK, Live, says

PROMPTS = [f"question {i}" for i in range(70)]


@pytest.fixture(autouse=True)
def all_held_out(live: Live) -> None:
    """What a test does not say was trained on is held out."""
    live.student = {"test_share": 1.0}


def fill(live: Live) -> None:
    """Seventy prompts of two kinds."""
    for i, prompt in enumerate(PROMPTS):
        live.asks(prompt, kind=f"kind {i % 2}")


def evidence_of(live: Live, student: str) -> Evidence:
    ask_student(live.ledger, live.settings, {}, TASK, student, most=100)
    label_now(live.ledger, live.settings, {}, TASK)
    return gather(live.ledger, live.settings, {}, TASK, student)


def test_a_better_student_passes_and_a_worse_one_is_stopped(live: Live) -> None:
    fill(live)
    better, worse = live.trained("better").id, live.trained("worse").id
    live.answer = says({"tiny": PROMPTS[:14], served_name(worse): PROMPTS[:40]})
    evidence = evidence_of(live, better)
    sample = evidence.sample
    assert sample.differences().sum() == 14
    assert sorted(set(sample.slices.tolist())) == ["kind 0", "kind 1"]
    assert (evidence.calls.asked, evidence.calls.failed) == (70, 0)
    assert evidence.timed.candidate.size == 70
    rules = rules_of(live.settings.tasks[TASK])
    verdict = decide(evidence, rules)
    assert {one.name for one in verdict.criteria if one.stops} <= {SAVING, "p95 latency"}
    stopped = decide(evidence_of(live, worse), rules)
    assert {one.outcome for one in stopped.criteria if one.name == SAMPLE} == {Outcome.FAILED}


def test_what_was_trained_on_or_is_not_labelled_does_not_count(live: Live) -> None:
    fill(live)
    student = live.trained("one", dict.fromkeys(PROMPTS[:60], "T") | dict.fromkeys(PROMPTS[60:], "E")).id
    for number in range(1, 71):
        live.answered(f"r{number:05d}", served_name(student), "yes", at=START + timedelta(hours=3))
    evidence = gather(live.ledger, live.settings, {}, TASK, student)
    assert evidence.sample.candidate.size == 10
    assert evidence.sample.unscored == 10
    label_now(live.ledger, live.settings, {}, TASK)
    evidence = gather(live.ledger, live.settings, {}, TASK, student)
    assert (evidence.sample.candidate == 1).all()
    assert evidence.sample.unscored == 10  # the small model as declared was asked nothing
    assert evidence.calls.asked == 10


def test_the_student_in_service_is_what_it_is_compared_with(live: Live) -> None:
    fill(live)
    old, new = live.trained("old").id, live.trained("new").id
    live.in_service(old)
    live.answer = says({served_name(old): PROMPTS[:5], served_name(new): PROMPTS[5:8]})
    evidence = evidence_of(live, new)
    assert evidence.incumbent == old
    assert (evidence.sample.differences() > 0).sum() == 5
    assert (evidence.sample.differences() < 0).sum() == 3
    assert len(evidence.dataset) == 1
    assert live.asked_of(None) == []


def test_only_answers_timed_beside_each_other_are_compared(live: Live) -> None:
    student = live.trained("one").id
    for i, beside in enumerate([timedelta(seconds=1), timedelta(hours=5)]):
        name = live.asks(f"p{i}")
        live.answered(name, served_name(student), "yes", at=START, latency_ms=100.0)
        live.answered(name, "tiny", "yes", at=START + beside, latency_ms=50.0)
    timed = gather(live.ledger, live.settings, {}, TASK, student).timed
    assert (timed.candidate.tolist(), timed.incumbent.tolist()) == ([100.0], [50.0])


def write_suite(folder: Path, name: str, prompts: list[str]) -> str:
    lines = [json.dumps({"prompt": prompt, "reference": "yes", "check": "same"}) for prompt in prompts]
    (folder / f"{name}.jsonl").write_text("\n".join(lines))
    return str(folder / f"{name}.jsonl")


def test_suites_are_run_by_both_once_and_kept(live: Live, tmp_path: Path) -> None:
    student = live.trained("one").id
    held = [f"held {i}" for i in range(12)]
    live.task = {"suites": (write_suite(tmp_path, "held", held), str(tmp_path / "missing.jsonl"))}
    live.student = {"general_suite": write_suite(tmp_path, "general", ["g1", "g2"])}
    live.answer = says({served_name(student): held[:4]})
    evidence = gather(live.ledger, live.settings, {}, TASK, student)
    assert evidence.suites["held"].differences().sum() == -4
    assert evidence.general is not None
    assert evidence.general.differences().tolist() == [0, 0]
    missing = evidence.suites[str(tmp_path / "missing.jsonl")]
    assert missing.why is not None
    assert "missing.jsonl" in missing.why
    assert len(evidence.evaluations) == 2
    asked = len(live.small.asked)
    assert gather(live.ledger, live.settings, {}, TASK, student).evaluations == evidence.evaluations
    assert len(live.small.asked) == asked


def test_a_suite_whose_time_is_up_goes_on_later(live: Live, tmp_path: Path) -> None:
    student = live.trained("one").id
    live.task = {"suites": (write_suite(tmp_path, "held", ["a", "b"]),)}
    with pytest.raises(OutOfBudget, match="held"):
        gather(live.ledger, live.settings, {}, TASK, student, deadline=0.0)
    assert len(gather(live.ledger, live.settings, {}, TASK, student).evaluations) == 1


def test_costs_are_those_of_the_candidate_and_its_making(live: Live) -> None:
    student = live.trained("one")
    for prompt in ("a", "b"):
        live.answered(live.asks(prompt), served_name(student.id), "yes", cost=10)
    live.asks("c", reason=Reason.NAMED)  # no policy decides on it, so no student saves on it
    spent = [("run", "one", 500), ("form", student.id, 40), ("else", "another", 9000)]
    live.ledger.append(
        Expense(
            id=name, at=now(), task=TASK, kind="training", subject=subject, seconds=1, cost_usd_micros=cost
        )
        for name, subject, cost in spent
    )
    live.model = {"usd_per_hour": 0.5}
    economy = gather(live.ledger, live.settings, {}, TASK, student.id).economy
    assert economy.spent == 500 + 40 + 2 * 10
    assert economy.strong.tolist() == [1000, 1000]
    assert economy.small.tolist() == [10, 10]
    assert economy.rent_per_day == 12_000_000
    assert economy.requests_per_day == pytest.approx(2, abs=0.1)
    assert economy.coverage is None
    assert "149 are needed" in economy.coverage_from


def test_the_coverage_is_cross_fitted_from_its_own_answers(live: Live) -> None:
    for i in range(80):
        name = live.asks(f"add {i} and {i}" if i % 2 else f"write a poem about {i}")
        live.answered(name, "tiny", "yes")
    student = live.trained("one").id
    live.task = {"max_quality_loss": 0.1}
    live.answer = lambda model, prompt: fakes.plain("no" if "poem" in prompt else "yes")
    economy = evidence_of(live, student).economy
    assert economy.coverage is not None
    assert economy.coverage.n == 80
    assert 0.4 < economy.coverage.value < 0.7  # the poems are strong's
    assert "80 of its own" in economy.coverage_from


def test_a_router_s_own_choice_of_prompts_does_not_count(live: Live) -> None:
    student = live.trained("one").id
    for reason in (Reason.EXPLORED, Reason.ROUTED_STRONG):
        live.answered(live.asks(f"by {reason}", reason=reason), served_name(student), "yes")
    assert gather(live.ledger, live.settings, {}, TASK, student).sample.prompts.size == 1


def test_a_verdict_is_kept_with_its_evidence_and_read_again(live: Live) -> None:
    fill(live)
    student = live.trained("one").id
    evidence = evidence_of(live, student)
    verdict = decide(evidence, rules_of(live.settings.tasks[TASK]))
    kept = keep_gate(live.ledger, TASK, evidence, verdict)
    assert keep_gate(live.ledger, TASK, evidence, verdict).id == kept.id
    found = newest_gate(live.ledger, TASK, student)
    assert found is not None
    assert read_gate(found) == verdict
    assert found.parents[0] == student
    assert found.summary["passed"] is verdict.passed
    assert found.summary["reasons"] == list(verdict.reasons)
    assert found.summary["quality"][0] == 1.0
    assert newest_gate(live.ledger, TASK, "another") is None
    with pytest.raises(ArtifactError, match="not a gate"):
        read_gate(live.trained("two"))


def test_the_saving_at_another_coverage_can_be_asked_of_a_gate(live: Live) -> None:
    fill(live)
    student = live.trained("one").id
    evidence = evidence_of(live, student)
    kept = keep_gate(live.ledger, TASK, evidence, decide(evidence, rules_of(live.settings.tasks[TASK])))
    none, some = (expected_saving(live.ledger, kept.id, share) for share in (0.0, 0.5))
    days, exploration = 30, live.settings.tasks[TASK].exploration
    a_day = evidence.economy.requests_per_day
    assert some.net_usd_micros - none.net_usd_micros == pytest.approx(
        a_day * days * 0.5 * (1 - exploration) * (1000 - 10)
    )
    assert "coverage of 50.0%" in some.words
    unpriced = replace(evidence, economy=replace(evidence.economy, small=np.array([math.nan])))
    kept = keep_gate(live.ledger, TASK, unpriced, decide(unpriced, rules_of(live.settings.tasks[TASK])))
    with pytest.raises(ArtifactError, match="set the prices"):
        expected_saving(live.ledger, kept.id, 0.5)


def test_the_table_names_every_criterion_with_its_n_and_its_interval(live: Live) -> None:
    fill(live)
    student = live.trained("one").id
    evidence = evidence_of(live, student)
    verdict = decide(evidence, rules_of(live.settings.tasks[TASK]))
    text = render_gate(verdict)
    assert student[:12] in text
    for one in verdict.criteria:
        assert one.name in text
        assert one.outcome.value.upper() in text.upper()
    assert "70" in text
    assert "-10.0%" in text
    assert max(map(len, text.splitlines())) <= 110


def test_the_backlog_is_labelled_at_once_and_what_is_left_is_said(live: Live) -> None:
    fill(live)
    with pytest.raises(OutOfBudget, match="is kept"):
        label_now(live.ledger, live.settings, {}, TASK, deadline=0.0)
    done = label_now(live.ledger, live.settings, {}, TASK)
    assert (done.checks.good, done.unscored) == (70, 0)
    assert label_now(live.ledger, live.settings, {}, TASK, deadline=0.0).checks.labelled == 0
