"""The shortest list of changes between two texts, or none where it would take too long."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from dashboards.word_diff import LONGEST, MOST_CHANGES, Piece, word_diff

WORDS = st.lists(st.sampled_from(["a", "b", "c", "d,"]), max_size=14).map(" ".join)


def longest_common(left: list[str], right: list[str]) -> int:
    """Words in common, by the book."""
    table = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i, one in enumerate(left):
        for j, other in enumerate(right):
            table[i + 1][j + 1] = table[i][j] + 1 if one == other else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


@given(WORDS, WORDS)
def test_as_many_words_as_can_be_are_shared_in_order_and_no_text_is_lost(left: str, right: str) -> None:
    found = word_diff(left, right)
    assert found is not None
    for side, text in ((found.left, left), (found.right, right)):
        assert "".join(piece.text for piece in side) == text
        assert all(one.is_shared != other.is_shared for one, other in pairwise(side))
    shared = [[word for piece in side if piece.is_shared for word in piece.text.split()] for side in found]
    assert shared[0] == shared[1]
    assert len(shared[0]) == longest_common(left.split(), right.split())


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_comes_back_whole(left: str, right: str) -> None:
    found = word_diff(left, right)
    assert found is not None
    assert ("".join(p.text for p in found.left), "".join(p.text for p in found.right)) == (left, right)


def test_white_space_does_not_count_and_signs_without_spaces_are_words() -> None:
    assert word_diff("one  two\n", "one two") == ([Piece("one  two\n", True)], [Piece("one two", True)])
    found = word_diff("今日は晴れ", "今日は雨")
    assert found is not None
    assert found.left == [Piece("今日は", True), Piece("晴れ", False)]


def test_texts_that_are_too_long_or_too_different_are_not_compared() -> None:
    assert word_diff("x" * LONGEST, "x" * LONGEST) is not None
    assert word_diff("x" * (LONGEST + 1), "x") is None
    half = MOST_CHANGES // 2
    ours, theirs = " ".join(f"a{n}" for n in range(half)), " ".join(f"b{n}" for n in range(half))
    assert word_diff(ours, theirs) is not None
    assert word_diff(f"{ours} more", theirs) is None
    turned = " ".join(reversed([f"a{n}" for n in range(half + 2)]))  # the same words, in another order
    assert word_diff(f"{ours} a{half} a{half + 1}", turned) is None
