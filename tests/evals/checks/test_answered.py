"""Answers that are none: empty, cut off, refused; and answers that only look like it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.checks import build_check
from evals.checks.answered import Answered
from evals.checks.outcome import Subject, applied
from router.wire import ToolCall
from stepdown.records import Verdict

GOOD, BAD = Verdict.GOOD, Verdict.BAD

REFUSED = [
    "I'm sorry, but I can't help with that.",
    "I cannot assist with this request.",
    "Sorry, I can\u2019t provide that.",
    "I won't be able to help with that",
    "I'm unable to answer.",
    "I must respectfully decline.",
    "As an AI language model, I cannot browse the web.",
    "**I'm sorry, but I'm not able to assist**",
    "Es tut mir leid, aber dabei kann ich Ihnen nicht helfen.",
    "Leider kann ich diese Frage nicht beantworten.",
    "Je suis désolé, mais je ne peux pas vous aider.",
    "Lo siento, no puedo ayudarte con eso.",
    "Mi dispiace, ma non posso aiutarti.",
    "Desculpe, mas não posso ajudar com isso.",
    "Sorry, ik kan je daar niet mee helpen.",
    "Przykro mi, ale nie mogę pomóc.",
    "Tyvärr kan jag inte hjälpa dig.",
    "Üzgünüm, bu konuda yardımcı olamam.",
    "К сожалению, я не могу помочь.",
    "На жаль, я не можу допомогти.",
    "عذراً، لا أستطيع مساعدتك",
    "क्षमा करें, मैं इसमें मदद नहीं कर सकता",
    "很抱歉，我无法提供这些信息。",
    "申し訳ありませんが、そのご要望にはお応えできません。",
    "죄송하지만 도와드릴 수 없습니다.",
]
ANSWERED = [
    "I can't find an error in your code.",
    "Sorry for the confusion; the answer is 4.",
    "I cannot stress this enough: use parentheses.",
    "Unfortunately the flight is full.",
    "Sorry, the store closes at 5.",
    "I can help with that.",
    "Ich kann das gut erklären: 5.",
    "Je ne peux pas croire que 4 soit impair.",
    "No puedo dejar de notar que x = 4.",
    "К сожалению, поезд опаздывает.",
    "我认为答案是4",
    "申し訳ありません、答えは4です。",
    "4",
]


@pytest.mark.parametrize("text", REFUSED)
def test_a_refusal_is_bad(text: str) -> None:
    assert Answered()(Subject(text)).verdict is BAD
    assert Answered(refusals=False)(Subject(text)).verdict is GOOD


@pytest.mark.parametrize("text", ANSWERED)
def test_an_answer_that_begins_somewhat_like_a_refusal_is_good(text: str) -> None:
    assert Answered()(Subject(text)).verdict is GOOD


def test_a_refusal_further_on_is_not_looked_for() -> None:
    assert Answered()(Subject("The letter says: " + REFUSED[0])).verdict is GOOD


@pytest.mark.parametrize(
    ("subject", "settings", "verdict"),
    [
        (Subject(""), {}, BAD),
        (Subject(" \n"), {}, BAD),
        (Subject("x"), {"min_chars": 2}, BAD),
        (Subject("", tool_calls=(ToolCall("f", "{}"),), finish_reason="tool_calls"), {}, GOOD),
        (Subject("cut o", finish_reason="length"), {}, BAD),
        (Subject("cut o", finish_reason="length"), {"truncated": False}, GOOD),
        (Subject("x", finish_reason="content_filter"), {}, BAD),
        (Subject("x", finish_reason="stop"), {}, GOOD),
        (Subject("", refusal="I can't."), {}, BAD),
        (Subject("Nope, not today."), {"phrases": ["NOPE"]}, BAD),
        (Subject("Nope, not today."), {}, GOOD),
    ],
)
def test_what_else_is_no_answer(subject: Subject, settings: dict[str, object], verdict: Verdict) -> None:
    check = build_check("a", {"kind": "answered", **settings})
    assert not check.needs_reference
    assert applied(check, subject).verdict is verdict


@given(st.text(max_size=400))
def test_any_text_is_judged(text: str) -> None:
    assert Answered()(Subject(text)).verdict in (GOOD, BAD)
