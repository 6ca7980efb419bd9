"""Slices by language and by length."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.slices.kinds import UNKNOWN, language_name, language_of, length_name
from tests.evals.slices.prompts import asked


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("How many times does the letter 'e' occur in the word 'keyboards'?", "en"),
        ("Wie viele Tage hat der Monat Februar in einem Schaltjahr?", "de"),
        ("Combien de jours y a-t-il entre le 3 mars et le 12 avril ?", "fr"),
        ("今日の東京の天気を教えてください。", "ja"),
        ("Скажите, пожалуйста, сколько дней бывает в феврале, если год високосный?", "ru"),
    ],
)
def test_languages_are_recognised(text: str, language: str) -> None:
    assert language_name(asked(text)) == language
    assert language_of(asked(text))[1] > 0.8


@pytest.mark.parametrize(
    "text", ["", "ok", "yes please", "2 + 2 = ?", '{"a": 1, "b": [1, 2]}', "'eine lange Zeile hier'"]
)
def test_too_little_text_is_of_unknown_language(text: str) -> None:
    assert language_name(asked(text)) == UNKNOWN


def test_the_language_is_that_of_the_last_message() -> None:
    asked_in_german = asked(
        "Wie viele Tage hat der Monat Februar?", system="Answer in one short word only, please."
    )
    assert language_name(asked_in_german) == "de"


@pytest.mark.parametrize(
    ("characters", "name"),
    [
        (0, "under 64 tokens"),
        (64 * 4 - 1, "under 64 tokens"),
        (64 * 4, "64 to 255 tokens"),
        (4 * 1024, "1,024 to 4,095 tokens"),
        (4 * 4096 - 1, "1,024 to 4,095 tokens"),
        (4 * 4096, "4,096 tokens and more"),
    ],
)
def test_lengths_fall_into_buckets(characters: int, name: str) -> None:
    assert length_name(asked("x" * characters)) == name


@settings(deadline=None)
@given(st.text(max_size=200))
def test_every_text_has_a_language_and_a_length(text: str) -> None:
    assert language_name(asked(text))
    assert length_name(asked(text))
