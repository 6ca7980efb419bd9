"""Near duplicates: found where they are, and not where a template is all that is common."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from distill.dataset.near import similar_pairs
from tests.distill.dataset.traffic import question


def test_case_and_space_make_no_other_text() -> None:
    assert similar_pairs(["What is   the capital?", question(1), "what IS the\ncapital?"]) == [(0, 2)]


def test_one_word_of_many_makes_no_other_text() -> None:
    texts = [question(n, length=20) for n in range(200)]
    texts.append(texts[7].replace(texts[7].split()[9], "hippopotamus"))
    assert similar_pairs(texts) == [(7, 200)]


def test_texts_of_one_template_are_no_duplicates_of_each_other() -> None:
    form = "Say whether the review is positive, negative or neutral. Answer with one word. Review: "
    texts = [form + question(n, length=6) for n in range(300)]
    assert similar_pairs(texts) == []
    copied = [*texts, texts[3] + " "]
    assert similar_pairs(copied) == [(3, 300)]


def test_sums_with_other_numbers_are_other_questions() -> None:
    texts = [f"What is {a} plus {b}?" for a in range(12, 40) for b in range(50, 60)]
    assert similar_pairs(texts) == []


def test_what_everybody_sends_is_a_form_and_links_nobody() -> None:
    assert similar_pairs(["continue"] * 60 + [question(n) for n in range(20)]) == []
    assert similar_pairs(["continue", "continue", question(1)]) == [(0, 1)]


def test_texts_without_spaces_are_compared_too() -> None:
    long = "東京都の人口は何人ですか。また、その面積と人口密度を教えてください。大阪府についても。"
    assert similar_pairs([long, long.replace("大阪府", "京都府"), "名古屋はどこにありますか。"]) == [(0, 1)]


def test_long_texts_are_told_by_their_ends() -> None:
    long = " ".join(question(n, length=30) for n in range(600))
    assert len(long) > 50_000
    other = " ".join(question(n, length=30) for n in range(600, 1200))
    assert similar_pairs([long, other, long + " Thank you."]) == [(0, 2)]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text(max_size=30), max_size=8))
def test_any_texts_can_be_compared(texts: list[str]) -> None:
    pairs = similar_pairs(texts)
    assert pairs == sorted(set(pairs))
    assert all(0 <= i < j < len(texts) for i, j in pairs)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(0, 11), st.sampled_from(["please", "42", "perhaps"]))
def test_a_text_and_itself_with_a_word_more_are_near(number: int, place: int, word: str) -> None:
    words = question(number, length=16).split()
    longer = " ".join([*words[:place], word, *words[place:]])
    others = [question(n, length=16) for n in range(10_001, 10_040)]
    assert similar_pairs([" ".join(words), *others, longer]) == [(0, len(others) + 1)]
