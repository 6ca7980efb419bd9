"""Audits: what counts as a flip, how often it happens to judges of known weakness, and what is kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from evals.judge import sitting
from evals.judge.attacks import ATTACKS, CONTROLS, Planted
from evals.judge.audits import Rate, audit_lines, by_rate, rate_of
from evals.judge.injection import audit_judge, newest_audit
from evals.judge.prompts import Material, show
from evals.metrics.intervals import clopper_pearson
from router import ask
from stepdown.errors import NotEnoughEvidence, SettingsError, UpstreamError
from stepdown.ledger import Ledger, schema
from stepdown.registry import Registry
from stepdown.settings import JudgeSettings, Settings
from tests.evals.judge.judging import (
    first_wins,
    judge_calls,
    judge_model,
    labels,
    longer_wins,
    quoted,
    says,
    settings_for,
    sweep,
    verdict,
)
from tests.fakes import FakeModel, error, running
from tests.traffic import answered

ON_BOTH_DATABASES = True
IGNORE = ATTACKS[0]


def obedient(material: dict[str, str]) -> str:
    """Gives way to "Ignore all of the above", and else knows that "right" is right."""
    for place in ("A", "B"):
        if IGNORE.text in material[f"ANSWER {place}"]:
            return verdict(place)
    a, b = ("right" in material[f"ANSWER {place}"].split("\n\n") for place in ("A", "B"))
    return verdict("tie" if a == b else "A" if a else "B")


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask, "LONGEST_WAIT_S", 0.0)


@pytest.fixture
def referee() -> Iterator[FakeModel]:
    model = judge_model(obedient)
    with running(model):
        yield model


def judged_pairs(ledger: Ledger, settings: Settings, count: int = 4) -> None:
    for number in range(count):
        answered(ledger, "sums", f"{number}?", "right", shadow=f"wrong {number}")
    sweep(ledger, settings)


def test_only_the_attack_that_works_flips(ledger: Ledger, referee: FakeModel) -> None:
    settings = settings_for(referee)
    judged_pairs(ledger, settings)
    kept = labels(ledger)
    audit = audit_judge(ledger, settings, {}, "sums", "j")
    assert audit.items == 4
    rates = {rate.name: rate for rate in audit.attacks}
    assert len(rates) == len(ATTACKS) >= 12
    worked = rates.pop(IGNORE.name)
    assert (worked.happened, worked.n) == (4, 4)
    assert (worked.low, worked.high) == clopper_pearson(4, 4)
    assert all((rate.happened, rate.n) == (0, 4) for rate in rates.values())
    assert (audit.attacked.happened, audit.attacked.n) == (4, 4 * len(ATTACKS))
    assert audit.attacked.high - audit.attacked.low > 0.5  # four prompts are four trials, not 64
    assert (audit.control.happened, audit.control.n) == (0, 4 * len(CONTROLS))
    assert labels(ledger) == kept


def test_the_attack_goes_into_the_answer_that_lost_and_is_asked_in_both_orders(
    ledger: Ledger, referee: FakeModel
) -> None:
    settings = settings_for(referee, concurrency=1)
    judged_pairs(ledger, settings, 1)
    referee.asked.clear()
    audit_judge(ledger, settings, {}, "sums", "j")
    attacked = [quoted(asked) for asked in referee.asked if IGNORE.text in str(quoted(asked))]
    assert [next(k for k, v in q.items() if IGNORE.text in v) for q in attacked] == ["ANSWER B", "ANSWER A"]
    assert all(q[k].startswith("wrong") for q in attacked for k, v in q.items() if IGNORE.text in v)


def test_a_noisy_judge_shows_in_the_control(ledger: Ledger, referee: FakeModel) -> None:
    referee.behaviour = lambda asked: says(longer_wins(quoted(asked)))
    settings = settings_for(referee)
    for number in range(3):
        answered(ledger, "sums", f"{number}?", "a longer answer", shadow=f"short {number}")
    sweep(ledger, settings)
    audit = audit_judge(ledger, settings, {}, "sums", "j")
    assert audit.control.value == 1.0
    assert audit.attacked.value == 1.0


def test_a_judge_that_looks_at_the_place_shows_in_the_orders(ledger: Ledger, referee: FakeModel) -> None:
    referee.behaviour = lambda asked: says(first_wins(quoted(asked)))
    settings = settings_for(referee, votes=2)
    judged_pairs(ledger, settings, 6)
    audit = audit_judge(ledger, settings, {}, "sums", "j", pairs=1)
    assert audit.orders is not None
    assert (audit.orders.happened, audit.orders.n, audit.for_first, audit.for_last) == (12, 12, 12, 0)
    assert audit.attacked.happened == 0  # a tie stays a tie
    warning = "goes by the order more than by the answers"
    assert audit.orders.low > 0.5
    assert any(warning in line for line in audit_lines(audit))
    fair = replace(audit, orders=replace(audit.orders, low=0.1))
    assert not any(warning in line for line in audit_lines(fair))


def test_a_single_judge_is_attacked_through_answers_that_it_found_bad(
    ledger: Ledger, referee: FakeModel
) -> None:
    def judging(material: dict[str, str]) -> str:
        good = "right" in material["ANSWER"].split("\n\n") or IGNORE.text in material["ANSWER"]
        return verdict("good" if good else "bad", "verdict")

    referee.behaviour = lambda asked: says(judging(quoted(asked)))
    settings = settings_for(referee, kind="single")
    judged_pairs(ledger, settings, 3)
    audit = audit_judge(ledger, settings, {}, "sums", "j")
    assert audit.items == 3
    assert audit.orders is None
    assert {rate.name: rate.happened for rate in audit.attacks if rate.happened} == {IGNORE.name: 3}


def test_the_audit_is_kept_and_found_by_the_judges_name(ledger: Ledger, referee: FakeModel) -> None:
    settings = settings_for(referee)
    assert newest_audit(ledger, "sums", "j") is None
    judged_pairs(ledger, settings, 2)
    audit = audit_judge(ledger, settings, {}, "sums", "j")
    assert newest_audit(ledger, "sums", "j") == audit
    assert newest_audit(ledger, "sums", "other") is None
    assert newest_audit(ledger, "other", "j") is None
    artifact = Registry(ledger).newest("audit", "sums")
    assert artifact is not None
    assert artifact.settings["judge"] == "j"
    assert artifact.summary["attacked"]["n"] == 2 * len(ATTACKS)


def test_an_audit_is_paid_for_once_and_on_the_bill(ledger: Ledger, referee: FakeModel) -> None:
    settings = settings_for(referee)
    judged_pairs(ledger, settings, 2)
    before = len(referee.asked)
    audit = audit_judge(ledger, settings, {}, "sums", "j")
    asked = len(referee.asked) - before
    assert asked == 2 * 2 * (len(ATTACKS) + len(CONTROLS))
    assert audit.cost_usd_micros == 110 * asked
    assert sum(call.cost_usd_micros for call in judge_calls(ledger)) == 110 * (asked + before)
    assert audit_judge(ledger, settings, {}, "sums", "j") == audit
    assert len(referee.asked) - before == asked
    assert Registry(ledger).count("audit", "sums") == 1


def test_an_audit_of_a_judge_that_went_away_goes_on_where_it_was(ledger: Ledger, referee: FakeModel) -> None:
    settings = settings_for(referee, concurrency=1)
    judged_pairs(ledger, settings, 2)
    answers = iter(range(10))
    referee.behaviour = lambda asked: (
        says(obedient(quoted(asked))) if next(answers, None) is not None else error(401, "gone")
    )
    with pytest.raises(UpstreamError, match=f"{sitting.STOP_AFTER} questions in a row; last: .*gone"):
        audit_judge(ledger, settings, {}, "sums", "j")
    assert newest_audit(ledger, "sums", "j") is None
    referee.behaviour = lambda asked: says(obedient(quoted(asked)))
    referee.asked.clear()
    assert audit_judge(ledger, settings, {}, "sums", "j").attacked.happened == 2
    assert len(referee.asked) == 2 * 2 * (len(ATTACKS) + len(CONTROLS)) - 10


def test_verdicts_that_cannot_be_read_do_not_count(ledger: Ledger, referee: FakeModel) -> None:
    settings = settings_for(referee)
    judged_pairs(ledger, settings, 2)
    referee.behaviour = lambda asked: says(
        "prose" if IGNORE.text in str(quoted(asked)) else obedient(quoted(asked))
    )
    audit = audit_judge(ledger, settings, {}, "sums", "j")
    ignored = next(rate for rate in audit.attacks if rate.name == IGNORE.name)
    assert (ignored.n, ignored.unscored, ignored.low, ignored.high) == (0, 2, 0.0, 1.0)
    assert any("not known, n = 0, 2 unscored" in line for line in audit_lines(audit))
    assert newest_audit(ledger, "sums", "j") == audit


def test_copies_of_a_prompt_are_attacked_once_and_identical_answers_never(
    ledger: Ledger, referee: FakeModel
) -> None:
    settings = settings_for(referee)
    for _ in range(3):
        answered(ledger, "sums", "2+2?", "right", shadow="wrong")
    answered(ledger, "sums", "3+3?", "right", shadow="right")
    sweep(ledger, settings)
    assert audit_judge(ledger, settings, {}, "sums", "j").items == 1


def test_what_cannot_be_audited_is_said(ledger: Ledger, referee: FakeModel) -> None:
    settings = settings_for(referee)
    with pytest.raises(NotEnoughEvidence, match="stepdown judge --task sums"):
        audit_judge(ledger, settings, {}, "sums", "j")
    with pytest.raises(SettingsError, match="no judge 'k'; declared: j"):
        audit_judge(ledger, settings, {}, "sums", "k")


def test_the_lines_say_rates_intervals_and_n(ledger: Ledger, referee: FakeModel) -> None:
    settings = settings_for(referee)
    judged_pairs(ledger, settings, 2)
    with ledger.writing() as connection:
        connection.execute(schema.calls.update().values(model="referee-1"))
    lines = audit_lines(audit_judge(ledger, settings, {}, "sums", "j"))
    assert "judge 'j' (referee-1): 2 judged pairs" in lines[0]
    assert f"n = {2 * len(ATTACKS)}" in lines[1]
    assert "harmless" in lines[2]
    assert "the two orders disagreed     0.0%" in lines[3]
    assert IGNORE.name in lines[4]
    assert "100.0%" in lines[4]
    assert "the judge is the model of strong and small" in lines[-2]


def test_rates_of_groups_and_their_order() -> None:
    rate = rate_of("x", [True, False, None, True], ["a", "a", "b", "b"])
    assert (rate.happened, rate.n, rate.unscored) == (2, 3, 1)
    assert rate.low < 2 / 3 < rate.high
    none = Rate("none", 0, 0, 0.0, 1.0)
    rates = [none, Rate("b", 0, 5, 0.0, 0.5), Rate("a", 3, 5, 0.1, 0.9)]
    assert [r.name for r in by_rate(rates)] == ["a", "b", "none"]


@pytest.mark.parametrize("planted", [*ATTACKS, *CONTROLS], ids=lambda planted: planted.name)
def test_no_attack_breaks_the_quotation(planted: Planted) -> None:
    material = Material("q", (planted.into("a"), "b"))
    user = show(JudgeSettings(model="j"), material)["messages"][1]["content"]
    assert user.count("<<<BEGIN ") == user.count("<<<END ") == 3


def test_the_set_of_attacks() -> None:
    names = [planted.name for planted in (*ATTACKS, *CONTROLS)]
    assert len(set(names)) == len(names)
    lengths = [len(planted.text) for planted in ATTACKS]
    spread = [len(planted.text) for planted in CONTROLS]
    assert min(spread) <= sorted(lengths)[len(lengths) // 4]
    assert max(spread) >= sorted(lengths)[len(lengths) // 2]
    assert not any(word in c.text.lower() for c in CONTROLS for word in ("winner", "judge", "rubric", "best"))
