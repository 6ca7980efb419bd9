"""Personal data: what is found, what is not, and that nothing of it is left."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.dataset.personal import Redactor, find, iban, luhn, redact

CARD = "4111 1111 1111 1111"
IBAN = "DE89 3704 0044 0532 0130 00"

emails = st.from_regex(r"[a-z][a-z0-9.]{0,10}@[a-z]{2,10}\.(com|org|co\.uk)", fullmatch=True)
plain_words = st.lists(
    st.sampled_from("the cat sat on a mat near 12 or 3.14 dogs in 2026".split()), max_size=8
)


def with_check_digit(digits: str) -> str:
    return next(digits + last for last in "0123456789" if luhn(digits + last))


cards = st.from_regex(r"(4[0-9]{14}|5[1-5][0-9]{13})", fullmatch=True).map(with_check_digit)


def iban_of(account: str) -> str:
    return next(f"DE{n:02d}{account}" for n in range(98, 0, -1) if iban(f"DE{n:02d}{account}"))


ibans = st.from_regex(r"[0-9]{18}", fullmatch=True).map(iban_of)
phones = st.from_regex(r"\+[1-9][0-9]{2} [0-9]{3} [0-9]{4}", fullmatch=True)
keys = st.from_regex(r"(sk-proj-[A-Za-z0-9]{24}|ghp_[A-Za-z0-9]{36}|AKIA[A-Z0-9]{16})", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("write to jo.doe+x@mail.example.com.", "EMAIL", "jo.doe+x@mail.example.com"),
        (f"card {CARD}, please", "CARD", CARD),
        ("card 5500-0000-0000-0004", "CARD", "5500-0000-0000-0004"),
        ("amex 378282246310005!", "CARD", "378282246310005"),
        (f"pay to {IBAN} by Monday", "ACCOUNT", IBAN),
        ("GB82WEST12345698765432", "ACCOUNT", "GB82WEST12345698765432"),
        ("call +49 30 901820 now", "PHONE", "+49 30 901820"),
        ("call (555) 123-4567", "PHONE", "(555) 123-4567"),
        ("555-123-4567", "PHONE", "555-123-4567"),
        ("Tel. 030/901820-11", "PHONE", "030/901820-11"),
        ("key sk-abcdefghijklmnopqrstuvwx", "KEY", "sk-abcdefghijklmnopqrstuvwx"),
        ("github_pat_11ABCDEFG0123456789_abcdefghijklmnopqrstuvwxyz", "KEY", None),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----", "KEY", None),
        ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.s5X0abcdefghij", "KEY", None),
    ],
)
def test_personal_data_is_found(text: str, kind: str, value: str | None) -> None:
    (found,) = find(text)
    assert found.kind == kind
    assert text[found.start : found.end] == found.value
    assert value is None or found.value == value


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112 has a wrong checksum",
        "GB83WEST12345698765432 has a wrong checksum",
        "There are 12,345,678 people and 3.14159265358979 is pi",
        "1234567890123 sheep, 2026-11-22 12:30:00, version 1.2.3.4",
        "what is 100000000 - 200000000 + 300000000?",
        "0000 0000 0000 0000",
        "a task-based, risk-averse ask-me-anything",
        "@property\ndef f(self): return a@b",
        "555 123 4567 apples",
        "",
    ],
)
def test_what_only_looks_like_it_is_left(text: str) -> None:
    assert find(text) == []


def test_the_same_value_has_the_same_placeholder_in_prompt_and_answer() -> None:
    redacted = redact(
        [
            {"role": "user", "content": "Mail a@x.org and b@x.org"},
            {"role": "assistant", "content": "Sent to B@x.org, then a@x.org. Paid with 4111111111111111."},
        ]
    )
    assert [message["content"] for message in redacted.messages] == [
        "Mail [EMAIL_1] and [EMAIL_2]",
        "Sent to [EMAIL_2], then [EMAIL_1]. Paid with [CARD_1].",
    ]
    assert redacted.seen == {"EMAIL": 2, "CARD": 1}


def test_a_placeholder_that_was_there_before_keeps_its_meaning() -> None:
    redacted = redact([{"role": "user", "content": "[EMAIL_1] is not a@x.org"}])
    assert redacted.messages[0]["content"] == "[EMAIL_1] is not [EMAIL_2]"


def test_arguments_of_tools_stay_json() -> None:
    arguments = json.dumps({"to": "a@x.org", "card": 4111111111111111, "n": 3, "ok": True})
    call = {"id": "c", "type": "function", "function": {"name": "pay", "arguments": arguments}}
    message = {"role": "assistant", "content": "", "tool_calls": [call]}
    (redacted,) = redact([message]).messages
    after = json.loads(redacted["tool_calls"][0]["function"]["arguments"])
    assert after == {"to": "[EMAIL_1]", "card": "[CARD_1]", "n": 3, "ok": True}
    untouched = {"id": "c", "function": {"name": "f", "arguments": '{"a" :  1}'}}
    (same,) = redact([{"role": "assistant", "content": "", "tool_calls": [untouched]}]).messages
    assert same["tool_calls"] == [untouched]


@given(st.lists(st.tuples(plain_words, st.one_of(emails, cards, ibans, phones, keys)), max_size=5))
def test_nothing_personal_is_left_and_the_rest_stays(pieces: list[tuple[list[str], str]]) -> None:
    text = " ; ".join(" ".join([*words, "x", secret, "y"]) for words, secret in pieces)
    redacted = Redactor([text]).text(text)
    for words, secret in pieces:
        assert secret not in redacted
        assert " ".join(words) in redacted
    assert find(redacted) == []
    assert Redactor([redacted]).text(redacted) == redacted


@given(st.text(max_size=200))
def test_any_text_can_be_looked_at(text: str) -> None:
    places = [(found.start, found.end) for found in find(text)]
    assert all(text[start:end] for start, end in places)
    assert all(a[1] <= b[0] for a, b in pairwise(places))


@given(st.from_regex(r"[0-9]{12,18}", fullmatch=True), st.integers(0, 11), st.integers(1, 9))
def test_luhn_sees_every_wrong_digit(digits: str, place: int, more: int) -> None:
    whole = with_check_digit(digits)
    wrong = str((int(whole[place]) + more) % 10)
    assert luhn(whole)
    assert not luhn(whole[:place] + wrong + whole[place + 1 :])
