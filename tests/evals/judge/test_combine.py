"""Rulings: orders that disagree tie, unreadable votes count for nobody, and the majority needs to be one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.judge.combine import Part, Reading, parts_of, rule
from evals.judge.verdict import Opinion, Unreadable

NONE = Unreadable("prose")


def pair(*votes: tuple[str, str]) -> dict[str, Reading]:
    """Opinions of votes: what was said with the first answer as A, and what with the second as A."""
    return {
        Part(number, swapped).name: NONE if choice == "?" else Opinion(choice, f"{number}{choice}")
        for number, vote in enumerate(votes, 1)
        for swapped, choice in zip((False, True), vote, strict=True)
    }


@pytest.mark.parametrize(
    ("votes", "scores", "disagreed"),
    [
        ([("A", "B")], (1, 0), 0),
        ([("B", "A")], (0, 1), 0),
        ([("tie", "tie")], (0.5, 0.5), 0),
        ([("A", "A")], (0.5, 0.5), 1),  # whatever is shown first wins
        ([("A", "tie")], (0.5, 0.5), 1),
        ([("A", "?")], None, 0),
        ([("?", "?")], None, 0),
        ([("A", "B"), ("A", "B"), ("B", "A")], (1, 0), 0),
        ([("A", "B"), ("B", "A")], (0.5, 0.5), 0),
        ([("A", "B"), ("?", "A")], (1, 0), 0),  # the other vote decides
        ([("A", "B"), ("A", "B"), ("A", "A"), ("tie", "tie")], (0.5, 0.5), 1),  # half is no majority
    ],
)
def test_pairs(votes: list[tuple[str, str]], scores: tuple[float, ...] | None, disagreed: int) -> None:
    ruling = rule("pairwise", len(votes), pair(*votes))
    assert (ruling.scores, ruling.disagreed) == (scores, disagreed)


@pytest.mark.parametrize(
    ("votes", "scores"),
    [
        (["good"], (1.0,)),
        (["bad"], (0.0,)),
        (["good", "good", "bad"], (2 / 3,)),
        (["good", "bad"], None),
        (["good", "?"], (1.0,)),
        (["?"], None),
    ],
)
def test_single_answers(votes: list[str], scores: tuple[float, ...] | None) -> None:
    opinions = {str(i): NONE if v == "?" else Opinion(v, "because") for i, v in enumerate(votes, 1)}
    assert rule("single", len(votes), opinions).scores == scores


def test_the_ruling_says_how_it_came_about() -> None:
    words = rule("pairwise", 3, pair(("B", "A"), ("A", "A"), ("B", "A"))).words
    assert words == "2 of 3 votes, the two orders disagreed in 1: 1B"
    assert rule("pairwise", 1, pair(("?", "A"))).words == "prose"


choices = st.sampled_from(["A", "B", "tie", "?"])
FLIP = {"A": "B", "B": "A"}


@given(st.lists(st.tuples(choices, choices), min_size=1, max_size=5))
def test_naming_the_answers_the_other_way_round_turns_the_ruling_round(votes: list[tuple[str, str]]) -> None:
    turned = [(swapped, plain) for plain, swapped in votes]
    one, other = (rule("pairwise", len(v), pair(*v)) for v in (votes, turned))
    assert other.scores == (None if one.scores is None else one.scores[::-1])
    assert one.disagreed == other.disagreed


@given(st.lists(st.tuples(choices, choices), min_size=1, max_size=5))
def test_a_judge_that_only_looks_at_the_place_never_makes_a_winner(votes: list[tuple[str, str]]) -> None:
    placed = [("A", "A") if plain in ("A", "tie") else ("B", "B") for plain, _ in votes]
    assert rule("pairwise", len(placed), pair(*placed)).scores == (0.5, 0.5)


def test_parts() -> None:
    assert [part.name for part in parts_of("pairwise", 2)] == ["1", "1s", "2", "2s"]
    assert [part.name for part in parts_of("single", 2)] == ["1", "2"]
