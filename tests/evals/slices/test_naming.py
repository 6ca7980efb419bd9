"""Names tell slices apart, are unique, and hold no word of one user."""

from __future__ import annotations

from evals.slices.naming import class_terms, name_all

SQL = [{"select", "table", "give", "reply"}] * 5
MAIL = [{"address", "mail", "give", "reply"}] * 5


def test_the_words_of_a_slice_come_before_those_of_all() -> None:
    sql, mail = class_terms([SQL, MAIL])
    assert set(sql[:2]) == {"select", "table"}
    assert set(mail[:2]) == {"address", "mail"}


def test_a_word_of_few_prompts_is_no_term() -> None:
    (terms,) = class_terms([[*SQL, {"select", "omar"}, {"select", "omar"}]])
    assert "omar" not in terms


def test_stop_words_are_no_terms() -> None:
    assert class_terms([[{"the", "please", "und", "table"}] * 4]) == [("table",)]


def test_an_only_slice_is_named_by_what_its_prompts_share() -> None:
    (terms,) = class_terms([[{"select", "table"}] * 5 + [{"select"}] * 5])
    assert terms[0] == "select"


def test_names_are_unique() -> None:
    names = name_all(
        [("a", "b", "c", "d"), ("a", "b", "c", "e"), ("a", "b", "c"), (), ()], taken=["a · b · c"]
    )
    assert len({*names, "a · b · c"}) == 6
    assert names[0] == "a · b · c · d"
    assert "unnamed" in names
