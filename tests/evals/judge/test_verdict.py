"""Judges' answers: the one form that is read, and everything else, which is not."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.judge.prompts import CHOICES, KEY
from evals.judge.verdict import Opinion, Unreadable, read_opinion

KINDS = st.sampled_from(["pairwise", "single"])


@given(KINDS, st.data(), st.text(), st.sampled_from(["", "```json\n", "```\n"]), st.sampled_from(["", " \n"]))
def test_the_form_is_read_back(kind: str, data: st.DataObject, reason: str, fence: str, space: str) -> None:
    choice = data.draw(st.sampled_from(CHOICES[kind]))
    text = json.dumps({"reason": reason, KEY[kind]: choice})
    end = "\n```" if fence else ""
    assert read_opinion(kind, f"{space}{fence}{text}{end}{space}", "stop") == Opinion(choice, reason)


@given(KINDS, st.text())
def test_prose_is_never_a_verdict(kind: str, text: str) -> None:
    assert isinstance(read_opinion(kind, text), Unreadable)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["A", "B", "tie"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["reason", "winner", "verdict", "x"]), inner, max_size=4
    ),
)  # fmt: skip


@given(KINDS, anything)
def test_any_json_is_read_only_in_the_one_form(kind: str, said: object) -> None:
    read = read_opinion(kind, json.dumps(said))
    form = isinstance(said, dict) and set(said) == {"reason", KEY[kind]} and isinstance(said["reason"], str)
    if form and isinstance(said, dict) and said[KEY[kind]] in CHOICES[kind]:
        assert read == Opinion(said[KEY[kind]], said["reason"])
    else:
        assert isinstance(read, Unreadable)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not one JSON object"),
        ('A wins. {"reason": "", "winner": "A"}', "not one JSON object"),
        ('{"reason": "", "winner": "A"} {"reason": "", "winner": "B"}', "not one JSON object"),
        ('{"reason": "", "winner": "A"', "not one JSON object"),
        ('```json\n{"reason": "", "winner": "A"}\n```\nSo A.', "not one JSON object"),
        ('{"reason": "", "winner": "A", "winner": "B"}', "a key twice"),
        ('{"reason": NaN, "winner": "A"}', "NaN"),
        ('{"reason": "", "winner": "a"}', "'a'"),
        ('{"reason": "", "winner": "C"}', "'C'"),
        ('{"reason": "", "winner": ["A"]}', "['A']"),
        ('{"winner": "A"}', "its keys are ['winner']"),
        ('{"reason": "", "winner": "A", "confidence": 1}', "its keys are"),
        ('{"reason": 1, "winner": "A"}', "no text"),
        ('["A"]', "not a JSON object"),
        ("[" * 100_000, "not one JSON object"),
    ],
)
def test_whatever_else_says_why(text: str, why: str) -> None:
    read = read_opinion("pairwise", text, "stop")
    assert isinstance(read, Unreadable)
    assert why in read.why
    assert len(read.why) < 400


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_an_answer_that_was_broken_off_is_not_read_even_where_it_could_be(reason: str) -> None:
    assert isinstance(read_opinion("single", '{"reason": "", "verdict": "good"}', reason), Unreadable)
