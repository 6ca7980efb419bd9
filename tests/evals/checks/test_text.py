"""Checks of text: exact, choice, regex."""

from __future__ import annotations

import string
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.checks import Subject, build_check
from evals.checks.outcome import EVIDENCE_CHARS
from evals.checks.text import Choice, Exact, Regex, unfenced
from stepdown.errors import CheckError
from stepdown.records import Verdict

GOOD, BAD = Verdict.GOOD, Verdict.BAD


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("```sql\nSELECT 1\n```", "SELECT 1"),
        ("```SELECT 1```", "SELECT 1"),
        ("Sure:\n```python \r\nx = 1\r\n```\nand ```y```", "x = 1"),
        ("```\nplain\n```", "plain"),
        (" no fence ", "no fence"),
        ("``` never closed", "``` never closed"),
    ],
)
def test_unfenced(text: str, inside: str) -> None:
    assert unfenced(text) == inside


@given(st.text(string.ascii_letters + string.digits + " ", min_size=1))
def test_exact_looks_past_case_space_quotes_and_fences(text: str) -> None:
    for dressed in (text.upper(), f"  {text}\n", f'"{text}"', f"```\n{text}\n```", text.replace(" ", "\t")):
        assert Exact()(Subject(dressed, text)).verdict is GOOD


def test_exact_sees_what_its_settings_tell_it_to() -> None:
    assert Exact(ignore_case=False)(Subject("Yes", "yes")).verdict is BAD
    assert Exact()(Subject("e-mail", "email")).verdict is BAD
    assert Exact(ignore_punctuation=True)(Subject("e-mail!", "email")).verdict is GOOD
    assert Exact(ignore_space=True)(Subject("a b", "ab")).verdict is GOOD
    assert Exact()(Subject("ﬁne", "fine")).verdict is GOOD
    assert Exact()(Subject("12", 12)).verdict is GOOD


@pytest.mark.parametrize(
    ("settings", "text", "reference", "good"),
    [
        ({}, "don\u2019t \u2013 \u201cstop\u201d", 'don\'t - "stop"', True),
        ({}, "so\u00adft\u200b \ufeffhyphen", "soft hyphen", True),
        ({}, "\u00a0caf\u0065\u0301\u2003noir ", "Caf\u00e9 Noir", True),
        ({}, "STRASSE", "stra\u00dfe", True),
        ({}, "\uff21\uff11", "a1", True),
        ({}, "cafe", "caf\u00e9", False),
        ({"ignore_accents": True}, "cafe", "caf\u00e9", True),
        ({}, "The Beatles", "beatles", False),
        ({"ignore_articles": "en"}, "The Beatles", "a Beatles", True),
        ({"ignore_articles": "en"}, "theory", "ory", False),
        ({"ignore_articles": "fr"}, "L'homme", "homme", True),
        ({"ignore_articles": "de"}, "Der Hund", "hund", True),
        ({"ignore_punctuation": True}, "\u00bfqu\u00e9? $5", "qu\u00e9 $5", True),
        ({}, "New York", ["NYC", "new york"], True),
        ({}, "Boston", ["NYC", "new york"], False),
        ({}, "", "", True),
    ],
)
def test_exact_takes_texts_that_mean_the_same_for_the_same(
    settings: dict[str, object], text: str, reference: object, good: bool
) -> None:
    check = build_check("e", {"kind": "exact", **settings})
    assert (check(Subject(text, reference)).verdict is GOOD) == good


@given(st.text(max_size=40))
def test_exact_is_equal_to_itself_in_every_form_of_unicode(text: str) -> None:
    check = Exact(ignore_accents=True, ignore_articles="en", ignore_punctuation=True)
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert (
            check(Subject(f"```\n{unicodedata.normalize(form, text)}\n```", text)).verdict is GOOD
            or "`" in text
        )


def test_exact_refuses_a_list_that_holds_no_texts() -> None:
    for reference in ([], [None], [["x"]]):
        with pytest.raises(CheckError, match="is not text"):
            Exact()(Subject("x", reference))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("B", ["B"]),
        ("(B)", ["B"]),
        ("The answer is B.", ["B"]),
        ("A is wrong. Answer: B, as C is too", ["B"]),
        ("B is the answer", ["B"]),
        ("A or B", ["A", "B"]),
        ("I took a bus", []),
        ("ABBA", []),
        ("", []),
    ],
)
def test_choice_of_letters(text: str, named: list[str]) -> None:
    assert Choice()._named(text) == named
    assert (Choice()(Subject(text, "B")).verdict is GOOD) == (named == ["B"])


@given(st.text(max_size=80))
def test_choice_takes_any_text(text: str) -> None:
    named = Choice(options=("ai", "kiss", "C++"))._named(text + " aı K ſ İ")
    assert set(named) <= {"ai", "kiss", "C++"}


def test_choice_of_words_looks_past_case_and_prefers_the_longer() -> None:
    check = Choice(options=("positive", "very positive"))
    assert check(Subject("Very Positive", "very positive")).verdict is GOOD
    assert check(Subject("Very Positive", "positive")).verdict is BAD


def test_letters_that_python_folds_together_do_no_harm() -> None:
    assert Choice(options=("ai", "bo"))(Subject("aı", "ai")).verdict in (GOOD, BAD)


@pytest.mark.parametrize("options", [("A",), ("A", "A"), ("yes", "YES")])
def test_options_that_are_no_choice_are_refused(options: tuple[str, ...]) -> None:
    with pytest.raises(CheckError, match="check 'c' of kind 'choice': options"):
        build_check("c", {"kind": "choice", "options": options})


def test_a_reference_that_is_no_option_is_refused() -> None:
    with pytest.raises(CheckError, match="'E' is not one of the options A, B, C, D"):
        Choice()(Subject("A", "E"))


@pytest.mark.parametrize(
    ("check", "text", "reference", "verdict"),
    [
        (Regex(pattern="b+"), "abba", None, GOOD),
        (Regex(pattern="b+", match="whole"), "abba", None, BAD),
        (Regex(pattern="B+", ignore_case=True), "abba", None, GOOD),
        (Regex(), "2026-11-01", r"\d{4}-\d\d-\d\d", GOOD),
        (Regex(pattern="x=1", ignore_space=True), "x = 1", None, GOOD),
        (Regex(pattern="x", match="whole", unfence=True), "```py\nx\n```", None, GOOD),
    ],
)
def test_regex(check: Regex, text: str, reference: str | None, verdict: Verdict) -> None:
    assert check(Subject(text, reference)).verdict is verdict
    assert check.needs_reference == (check.pattern is None)


def test_a_pattern_that_is_none_is_refused_where_it_is_set_and_where_it_is_a_reference() -> None:
    with pytest.raises(CheckError, match=r"check 'r' of kind 'regex': pattern '\('"):
        build_check("r", {"kind": "regex", "pattern": "("})
    with pytest.raises(CheckError, match="is not a regular expression"):
        Regex()(Subject("x", "("))


@pytest.mark.parametrize("check", [Exact(), Choice(), Regex()])
def test_a_missing_reference_is_refused(check: Exact | Choice | Regex) -> None:
    assert check.needs_reference
    with pytest.raises(CheckError, match="reference None"):
        check(Subject("x"))


def test_evidence_is_short_however_long_the_answer() -> None:
    assert len(Exact()(Subject("x" * 100_000, "y")).evidence) <= EVIDENCE_CHARS


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "vibes"}, "kind 'vibes'; known kinds: exact, choice"),
        ({}, "kind None"),
        ({"kind": "exact", "ignore_cases": True}, "unknown field `ignore_cases`"),
        ({"kind": "number", "absolute": "x"}, "Expected `float`"),
        ({"kind": "number", "absolute": -1.0}, "must not be negative"),
    ],
)
def test_bad_settings_are_refused_by_name(settings: dict[str, object], message: str) -> None:
    with pytest.raises(CheckError, match=message):
        build_check("mine", settings)
