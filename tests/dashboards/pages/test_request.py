"""One request in full, whatever became of its texts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stepdown.ids import digest
from stepdown.ledger import Body
from stepdown.records import (
    Arm,
    Deployed,
    Feedback,
    Mode,
    Promotion,
    Reason,
    Tier,
    Verdict,
)
from stepdown.settings import TaskSettings
from tests.dashboards.asking import START, asked, chat, label
from tests.dashboards.conftest import Dashboard, Open
from tests.fakes import completion, events

PATH = "/requests/request-000001"
TEXT = "text/plain; charset=utf-8"


def keep(dashboard: Dashboard, *records: Any) -> None:
    """Put records into the ledger."""
    dashboard.ledger.append(records)


def test_there_is_no_such_request(dashboard: Dashboard) -> None:
    answer = dashboard.get("/requests/nothing")
    assert answer.status_code == 404
    assert "there is no request" in answer.text


def test_both_answers_stand_side_by_side_with_their_words_compared(dashboard: Dashboard) -> None:
    keep(dashboard, *asked(1, answer="The cat sat on <b>the mat", shadow="The dog sat on <b>the mat"))
    html = dashboard.html(PATH)
    assert 'The <del class="plain">cat </del>sat on &lt;b&gt;the mat' in html
    assert "The <ins>dog </ins>sat on &lt;b&gt;the mat" in html
    assert "Both answers" in html


def test_answers_with_little_in_common_are_not_compared(dashboard: Dashboard) -> None:
    keep(dashboard, *asked(1, answer="a " * 9000, shadow="b " * 15000))
    html = dashboard.html(PATH)
    assert "<del" not in html
    assert "Not compared word by word" in html


def test_the_decision_is_explained(dashboard: Dashboard) -> None:
    scores = {
        "p_strong": 0.9,
        "p_small": 0.88,
        "gain": 0.02,
        "threshold": 0.05,
        "policy": "r" * 64,
        "propensity": 0.95,
    }
    made = {**scores, "student": "5" * 64, "arm": Arm.CANARY}
    fields = asked(1, tier=Tier.SMALL, reason=Reason.ROUTED_SMALL, mode=Mode.ROUTE, decision=made)
    for sequence, at in ((1, START), (2, START.replace(year=2027))):
        in_force = Deployed(mode=Mode.ROUTE)._asdict()
        fields.append(
            Promotion(
                task="default",
                sequence=sequence,
                at=at,
                actor="auto",
                reason=f"reason {sequence}",
                **in_force,
            )
        )
    keep(dashboard, *fields)
    html = dashboard.html(PATH)
    assert "is at most the threshold, so small answers" in html
    assert "strong a 90.0% chance of a good answer and small 88.0%" in html
    assert "would gain +2.0 points, at most the threshold of +5.0" in html
    assert "<svg" in html
    assert "promotion 1" in html
    assert "promotion 2" not in html
    assert "canary" in html
    assert "0.95" in html


def test_labels_feedback_reference_and_trace_are_shown(dashboard: Dashboard) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    keep(
        dashboard,
        *asked(1, verdict=Verdict.BAD, reference='{"total": 12}', check="sum", trace=trace, slice="invoices"),
        label("call-000001", Verdict.GOOD, "judge:helpful", evidence="<i>why</i>", cost_usd_micros=40),
        Feedback(id="f", request="request-000001", at=START, kind="comment", value='"so <la la>"'),
    )
    html = dashboard.html(PATH)
    assert "as it should be" in html
    assert "&lt;i&gt;why&lt;/i&gt;" in html
    assert "so &lt;la la&gt;" in html
    assert "&#34;total&#34;: 12" in html
    assert "4bf92f3577b34da6a3ce929d0e0e4736" in html
    assert "$0.000140" in html  # the call and the judge
    assert "/requests?task=default&amp;slice=invoices" in html


def test_an_uploaded_reference_is_said_to_be_one(dashboard: Dashboard) -> None:
    keep(dashboard, *asked(1, prompt="What is 1 + 1?"))
    with dashboard.ledger.writing() as connection:
        connection.exec_driver_sql(
            'INSERT INTO answers (task, prompt_hash, at, reference, "check") '
            f"VALUES ('default', '{digest(b'What is 1 + 1?')[:32]}', 0, '\"two\"', 'exact')"
        )
    html = dashboard.html(PATH)
    assert "from the uploaded answers" in html
    assert ">two</pre>" in html


def test_what_strong_would_have_cost_is_known_from_its_price_or_its_answer(dashboard: Dashboard) -> None:
    keep(dashboard, *asked(1, tier=Tier.SMALL), *asked(2, tier=Tier.SMALL, shadow="from strong"))
    assert "would have cost about $0.000048" in " ".join(dashboard.html(PATH).split())  # 7 x 2.5 + 3 x 10
    assert "which was asked too, cost" in dashboard.html("/requests/request-000002")


def test_messages_of_all_kinds_are_text(dashboard: Dashboard) -> None:
    image = "data:image/png;base64," + "A" * 5000
    messages = [
        {"role": "system", "content": "Be <b>brief</b>."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look:"},
                {"type": "image_url", "image_url": {"url": image}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "find", "arguments": '{"q": 1}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "call-1", "content": "found"},
        {"role": "user", "content": "مرحبا"},
        "not a message",
    ]
    tools = [{"type": "function", "function": {"name": "find", "parameters": {}}}]
    body = json.dumps({"model": "m", "messages": messages, "tools": tools, "temperature": 0.5}).encode()
    keep(dashboard, *asked(1, body=body))
    html = dashboard.html(PATH)
    assert "Be &lt;b&gt;brief&lt;/b&gt;." in html
    assert "image in the request (image/png, 5,022 characters)" in html
    assert "AAAAAAAAAA" not in html
    assert "calls find({&#34;q&#34;: 1})" in html
    assert "call-1" in html
    assert "1 tools: find" in html
    assert "<dt>temperature</dt>" in html
    assert html.index("Look:") < html.index("مرحبا")


@pytest.mark.parametrize("body", [b"\xff\xfe not a text", b"[1, 2", b'{"messages": 5}', b"[" * 5000, b"null"])
def test_a_body_that_is_no_chat_request_is_shown_as_it_is(dashboard: Dashboard, body: bytes) -> None:
    keep(dashboard, *asked(1, body=body))
    assert "It is no chat request" in dashboard.html(PATH)
    assert dashboard.get(f"{PATH}/text/prompt").content == body
    assert dashboard.get("/requests").status_code == 200


@pytest.mark.parametrize("is_stream", [False, True])
def test_ten_megabytes_are_cut_with_a_note(dashboard: Dashboard, is_stream: bool) -> None:
    long = "wörd " * 2_000_000
    answer = b"".join(events("wörd " * 70_000)) if is_stream else completion(long)
    keep(dashboard, *asked(1, body=chat(long), answer=answer))
    html = dashboard.html(PATH)
    assert len(html) < 300_000
    assert "9,900,000 more characters are in the" in html
    assert html.count("more characters are in the raw text") == (0 if is_stream else 1)
    assert ("more bytes of its stream" in html) == is_stream
    assert dashboard.get(f"{PATH}/text/prompt").content == chat(long)


def test_of_a_long_conversation_the_last_message_is_shown_first_of_all(dashboard: Dashboard) -> None:
    messages = [{"role": "user", "content": f"{n} " + "x" * 1000} for n in range(700)]
    messages[499] = {"role": "user", "content": "the last that is shown"}
    keep(dashboard, *asked(1, body=json.dumps({"messages": messages}).encode()))
    html = dashboard.html(PATH)
    assert "200 more messages" in html
    assert "the last that is shown" in html


def test_a_text_that_is_gone_or_corrupt_is_said_to_be(dashboard: Dashboard) -> None:
    records = asked(1, prompt="secret words", answer="other words")
    keep(dashboard, *records)
    prompt, answer = (record for record in records if isinstance(record, Body))
    with dashboard.ledger.writing() as connection:
        connection.exec_driver_sql(f"DELETE FROM bodies WHERE digest = '{prompt.digest}'")
        connection.exec_driver_sql(f"UPDATE bodies SET content = X'0011' WHERE digest = '{answer.digest}'")
    html = dashboard.html(PATH)
    assert "its text was deleted" in html
    assert "its text is corrupt" in html
    assert "Replay this prompt" not in html
    gone = dashboard.get(f"{PATH}/text/prompt")
    assert gone.status_code == 404
    assert "retention has ended" in gone.text


def test_raw_texts_are_files_of_plain_text(dashboard: Dashboard) -> None:
    keep(
        dashboard,
        *asked(1, prompt="<script>alert(1)</script>", answer="<html>"),
        *asked(2, answer="of another"),
    )
    for what, content in (
        ("prompt", chat("<script>alert(1)</script>")),
        ("call-000001", completion("<html>")),
    ):
        answer = dashboard.get(f"{PATH}/text/{what}")
        assert answer.content == content
        assert answer.headers["content-type"] == TEXT
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-disposition"].startswith("attachment;")
    assert dashboard.get(f"{PATH}/text/call-000002").status_code == 404  # of another request


def test_a_request_that_failed_says_how(dashboard: Dashboard) -> None:
    call = {
        "status": 0,
        "complete": False,
        "error": "model 'strong' cannot be reached",
        "body": None,
        "ttft_ms": None,
    }
    keep(dashboard, *asked(1, status=503, cost=None, call={**call, "latency_ms": 3.0}))
    html = dashboard.html(PATH)
    assert "No model answered" in html
    assert "cannot be reached" in html
    assert "not measured" in html


def test_a_request_on_which_nothing_was_decided(dashboard: Dashboard) -> None:
    keep(dashboard, *asked(1, decided=False, status=400))
    html = dashboard.html(PATH)
    assert "Nothing was decided" in html
    assert "No model was asked" in html


def test_a_permalink_leads_to_the_task_of_its_request(open_dashboard: Open) -> None:
    dashboard = open_dashboard(tasks={"default": TaskSettings(), "other": TaskSettings()})
    keep(dashboard, *asked(1, task="other"), *asked(2, task="undeclared"))
    assert dashboard.get(PATH).headers["location"] == f"{PATH}?task=other"
    assert dashboard.get("/requests/request-000002").status_code == 200
