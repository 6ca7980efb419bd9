"""The text of a stream, however the network cut it."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from dashboards.playing.stream import Reader
from tests.fakes import DONE, event, events

STREAM = b"".join([b": ping\n\n", *events("Grüße an alle, مرحبا"), b"data: no json\n\n"])


@given(st.lists(st.integers(0, len(STREAM)), max_size=30))
def test_the_text_does_not_depend_on_the_cuts(cuts: list[int]) -> None:
    ends = sorted({0, *cuts, len(STREAM)})
    reader = Reader()
    parts = [reader.feed(STREAM[start:end]) for start, end in pairwise(ends)]
    assert "".join(parts) == "Grüße an alle, مرحبا "
    assert reader.error == ""


def test_text_comes_as_soon_as_its_event_is_whole() -> None:
    reader = Reader()
    assert [
        reader.feed(part) for part in (event({"content": "one"}), event({"content": "two"})[:-1], b"\n", DONE)
    ] == [
        "one",
        "",
        "two",
        "",
    ]


def test_refusals_are_text_and_errors_are_kept() -> None:
    reader = Reader()
    assert reader.feed(event({"refusal": "No."})) == "No."
    assert reader.feed(b'data: {"error": {"message": "overloaded"}}\n\n') == ""
    assert reader.error == "overloaded"
