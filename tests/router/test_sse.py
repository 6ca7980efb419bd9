"""Server-sent events: however the network cuts them, the same events and the same bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.sse import Gate, Splitter, data_of, events_in, is_done, is_usage_only
from tests.fakes import DONE, event, events, usage_event


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({min(place, len(stream)) for place in places} | {len(stream)})
    return [stream[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def split(chunks: list[bytes]) -> tuple[list[bytes], bytes]:
    splitter = Splitter()
    found = [whole for chunk in chunks for whole in events_in(splitter.feed(chunk))]
    return found, splitter.rest()


lines = st.sampled_from([b"data: a", b"data: [DONE]", b": note", b"event: x", b"", b"data:", b"id: 1"])
streams = st.lists(st.tuples(lines, st.sampled_from([b"\n", b"\r\n", b"\r"]))).map(
    lambda pairs: b"".join(line + end for line, end in pairs)
)
places = st.lists(st.integers(0, 200))


@given(streams | st.binary(max_size=200), places)
def test_any_cut_gives_the_same_events_and_loses_no_byte(stream: bytes, at: list[int]) -> None:
    found, rest = split(cut(stream, at))
    assert b"".join(found) + rest == stream
    assert (found, rest) == split([stream[i : i + 1] for i in range(len(stream))])


def test_events_end_at_blank_lines_of_every_kind() -> None:
    found, rest = split([b"data: 1\n\ndata: 2\r\n\r\ndata: 3\r\rdata: 4\n", b"x"])
    assert found == [b"data: 1\n\n", b"data: 2\r\n\r\n", b"data: 3\r\r"]
    assert rest == b"data: 4\nx"


def test_a_line_end_of_two_bytes_is_not_a_blank_line() -> None:
    assert split([b"event: x\r\ndata: 1\r\n\r\n"])[0] == [b"event: x\r\ndata: 1\r\n\r\n"]


def test_done_is_told_from_text_that_speaks_of_it() -> None:
    assert is_done(DONE)
    assert is_done(b"data:[DONE]\r\n\r\n")
    assert not is_done(event({"content": "[DONE]"}))


def test_data_of_joins_the_data_lines() -> None:
    assert data_of(b": c\r\nevent: x\r\ndata: 1\r\ndata:2 \r\n\r\n") == b"1\n2"


def test_usage_only_is_told_from_what_resembles_it() -> None:
    assert is_usage_only(usage_event())
    assert not is_usage_only(event({"content": "x"}, usage={"prompt_tokens": 1}))
    assert not is_usage_only(event({"content": '"choices": [] "usage"'}))
    assert not is_usage_only(b'data: {"choices": [], "usage": null}\n\n')
    assert not is_usage_only(b'data: {"choices": [], "usage"\n\n')
    assert not is_usage_only(b'data: {"choices": [], "prompt_filter_results": []}\n\n')


@given(places, st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_the_gate_holds_the_end_and_withholds_usage(at: list[int], end_of_line: bytes) -> None:
    said = [event({"content": "[DONE]"}), event({"content": '"choices": [], "usage"'})]
    head, *others = events("one two three")
    parts = [part.replace(b"\n", end_of_line) for part in (head, *said, usage_event(), *others)]
    bye = b": bye" + end_of_line * 2
    chunks = cut(b"".join(parts) + bye, at)
    for hide in (True, False):
        gate = Gate(hide_usage=hide)
        passed = b"".join(gate.feed(chunk) for chunk in chunks)
        assert passed == b"".join(part for part in parts[:-1] if not (hide and is_usage_only(part)))
        assert gate.done
        assert gate.close() == parts[-1] + bye


def test_the_gate_keeps_what_came_without_its_blank_line() -> None:
    gate = Gate(hide_usage=True)
    assert gate.feed(b"data: 1\n\ndata: 2") == b"data: 1\n\n"
    assert not gate.done
    assert gate.close() == b"data: 2"
