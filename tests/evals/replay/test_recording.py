"""A recording is read in all its forms, and a line that cannot be used is refused by its number."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from evals.replay.recording import estimated_tokens, load_recording
from stepdown.errors import RecordingError
from stepdown.records import Tier

PAIR = {"prompt": "What is 6 x 7?", "reference": "42", "strong": {"text": "42"}, "small": {"text": "48"}}


def write(path: Path, *rows: Any) -> Path:
    text = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.gz"])
def test_the_documented_form_is_read(tmp_path: Path, name: str) -> None:
    row = {
        **PAIR,
        "check": "number",
        "slice": "sums",
        "small": {"text": "48", "completion_tokens": 3, "logprobs": [0]},
    }
    (pair,) = load_recording(write(tmp_path / name, row, ""))
    assert pair.prompt.user == "What is 6 x 7?"
    assert (pair.reference, pair.check, pair.slice) == ("42", "number", "sums")
    assert pair.answers[Tier.STRONG].text == "42"
    assert pair.answers[Tier.SMALL].completion_tokens == 3


def test_the_flat_form_with_its_other_names_is_read(tmp_path: Path) -> None:
    row = {
        "prompt": "p",
        "reference": 1,
        "strong_response": "1",
        "weak_response": "2",
        "group": "g",
        "other": 9,
    }
    (pair,) = load_recording(write(tmp_path / "r.jsonl", row))
    assert (pair.answers[Tier.STRONG].text, pair.answers[Tier.SMALL].text, pair.slice) == ("1", "2", "g")


def test_chat_messages_are_read(tmp_path: Path) -> None:
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]
    (pair,) = load_recording(write(tmp_path / "r.jsonl", {**PAIR, "prompt": None, "messages": messages}))
    assert (pair.prompt.system, pair.prompt.user) == ("be brief", "hi")


def test_duplicates_but_for_case_and_space_are_left_out(tmp_path: Path) -> None:
    rows = [PAIR, {**PAIR, "prompt": "what  is 6 X 7?", "reference": "0"}]
    (pair,) = load_recording(write(tmp_path / "r.jsonl", *rows))
    assert pair.reference == "42"


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ("{not json", "line 2 is not JSON"),
        ("[1]", "line 2 is list"),
        ({**PAIR, "prompt": None}, "line 2 has neither"),
        ({**PAIR, "prompt": None, "messages": "hi"}, "line 2 has neither"),
        ({**PAIR, "small": None}, "line 2 has no answer under small"),
        ({**PAIR, "strong": {"text": 5}}, r"line 2, strong: .*text"),
    ],
)
def test_a_line_that_cannot_be_used_is_refused_by_its_number(tmp_path: Path, bad: Any, named: str) -> None:
    with pytest.raises(RecordingError, match=named):
        load_recording(write(tmp_path / "r.jsonl", {**PAIR, "prompt": "another"}, bad))


def test_an_empty_or_broken_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no recorded pair"):
        load_recording(write(tmp_path / "empty.jsonl"))
    broken = tmp_path / "broken.jsonl.gz"
    broken.write_bytes(b"not gzip")
    with pytest.raises(RecordingError, match="cannot be read"):
        load_recording(broken)


def test_tokens_are_estimated_where_they_were_not_counted() -> None:
    assert estimated_tokens("") == 1
    assert estimated_tokens("x" * 400) == 100
