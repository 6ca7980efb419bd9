"""Similarity of answers and edits: its bounds, its symmetry, and its bounded time."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.metrics.similarity import Similarity, normalised, similarity

TEXTS = st.text(max_size=60)


@given(TEXTS, TEXTS)
def test_it_is_a_share_and_symmetric(one: str, other: str) -> None:
    found, back = similarity(one, other), similarity(other, one)
    assert found is not None
    assert found == back
    assert 0 <= found.value <= 1
    assert (found.value == 1) == (normalised(one) == normalised(other))


@given(st.text(min_size=1, max_size=40).filter(str.strip), st.integers(0, 39))
def test_a_replaced_character_costs_its_share(text: str, place: int) -> None:
    text = normalised(text)
    place %= len(text)
    changed = f"{text[:place]}\U0001f98a{text[place + 1 :]}"
    if normalised(changed) != changed or "\U0001f98a" in text:
        return
    found = similarity(text, changed)
    assert found is not None
    assert found.value == pytest.approx(1 - 1 / len(text))


@given(TEXTS)
def test_how_a_text_is_written_down_does_not_count(text: str) -> None:
    written = "  " + unicodedata.normalize("NFD", text).replace("\n", "\r\n") + "\r\n"
    composed = unicodedata.normalize("NFC", text)
    if unicodedata.normalize("NFC", unicodedata.normalize("NFD", text)) == composed and "\r" not in text:
        assert similarity(composed, written) == Similarity(1.0, "characters")


@pytest.mark.parametrize(
    ("answer", "edit", "value"),
    [
        ("abcd", "", 0.0),
        ("abcd", "abxd", 0.75),
        ("abcd", "abcdabcd", 0.5),
        ("Zürich", "Zu\u0308rich", 1.0),
        ("if x:\n    y", "if x:\n  y", 1 - 2 / 11),
        ("Yes", "yes", 2 / 3),
        ("one two", "two one", 1 - 6 / 7),
    ],
)
def test_known_values(answer: str, edit: str, value: float) -> None:
    found = similarity(answer, edit)
    assert found is not None
    assert found.value == pytest.approx(value)


def test_long_texts_are_compared_by_words_and_longer_ones_not_at_all() -> None:
    answer = "word " * 50
    edit = answer.replace("word", "other", 5)
    assert similarity(answer, edit, max_cells=100_000) == similarity(answer, edit)
    by_words = similarity(answer, edit, max_cells=10_000)
    assert by_words is not None
    assert by_words.by == "words"
    assert by_words.value == pytest.approx(1 - 5 / 99)
    assert similarity(answer, edit, max_cells=1000) is None
    assert similarity(answer, answer, max_cells=1) == Similarity(1.0, "characters")
