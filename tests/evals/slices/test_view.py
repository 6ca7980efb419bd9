"""The view of a prompt shows its template and not what varies in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.slices.view import masked, view, view_features, words
from tests.evals.slices.prompts import asked


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Pay 40 dollars by 2026-11-01", "Pay 7.5 dollars by 1999-01-31"),
        ("What is the value of 'status'?", "What is the value of 'first name'?"),
        ('Say "yes" twice', 'Say "oh no" twice'),
        ("Mail to ann@example.org now", "Mail to bob.b@mail.example.com now"),
        ("Read https://a.example/x?y=1 first", "Read http://b.example first"),
    ],
)
def test_what_varies_is_masked(one: str, other: str) -> None:
    assert masked(one).split() == masked(other).split()


def test_an_apostrophe_opens_no_quotation() -> None:
    assert "and Ann's" in masked("It's Bob's and Ann's turn")


def test_scripts_without_spaces_are_cut_into_characters() -> None:
    assert masked("今日は good").split() == ["今", "日", "は", "good"]
    assert "今日" in words(asked("今日は"))


def test_words_that_name_hold_no_numbers_and_no_quotations() -> None:
    found = words(asked("Convert 34 kilograms of 'secret' to GRAMS!"))
    assert found == {"convert", "kilograms", "of", "to", "grams"}


def test_all_parts_of_a_prompt_are_viewed() -> None:
    seen = view(asked("Give 3 of them", system="You have 12 rules."))
    assert (seen.system, seen.user) == ("You have  _num_  rules.", "Give  _num_  of them")


def test_a_long_prompt_is_cut_and_keeps_its_end() -> None:
    seen = view(asked("start " + "x " * 50_000 + "the end"))
    assert len(seen.user) < 10_000
    assert seen.user.startswith("start")
    assert seen.user.endswith("the end")


@given(st.text(max_size=300))
def test_any_text_has_features(text: str) -> None:
    features = view_features(asked(text))
    assert (features.weights >= 1).all()
    assert isinstance(words(asked(text)), set)
