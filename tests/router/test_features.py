"""The features agree with a plain reading of the text, for any text."""

from __future__ import annotations

import itertools
import math
import re
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.features import BUCKETS, STRUCTURE, featurize
from tests.router.prompts import a_prompt

WORD = st.text(alphabet="abcdefgXYZ0123456789é日", min_size=1, max_size=8)


def structure(text: str, **changes: object) -> dict[str, float]:
    return dict(zip(STRUCTURE, featurize(a_prompt(text, **changes)).structure, strict=True))


@given(st.text())
def test_any_text_has_finite_features_in_order(text: str) -> None:
    features = featurize(a_prompt(text))
    assert (np.diff(features.buckets.astype(int)) > 0).all()
    assert (features.buckets < BUCKETS).all()
    assert (features.weights >= 1).all()
    assert len(features.weights) == len(features.buckets)
    assert features.structure.shape == (len(STRUCTURE),)
    assert np.isfinite(features.structure).all()


@given(st.lists(WORD, max_size=30))
def test_one_bucket_for_each_distinct_word_and_pair(words: list[str]) -> None:
    lowered = [word.lower() for word in words]
    counts = Counter(lowered) + Counter(itertools.pairwise(lowered))
    features = featurize(a_prompt(" ".join(words)))
    expected = sorted(1 + math.log(count) for count in counts.values())
    # Two of some sixty hashes may meet in one bucket; then it counts both.
    assert len(expected) - 1 <= len(features.buckets) <= len(expected)
    if len(features.buckets) == len(expected):
        np.testing.assert_allclose(sorted(features.weights), expected)


@given(st.lists(WORD, min_size=1, max_size=10), st.text(alphabet=" \n\t", min_size=1, max_size=5))
def test_case_and_place_of_a_word_do_not_count(words: list[str], space: str) -> None:
    plain = featurize(a_prompt(" ".join(words)))
    moved = featurize(a_prompt(space + space.join(word.upper().lower() for word in words)))
    if all(word.upper().lower() == word.lower() for word in words):
        np.testing.assert_array_equal(plain.buckets, moved.buckets)


def test_the_order_of_words_counts() -> None:
    there, back = featurize(a_prompt("dog bites man")), featurize(a_prompt("man bites dog"))
    assert set(there.buckets) != set(back.buckets)
    assert len(set(there.buckets) & set(back.buckets)) == 3


def test_structure_counts_what_it_says() -> None:
    text = 'Is 12 < 3456?\n{"a": [1]}\n```py\n```\nA) x\nB) y\nC) z'
    found = structure(text, system="Be brief.", messages=3, max_tokens=50, needs=frozenset({"json"}))
    counted = {name: round(math.expm1(value)) for name, value in found.items()}
    assert counted["questions"] == 1
    assert counted["braces"] == 2
    assert counted["numbers"] == len(re.findall(r"\d+", text))
    assert counted["longest_number"] == 4
    assert counted["code_fences"] == 2
    assert counted["options"] == 1
    assert counted["messages"] == 3
    assert counted["max_tokens"] == 50
    assert counted["needs_json"] == 1
    assert counted["user_chars"] == len(text)
    assert counted["system_chars"] == len("Be brief.")
    assert found["no_max_tokens"] == 0
    assert structure("")["no_max_tokens"] == 1


@pytest.mark.parametrize(
    "text", ["", " \n ", "\x00", "\ud800 lone surrogate", "日本語の質問", "ǅ" * 50, "7" * 10_000]
)
def test_odd_texts(text: str) -> None:
    assert np.isfinite(featurize(a_prompt(text)).structure).all()


@pytest.mark.parametrize("limit", [-1, 0, 1, 10**400])
def test_odd_token_limits(limit: int) -> None:
    assert np.isfinite(featurize(a_prompt(max_tokens=limit)).structure).all()


def test_a_huge_prompt_costs_little_and_its_ends_count() -> None:
    started = time.perf_counter()
    huge = featurize(a_prompt("first " + "filler é " * 1_200_000 + " last"))
    assert time.perf_counter() - started < 2
    assert len(huge.buckets) < 20
    for end in ("first", "last"):
        assert set(featurize(a_prompt(end)).buckets) <= set(huge.buckets)


def test_system_and_history_count() -> None:
    alone, told = featurize(a_prompt("go")), featurize(a_prompt("go", system="You sort.", history="earlier"))
    assert set(alone.buckets) < set(told.buckets)


def test_the_features_of_today_are_those_of_yesterday() -> None:
    # A change here breaks every router in force: raise FEATURES_VERSION with it.
    features = featurize(a_prompt("Add 2 and 22, then add 2."))
    assert features.buckets.tolist() == GOLDEN
    assert round(float(features.structure.sum()), 6) == GOLDEN_SUM


GOLDEN = [4164, 5393, 5702, 16926, 21190, 23182, 24126, 30906, 32420, 33219, 46532, 46966, 53775, 60644]
GOLDEN_SUM = 19.191237
