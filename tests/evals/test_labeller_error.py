"""Each labeller beside those who are trusted, and what contradicts what."""

from __future__ import annotations

import math

import pytest

from evals.labeller_error import CHECKS, LISTED, OTHERS, PEOPLE, TRUTH, LabellerErrors, labeller_errors
from evals.suspects import APART, SAME, THOUGHT_GOOD
from stepdown.ledger import Ledger
from stepdown.records import Tier, Verdict
from stepdown.settings import TaskSettings
from tests.evals.ledgers import Writer
from tests.records import a_label
from tests.traffic import answered

ON_BOTH_DATABASES = True
EVERYONE = TaskSettings(audit_share=1.0)
NOBODY = TaskSettings(audit_share=0.0)
VERDICTS = {"+": Verdict.GOOD, "-": Verdict.BAD, "?": Verdict.UNSCORED}


def write(ledger: Ledger, *rows: dict[str, str]) -> list[str]:
    """One call a row, with the verdicts of labellers; returns the calls."""
    writer, calls = Writer(ledger), []
    for number, row in enumerate(rows):
        calls.append(writer.call(writer.request(f"prompt {number}"), Tier.STRONG))
        for labeller, verdict in row.items():
            writer.label(calls[-1], VERDICTS[verdict], labeller=labeller)
    return calls


def line(found: LabellerErrors, labeller: str, against: str) -> tuple[int, ...]:
    (one,) = [one for one in found.lines if (one.labeller, one.against) == (labeller, against)]
    return (*one.agreement.confusion, one.labels, one.unscored)


def test_a_judge_is_measured_against_checks_and_people_of_the_audit_sample(ledger: Ledger) -> None:
    rows = [
        {"check:a": "+", "judge:j": "+"},
        {"check:a": "-", "judge:j": "+"},
        {"person:ana": "+", "judge:j": "-"},
        {"person:ana": "-", "judge:j": "-"},
        {"check:a": "+", "judge:j": "?"},
        {"judge:j": "+"},
    ]
    write(ledger, *rows)
    assert line(labeller_errors(ledger, "default", EVERYONE), "judge:j", TRUTH) == (1, 1, 1, 1, 5, 1)
    assert line(labeller_errors(ledger, "default", NOBODY), "judge:j", TRUTH) == (1, 0, 1, 0, 5, 1)


def test_nobody_is_measured_against_themselves(ledger: Ledger) -> None:
    write(ledger, {"check:a": "+"}, {"person:ana": "+"}, {"judge:j": "+"})
    for one in labeller_errors(ledger, "default", EVERYONE).lines:
        assert one.agreement.confusion.n == 0
        assert math.isnan(one.agreement.share.value)


def test_checks_are_measured_against_people_and_people_against_checks_and_the_others(ledger: Ledger) -> None:
    rows = [
        {"check:a": "+", "person:ana": "-", "person:bo": "-", "person:cy": "-"},
        {"check:a": "-", "person:ana": "-", "person:bo": "+"},
        {"person:ana": "+", "person:bo": "-", "person:cy": "+"},
    ]
    write(ledger, *rows)
    found = labeller_errors(ledger, "default", EVERYONE)
    assert line(found, "check:a", PEOPLE) == (0, 0, 1, 0, 2, 0)
    assert line(found, "person:ana", CHECKS) == (0, 1, 0, 1, 3, 0)
    assert line(found, "person:bo", OTHERS) == (0, 1, 1, 1, 3, 0)  # of ana and cy where they agree
    assert [pair[:2] for pair in found.pairs] == [
        ("person:ana", "person:bo"),
        ("person:ana", "person:cy"),
        ("person:bo", "person:cy"),
    ]
    assert [pair.kappa.n for pair in found.pairs] == [3, 2, 2]
    assert found.people.n == 3
    assert line(labeller_errors(ledger, "default", NOBODY), "check:a", PEOPLE)[:4] == (0, 0, 0, 0)


def test_answers_that_trusted_labellers_contradict_one_another_on_are_listed(ledger: Ledger) -> None:
    rows = [
        {"person:ana": "+", "person:bo": "-"},
        {"check:a": "+", "check:b": "-", "person:ana": "+"},
        {"check:a": "+", "person:ana": "+", "judge:j": "-"},
        {"check:a": "+", "check:b": "-"},  # each looks at something else
    ]
    calls = write(ledger, *rows)
    found = labeller_errors(ledger, "default", EVERYONE)
    assert [(one.call, one.good, one.bad) for one in found.contradictions] == [
        (calls[1], ("person:ana",), ("check:b",)),
        (calls[0], ("person:ana",), ("person:bo",)),
    ]
    assert found.contradicted == 2


def test_contradictions_are_listed_in_bounds_and_counted_in_full(ledger: Ledger) -> None:
    write(ledger, *({"person:ana": "+", "person:bo": "-"} for _ in range(LISTED + 3)))
    found = labeller_errors(ledger, "default", EVERYONE)
    assert (len(found.contradictions), found.contradicted) == (LISTED, LISTED + 3)


def test_judges_without_any_truth_beside_them_are_presumed_and_that_is_said(ledger: Ledger) -> None:
    write(ledger, *({"judge:j": "+"} for _ in range(30)))
    assert labeller_errors(ledger, "default", EVERYONE).presumed == ("strong",)


NUMBER = TaskSettings(checks={"n": {"kind": "number"}}, check="n", audit_share=1.0)


def pair(
    ledger: Ledger, prompt: str, strong: str, small: str, *, bad: str = "check:n", reference: str = "20"
) -> tuple[str, str]:
    """A pair whose both answers a check calls bad; returns the calls."""
    made = answered(ledger, "sums", prompt, strong, shadow=small, reference=reference)
    for call in (made.call, made.shadow):
        ledger.append([a_label(subject=call, labeller=bad, verdict=Verdict.BAD)])
    return made.call, made.shadow


def test_a_reference_is_suspect_where_both_models_give_the_same_other_answer(ledger: Ledger) -> None:
    pair(ledger, "same", "It is 7.", "2 + 5, so #### 7")
    pair(ledger, "different", "It is 7.", "It is 8.")
    pair(ledger, "nothing", "I cannot say.", "No idea.")
    found = labeller_errors(ledger, "sums", NUMBER).suspects
    assert (found.found, found.looked_at) == (1, 3)
    suspect, *others = found.listed
    assert (suspect.check, suspect.reference, suspect.why) == ("check:n", "20", SAME)
    assert [one.why for one in others] == [APART, APART]
    assert (suspect.strong, suspect.small) == ("It is 7.", "2 + 5, so #### 7")


@pytest.mark.parametrize("labeller", ["judge:j", "person:ana"])
def test_a_reference_is_suspect_where_others_think_both_answers_good(ledger: Ledger, labeller: str) -> None:
    good, half = pair(ledger, "good", "It is 7.", "It is 8."), pair(ledger, "half", "It is 1.", "It is 2.")
    for call in (*good, half[0]):
        ledger.append([a_label(subject=call, labeller=labeller)])
    suspect, other = labeller_errors(ledger, "sums", NUMBER).suspects.listed
    assert (suspect.why, suspect.strong) == (THOUGHT_GOOD, "It is 7.")
    assert (other.why, other.strong) == (APART, "It is 1.")


def test_a_prompt_that_is_asked_again_is_listed_once(ledger: Ledger) -> None:
    for _ in range(3):
        pair(ledger, "same", "It is 7.", "7")
    assert labeller_errors(ledger, "sums", NUMBER).suspects.found == 1


def test_a_check_that_is_no_longer_declared_lists_nothing_and_stops_nothing(ledger: Ledger) -> None:
    pair(ledger, "same", "It is 7.", "It is 7.", bad="check:gone")
    pair(ledger, "broken", "It is 9.", "It is 9.", bad="check:odd")
    odd = TaskSettings(checks={"odd": {"kind": "no such kind"}}, audit_share=1.0)
    found = labeller_errors(ledger, "sums", odd).suspects
    assert [suspect.check for suspect in found.listed] == ["check:odd", "check:gone"]  # compared as text


def test_an_empty_ledger_has_no_labellers(ledger: Ledger) -> None:
    found = labeller_errors(ledger, "default", EVERYONE)
    assert (found.lines, found.contradicted, found.suspects.found) == ((), 0, 0)
    assert math.isnan(found.people.value)
