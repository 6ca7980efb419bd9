"""The wire format: what is not read is not touched, and what is wrong is named."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.wire import error_body, events_of, parse_chat, plain_body, read_answer, upstream_body
from stepdown.errors import BadRequest
from tests.fakes import DONE, completion, event, events, usage_event

HELLO = [{"role": "user", "content": "hello"}]


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "stepdown", "messages": HELLO, **fields}).encode()


def test_unknown_fields_reach_the_upstream_byte_for_byte() -> None:
    odd = b'{ "a" :1.0e+2,\t"\\u00e9": [1,  2], "big": 123456789012345678901234567890, "a": -0.0 }'
    sent = (
        b'{"model":"stepdown", "x_odd" : ' + odd + b', "messages":  [ {"role":"user","content":"\\u0068i"}] }'
    )
    out = upstream_body(parse_chat(sent), "gpt")
    assert odd in out
    assert b'[ {"role":"user","content":"\\u0068i"}]' in out
    assert json.loads(out)["model"] == "gpt"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.dictionaries(st.text().map(lambda name: "x_" + name), json_values))
def test_every_other_field_survives(extra: dict[str, Any]) -> None:
    chat = parse_chat(body(**extra))
    for out in (upstream_body(chat, "m"), plain_body(chat, "m")):
        assert json.loads(out) == {"model": "m", "messages": HELLO, **extra}


def test_usage_is_asked_for_in_streams_and_other_options_stay() -> None:
    chat = parse_chat(body(stream=True, stream_options={"include_obfuscation": False}))
    assert not chat.wants_usage
    assert json.loads(upstream_body(chat, "m"))["stream_options"] == {
        "include_obfuscation": False,
        "include_usage": True,
    }
    assert json.loads(upstream_body(parse_chat(body(stream=True)), "m"))["stream_options"] == {
        "include_usage": True
    }
    assert parse_chat(body(stream=True, stream_options={"include_usage": True})).wants_usage


def test_a_plain_request_gets_no_stream_options_and_a_shadow_call_no_stream() -> None:
    assert "stream_options" not in json.loads(upstream_body(parse_chat(body()), "m"))
    streamed = parse_chat(body(stream=True, stream_options={"include_usage": True}, seed=1))
    assert json.loads(plain_body(streamed, "m")) == {"model": "m", "messages": HELLO, "seed": 1}


def test_our_metadata_is_read_and_taken_out() -> None:
    ours = {
        "stepdown.reference": 42,
        "stepdown.check": "number",
        "stepdown.slice": "sums",
        "stepdown.conversation": "c1",
    }
    mixed = parse_chat(body(metadata={**ours, "theirs": "x"}))
    assert json.loads(upstream_body(mixed, "m"))["metadata"] == {"theirs": "x"}
    assert "metadata" not in json.loads(upstream_body(parse_chat(body(metadata=ours)), "m"))
    hints = mixed.hints
    assert (hints.reference, hints.check, hints.slice, hints.conversation) == ("42", "number", "sums", "c1")


@pytest.mark.parametrize(
    ("sent", "param", "shown"),
    [
        (b"", None, "JSON"),
        (b"{", None, "JSON"),
        (b"[]", None, "object"),
        (b"[1,", None, "array"),
        (b'{"model": "a", "messages": [{"role": "user", "content": "\xff"}]}', None, "0xff"),
        (b'{"model": "a", "messages": [{"role": "user", "content": "\\ud800"}]}', None, "JSON"),
        (b"[" * 100_000, None, ""),
        (b'{"x":' * 100_000, None, "JSON"),
        (b'{"messages": [{"role": "user"}]}', "model", "model"),
        (b'{"model": "a"}', "messages", "messages"),
        (body(model=""), "model", "length >= 1"),
        (body(model=5), "model", "5"),
        (body(messages=[]), "messages", "length >= 1"),
        (body(messages="hi"), "messages", "'hi'"),
        (body(messages=[{"role": "user", "content": 5}]), "messages[0].content", "5"),
        (body(messages=[{"content": "x"}]), "messages[0]", "role"),
        (body(temperature="hot"), "temperature", "'hot'"),
        (body(stream="yes"), "stream", "'yes'"),
        (body(max_tokens=1.5), "max_tokens", "1.5"),
        (body(stream_options=[]), "stream_options", "[]"),
        (body(metadata={"stepdown.colour": "red"}), "metadata", "stepdown.colour"),
        (body(metadata={"stepdown.check": 5}), "metadata", "5"),
        (body(metadata={"stepdown.slice": "x" * 201}), "metadata", "200"),
        (body(metadata={"stepdown.conversation": ""}), "metadata", "''"),
    ],
)
def test_bad_input_is_refused_with_its_field_and_value(sent: bytes, param: str | None, shown: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_chat(sent)
    assert refused.value.status == 400
    assert refused.value.param == param
    assert shown in str(refused.value)


@given(st.binary() | st.text().map(str.encode) | json_values.map(lambda v: json.dumps(v).encode()))
def test_nothing_but_a_bad_request_comes_of_bad_bytes(sent: bytes) -> None:
    with pytest.raises(BadRequest):
        parse_chat(sent)


def test_a_plain_answer_is_read() -> None:
    answer = read_answer(completion("Hi.", prompt=11, answer=2))
    assert (answer.text, answer.finish_reason, answer.complete) == ("Hi.", "stop", True)
    assert (answer.prompt_tokens, answer.completion_tokens, answer.cached_tokens) == (11, 2, None)


def test_cached_tokens_and_text_in_parts_are_read() -> None:
    document = {
        "choices": [{"message": {"content": [{"type": "text", "text": "a"}, {"type": "x"}]}}],
        "usage": {
            "prompt_tokens": 9,
            "completion_tokens": 1,
            "prompt_tokens_details": {"cached_tokens": 4},
        },
    }
    answer = read_answer(json.dumps(document).encode())
    assert (answer.text, answer.cached_tokens) == ("a", 4)


def test_a_stream_is_read_whole_and_cut_off() -> None:
    parts = events("Hello there")
    whole = read_answer(b"".join(parts))
    assert (whole.text, whole.finish_reason, whole.complete) == ("Hello there ", "stop", True)
    assert (whole.prompt_tokens, whole.completion_tokens) == (7, 3)
    broken = read_answer(b"".join(parts[:2]) + parts[2][:-9])
    assert (broken.text, broken.complete, broken.prompt_tokens) == ("Hello ", False, None)


def test_what_cannot_be_read_costs_the_whole_but_not_the_rest() -> None:
    for broken in (b"data: {\n\n", b'data: {"choices": []}, {}\n\n'):
        answer = read_answer(event({"content": "a"}) + broken + event({"content": "b"}, "stop") + DONE)
        assert (answer.text, answer.finish_reason, answer.complete) == ("ab", "stop", False)
        assert read_answer(event({"content": "a"}) + DONE + broken).complete


def test_only_the_first_choice_is_text() -> None:
    second = b'data: {"choices": [{"index": 1, "delta": {"content": "no"}, "finish_reason": null}]}\n\n'
    assert read_answer(event({"content": "yes"}) + second + DONE).text == "yes"


def test_an_error_is_no_complete_answer() -> None:
    trouble = error_body("out of memory", kind="server_error")
    assert not read_answer(trouble).complete
    assert not read_answer(event({"content": "a"}) + b"data: " + trouble + b"\n\n" + DONE).complete
    assert not read_answer(b"<html>").complete
    assert not read_answer(b"").complete


def test_events_of_reads_both_line_ends() -> None:
    assert events_of(b": x\r\ndata: 1\r\n\r\ndata:2\n\ndata: \n\n") == [b"1", b"2"]


@given(st.binary())
def test_reading_any_bytes_never_fails(sent: bytes) -> None:
    assert isinstance(read_answer(sent).text, str)
    assert isinstance(read_answer(b"{" + sent).text, str)
    after = read_answer(b"data: " + sent + b"\n\n" + usage_event())
    assert (after.prompt_tokens, after.completion_tokens) == (7, 3), "what comes after is still read"


def test_errors_have_openais_shape() -> None:
    assert json.loads(error_body("no", kind="k", code="c", param="p")) == {
        "error": {"message": "no", "type": "k", "param": "p", "code": "c"}
    }
