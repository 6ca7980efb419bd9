"""What the report says of labels: each labeller's error, and quality with few trusted labels."""

from __future__ import annotations

import json
from dataclasses import replace

import msgspec
import pytest

from evals.judge.audits import JudgeAudit, Rate
from evals.metrics.ppi import ALONE, POWERED
from evals.outcomes import read_outcomes
from evals.report import build_report, render_text, to_json
from evals.report import labels as labels_module
from evals.report.labels import quality_lines
from evals.report.labels_text import label_sections
from evals.report.layout import WIDTH
from evals.report.quality import promise
from stepdown.errors import ArtifactError
from stepdown.ledger import Ledger
from stepdown.records import Call, Role, Tier, Verdict
from stepdown.settings import Settings
from tests.evals.ledgers import Writer
from tests.evals.report.scene import play, settings
from tests.records import a_call

VERDICT = {True: Verdict.GOOD, False: Verdict.BAD}


def judged_task(*, audit_share: float = 1.0) -> Settings:
    """The scene's settings, with a judge and an audit sample."""
    plain = settings()
    judge = {"j": {"model": "strong", "kind": "single"}}
    task = msgspec.to_builtins(plain.tasks["default"]) | {"judges": judge, "audit_share": audit_share}
    changed: Settings = msgspec.convert(msgspec.to_builtins(plain) | {"tasks": {"default": task}}, Settings)
    return changed


def play_judged(ledger: Ledger, *, pairs: int = 300, by_hand: int = 60) -> Writer:
    """Strong is always right, small on even prompts; the judge fails every fifth right answer of small's."""
    writer = Writer(ledger)
    with writer.together():
        for i in range(pairs):
            request = writer.request(f"prompt {i}", shadowed=True)
            for tier, good in ((Tier.STRONG, True), (Tier.SMALL, i % 2 == 0)):
                call = writer.call(
                    request, tier, role=Role.LIVE if tier is Tier.STRONG else Role.SHADOW, tokens=(10, 20)
                )
                said = good and not (tier is Tier.SMALL and i % 10 == 0)
                writer.label(call, VERDICT[said], labeller="judge:j")
                if i < by_hand:
                    writer.label(call, VERDICT[good], labeller="person:ana")
    return writer


def test_where_only_checks_label_the_report_says_nothing_of_labellers(ledger: Ledger) -> None:
    play(ledger)
    report = build_report(ledger, settings(), "default")
    assert report.labels is None
    assert "LABELLERS" not in render_text(report)


def test_few_trusted_labels_correct_many_judged_ones(ledger: Ledger) -> None:
    play_judged(ledger)
    found = build_report(ledger, judged_task(), "default").labels
    assert found is not None
    lines = {line.name: line for line in found.quality}
    small = lines["small, of pairs"]
    assert (small.trusted.n, small.naive.n) == (60, 300)
    assert (small.powered.estimate.n, small.powered.judged, small.powered.method) == (60, 240, POWERED)
    assert small.powered.estimate.low <= 0.5 <= small.powered.estimate.high
    width = small.powered.estimate.high - small.powered.estimate.low
    assert width < small.trusted.high - small.trusted.low
    difference = lines["small minus strong"]
    assert difference.powered.estimate.value == pytest.approx(-0.5, abs=0.08)
    assert lines["received by clients"].powered.judged == 240


def test_users_who_speak_when_they_are_unhappy_tilt_no_estimate(ledger: Ledger) -> None:
    writer = Writer(ledger)
    with writer.together():
        for i in range(200):
            call = writer.call(writer.request(f"prompt {i}"), Tier.STRONG)
            writer.label(call, VERDICT[i % 10 > 0])
            if i % 10 == 0:
                writer.label(call, Verdict.BAD, labeller="feedback:thumb")
    (line,) = quality_lines(read_outcomes(ledger, "default"), 0.95)
    assert line.powered.estimate == line.trusted
    assert line.trusted.value == pytest.approx(0.9)
    assert (line.trusted.n, line.powered.method) == (200, ALONE)


def test_users_words_join_only_where_a_judge_ruled(ledger: Ledger) -> None:
    writer = play_judged(ledger)
    with writer.together():
        for i in range(100):
            call = writer.call(writer.request(f"unjudged {i}"), Tier.STRONG)
            writer.label(call, Verdict.BAD, labeller="feedback:thumb")
    line = quality_lines(read_outcomes(ledger, "default", audit_share=1.0), 0.95)[0]
    assert line.naive.n == 400
    assert (line.powered.estimate.n, line.powered.judged) == (60, 240)
    assert line.powered.estimate.low > 0.9  # strong is always right


def test_the_judges_error_is_in_text_and_json(ledger: Ledger) -> None:
    play_judged(ledger)
    report = build_report(ledger, judged_task(), "default")
    text = render_text(report)
    assert "LABELLERS" in text
    assert "QUALITY from few trusted and many judged labels" in text
    assert "so are 480 calls, see LABELLERS" in text
    judge, *_ = json.loads(to_json(report))["labels"]["errors"]["lines"]
    assert (judge["labeller"], judge["agreement"]["confusion"]["good_as_bad"]) == ("judge:j", 6)
    assert judge["agreement"]["share"]["value"] == pytest.approx(114 / 120)


def test_peoples_labels_of_interesting_requests_are_in_no_estimate(ledger: Ledger) -> None:
    play_judged(ledger)
    found = build_report(ledger, judged_task(audit_share=0.0), "default").labels
    assert found is not None
    small = found.quality[2]
    assert (small.trusted.n, small.powered.method) == (0, ALONE)
    assert (
        "* Too few answers have both" in [line for section in label_sections(found) for line in section][-1]
    )


def test_a_person_alone_outside_the_audit_sample_is_not_counted(ledger: Ledger) -> None:
    writer = Writer(ledger)
    for number in range(4):
        call = writer.call(writer.request(f"prompt {number}"), Tier.STRONG)
        writer.label(call, Verdict.BAD, labeller="person:ana")
    (line,) = build_report(ledger, judged_task(audit_share=0.0), "default").received
    assert (line.answers, line.good.n) == (4, 0)
    (line,) = build_report(ledger, judged_task(), "default").received
    assert (line.good.n, line.good.value) == (4, 0.0)


def test_audits_of_judges_are_shown_and_a_corrupt_one_stops_nothing(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    play_judged(ledger, pairs=20, by_hand=0)
    flips, none = Rate("all", 3, 40, 0.02, 0.2), Rate("harmless", 0, 40, 0.0, 0.09)
    audit = JudgeAudit(
        "default", "j", "1", "large-1", "single", 40, flips, none, (flips,), None, 0, 0, (), 1200
    )
    monkeypatch.setattr(labels_module, "newest_audit", lambda *_: audit)
    text = render_text(build_report(ledger, judged_task(), "default"))
    assert "AUDITS OF JUDGES" in text
    assert "flip rate under attack" in text

    def corrupt(*_: object) -> None:
        raise ArtifactError("audit 'x' is corrupt; audit the judge again")

    monkeypatch.setattr(labels_module, "newest_audit", corrupt)
    report = build_report(ledger, judged_task(), "default")
    assert report.labels is not None
    assert "audit 'x' is corrupt; audit the judge again" in report.missing


def test_contradictions_and_presumed_judges_are_said_within_the_width(ledger: Ledger) -> None:
    writer = play_judged(ledger, pairs=40, by_hand=0)
    call = writer.call(writer.request("disputed"), Tier.STRONG)
    writer.label(call, Verdict.GOOD, labeller="person:ana")
    writer.label(call, Verdict.BAD, labeller="person:bo")
    writer.label(call, Verdict.UNSCORED, labeller="judge:j")
    text = render_text(build_report(ledger, judged_task(), "default"))
    assert "CONTRADICTIONS  1 answers" in text
    assert "Could not tell: judge:j of 1 answers." in text
    assert "person:ana" in text
    assert "presumed right 75% of the time" in text
    assert "AGREEMENT BETWEEN PEOPLE" in text
    assert max(map(len, text.splitlines())) <= WIDTH


def test_a_bound_that_judges_made_says_so(ledger: Ledger) -> None:
    certificate = {
        "delta": 0.025,
        "upper": 0.04,
        "n": 40,
        "regrets": 1,
        "coverage": 0.5,
        "reason": "certified",
    }
    made = promise(
        "a", {"epsilon": 0.05, "delta": 0.05}, {"certificate": certificate, "judged_by": ["judge:j"]}
    )
    assert made.judged_by == ("judge:j",)


def test_estimated_tokens_are_said_to_be(ledger: Ledger) -> None:
    writer = Writer(ledger)
    request = writer.request("one")
    broken: Call = replace(
        a_call(), request=request, usage_estimated=True, prompt_tokens=5, completion_tokens=2
    )
    ledger.append([broken])
    report = build_report(ledger, settings(), "default")
    assert report.calls[0].estimated == 1
    assert "The tokens of 1 calls, whose answer broke off, are an estimate" in render_text(report)
