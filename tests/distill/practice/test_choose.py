"""What is kept of a prompt's samples."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from distill.practice.choose import EASY_FROM, KEPT_PER_PROMPT, Sample, pass_rate, worth_learning
from stepdown.records import Verdict

GOOD, BAD, UNSCORED = Verdict.GOOD, Verdict.BAD, Verdict.UNSCORED


def samples(*verdicts: Verdict, said: str | None = None) -> list[Sample]:
    return [Sample(f"a{n}", said or f"text {n}", verdict) for n, verdict in enumerate(verdicts)]


def test_the_right_ones_of_a_hard_prompt_are_kept() -> None:
    assert [one.answer for one in worth_learning(samples(BAD, GOOD, BAD, BAD))] == ["a1"]


def test_nothing_of_a_prompt_that_is_mostly_right_is_kept() -> None:
    assert worth_learning(samples(GOOD, GOOD, GOOD, BAD)) == []
    assert worth_learning(samples(GOOD, GOOD, BAD, BAD)) != []


def test_what_the_check_cannot_score_does_not_count_for_the_pass_rate() -> None:
    assert pass_rate(samples(GOOD, UNSCORED, BAD, UNSCORED)) == 0.5
    assert pass_rate(samples(UNSCORED)) is None
    assert worth_learning(samples(UNSCORED, UNSCORED)) == []


def test_the_same_answer_in_other_white_space_is_kept_once() -> None:
    twice = [Sample("a", "It is\n7.", GOOD), Sample("b", "It  is 7. ", GOOD), *samples(BAD, BAD, BAD)]
    assert [one.answer for one in worth_learning(twice)] == ["a"]


@given(st.lists(st.tuples(st.sampled_from([GOOD, BAD, UNSCORED]), st.sampled_from("abcdef"))))
def test_only_right_and_different_answers_are_kept_and_few(found: list[tuple[Verdict, str]]) -> None:
    made = [Sample(str(n), said, verdict) for n, (verdict, said) in enumerate(found)]
    kept = worth_learning(made)
    assert len(kept) <= KEPT_PER_PROMPT
    assert all(one.verdict is GOOD for one in kept)
    assert len({one.said for one in kept}) == len(kept)
    rate = pass_rate(made)
    assert bool(kept) == (rate is not None and 0 < rate < EASY_FROM)
