"""Judges that go by the order: found beyond chance, and left out of every verdict."""

from __future__ import annotations

from evals.judge.combine import Part, rule
from evals.judge.settle import IDENTICAL
from evals.judge.verdict import Opinion
from evals.labeller_error import labeller_errors
from evals.order_bias import going_by_order, order_lines
from evals.outcomes import read_outcomes
from evals.refit import refit
from evals.report.labels_text import labeller_section
from stepdown.ledger import Ledger
from stepdown.records import Verdict
from stepdown.settings import JudgeSettings, TaskSettings
from tests.records import a_label
from tests.traffic import answered

ON_BOTH_DATABASES = True
JUDGE = "judge:j"
TASK = TaskSettings(
    small="small", judges={"j": JudgeSettings(model="strong")}, certify_on="judged", min_labels=20
)


def judge(ledger: Ledger, choices: list[tuple[str, str]], *, prompt: str = "{}?", version: str = "1") -> None:
    """Pairs that a judge ruled on: its choice with strong shown as A, and with small shown as A."""
    for number, (plain, swapped) in enumerate(choices):
        opinions = {Part(1).name: Opinion(plain, ""), Part(1, True).name: Opinion(swapped, "")}
        ruling = rule("pairwise", 1, opinions)
        pair = answered(ledger, "sums", prompt.format(number), "x", shadow="y")
        label(ledger, (pair.call, pair.shadow), ruling.scores or (), ruling.words, version)


def label(
    ledger: Ledger, calls: tuple[str | None, ...], scores: tuple[float, ...], words: str, version: str = "1"
) -> None:
    ledger.append(
        a_label(
            subject=call,
            labeller=JUDGE,
            version=version,
            verdict=Verdict.GOOD if score >= 0.5 else Verdict.BAD,
            score=score,
            evidence=f"tied with small (call c): {words}",
        )
        for call, score in zip(calls, scores, strict=True)
    )


BY_PLACE, FOR_STRONG, TIE = ("A", "A"), ("A", "B"), ("tie", "tie")


def test_a_judge_that_takes_the_first_certifies_nothing_and_that_is_said(ledger: Ledger) -> None:
    judge(ledger, [BY_PLACE] * 40)
    outcomes = read_outcomes(ledger, "sums")
    assert outcomes.by_order[JUDGE].value == 1.0
    assert outcomes.labelled_pairs.empty
    done = refit(ledger, "sums", TASK)
    assert done.router is None
    assert "judge:j goes by the order of the answers, in 100% of 40 pairs" in (done.why_not or "")
    section = " ".join(" ".join(labeller_section(labeller_errors(ledger, "sums", TASK))).split())
    assert order_lines(outcomes.by_order)[0] in section


def test_a_judge_that_mostly_agrees_with_itself_counts(ledger: Ledger) -> None:
    judge(ledger, [BY_PLACE] * 10 + [FOR_STRONG] * 15 + [TIE] * 15)
    outcomes = read_outcomes(ledger, "sums")
    assert outcomes.by_order == {}
    assert len(outcomes.labelled_pairs) == 40


def test_a_few_disagreements_may_be_chance(ledger: Ledger) -> None:
    judge(ledger, [BY_PLACE] * 5)
    assert going_by_order(ledger, "sums") == {}
    judge(ledger, [BY_PLACE], prompt="one more")
    assert list(going_by_order(ledger, "sums")) == [JUDGE]


def test_one_prompt_asked_often_counts_once(ledger: Ledger) -> None:
    judge(ledger, [BY_PLACE] * 40, prompt="the same")
    assert going_by_order(ledger, "sums") == {}


def test_identical_answers_excuse_nobody(ledger: Ledger) -> None:
    judge(ledger, [BY_PLACE] * 10)
    for number in range(20):
        pair = answered(ledger, "sums", f"same {number}?", "x", shadow="x")
        label(ledger, (pair.call, pair.shadow), IDENTICAL.scores or (), IDENTICAL.words)
    assert list(going_by_order(ledger, "sums")) == [JUDGE]


def test_another_task_is_not_touched(ledger: Ledger) -> None:
    judge(ledger, [BY_PLACE] * 40)
    assert going_by_order(ledger, "other") == {}
