"""Fine-tuning JSONL: what is written reads back, and a bad line is named."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from distill.dataset import (
    PARTS,
    approximate_tokens,
    import_dataset,
    keep_dataset,
    new_examples,
    read_dataset,
)
from distill.dataset.example import Chat, Example, Origin, Source
from distill.dataset.jsonl import decode, encode, read_lines
from evals.harness.lines import LineFault
from stepdown.cli import cli
from stepdown.errors import DatasetError
from stepdown.ledger import Ledger
from tests.distill.dataset.traffic import (
    TASK,
    Traffic,
    answers_in,
    built,
    examples_of,
    prompts_in,
    question,
    settings_with,
)

texts = st.text(min_size=1, max_size=40).filter(lambda text: bool(text.strip()))
turns = st.lists(st.tuples(texts, texts), min_size=1, max_size=4)
BROKEN = {"function": {"name": "f", "arguments": "{"}}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {}}}


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def said(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


def an_example(messages: Sequence[Chat], tools: Sequence[Chat] | None = None) -> Example:
    return Example(
        id="e",
        request=None,
        messages=messages,
        tools=tools,
        source=Source.IMPORTED,
        weight=3.0,
        slice=None,
        prompt_hash="h",
        group="g",
        tokens=1,
        origin=Origin("b"),
    )


@hypothesis_settings(deadline=None)
@given(turns, st.booleans())
def test_what_is_written_reads_back(pairs: list[tuple[str, str]], with_tools: bool) -> None:
    messages = [message for asked, answer in pairs for message in (user(asked), said(answer))]
    example = an_example(messages, [TOOL] if with_tools else None)
    line = decode(1, encode(example))
    assert line.messages == messages
    assert line.tools == example.tools
    assert (
        decode(2, encode(an_example(list(map(dict, line.messages)), example.tools and [TOOL]))).messages
        == messages
    )


def test_only_the_last_answer_is_to_be_learnt() -> None:
    written = json.loads(encode(an_example([user("a"), said("b"), user("c"), said("d")])))
    assert [message.get("weight") for message in written["messages"]] == [None, 0, None, None]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"{", "not JSON"),
        (b"[]", "list, not an object"),
        (b"{}", "`messages` must be"),
        (json.dumps({"messages": [user("a")]}).encode(), "must be the assistant's"),
        (json.dumps({"messages": [said("a")]}).encode(), "nothing is asked"),
        (json.dumps({"messages": [user("a"), said("  ")]}).encode(), "is empty"),
        (json.dumps({"messages": [user("a"), said("b", weight=0)]}).encode(), "weight 0"),
        (json.dumps({"messages": [user("a"), said("b", weight=0.5)]}).encode(), "weight = 0.5"),
        (json.dumps({"messages": [{"role": "robot", "content": "a"}, said("b")]}).encode(), "role = 'robot'"),
        (json.dumps({"messages": [user("a"), {"role": "assistant", "content": 3}]}).encode(), "content = 3"),
        (json.dumps({"messages": [user("a"), said("b")], "tools": {}}).encode(), "`tools` must be"),
        (json.dumps({"messages": [user("a"), said("", tool_calls=[{}])]}).encode(), "names no function"),
        (
            json.dumps(
                {
                    "messages": [
                        user("a"),
                        said("", tool_calls=[{"function": {"name": "f", "arguments": "{"}}]),
                    ]
                }
            ).encode(),
            "must be JSON as text",
        ),
    ],
)
def test_a_bad_line_is_refused_with_the_reason(line: bytes, why: str) -> None:
    with pytest.raises(LineFault, match=why):
        decode(1, line)


def test_a_file_is_refused_whole_and_its_bad_lines_are_named(tmp_path: Path) -> None:
    good = json.dumps({"messages": [user("a"), said("b")]})
    image = {"type": "image_url", "image_url": {"url": "x"}}
    shown = json.dumps({"messages": [{"role": "user", "content": [image]}, said("b")]})
    file = tmp_path / "f.jsonl"
    file.write_text("\n".join([good, "", "nonsense", good, '{"messages": 1}']))
    with pytest.raises(DatasetError, match=r"2 lines are no examples(.|\n)*f\.jsonl:3: not JSON(.|\n)*:5: "):
        read_lines(file)
    file.write_text("\n".join([good, shown]))
    read = read_lines(file)
    assert (len(read.lines), dict(read.left_out)) == (1, {"images, audio or files in the request": 1})
    with pytest.raises(DatasetError, match="cannot be read"):
        read_lines(tmp_path / "nowhere.jsonl")


def test_an_import_is_a_dataset_and_is_replayed_in_the_ones_to_come(ledger: Ledger, tmp_path: Path) -> None:
    file, settings = tmp_path / "in.jsonl", settings_with(tmp_path)
    rows = [{"messages": [user(question(n)), said(f"a{n}")], "slice": "in"} for n in range(50)]
    file.write_text("\n".join(map(json.dumps, rows)))
    imported = import_dataset(ledger, settings, TASK, file, count=approximate_tokens)
    kept = keep_dataset(ledger, imported)
    file.unlink()
    assert read_dataset(ledger, kept).parts == imported.parts
    assert len(examples_of(imported)) == 50
    with Traffic(ledger) as traffic:
        for n in range(100, 150):
            traffic.pair(question(n))
    later = built(ledger, settings)
    assert len(examples_of(later)) == 100
    for part in PARTS:
        assert prompts_in(imported, part) <= prompts_in(later, part)
    assert later.card["replay"]["earlier"] == len(imported.parts["train"])


def test_what_is_imported_again_with_another_answer_replaces_the_first(
    ledger: Ledger, tmp_path: Path
) -> None:
    file, settings = tmp_path / "in.jsonl", settings_with(tmp_path)
    for answer in ("wrong", "right"):
        rows = [{"messages": [user(question(n)), said(f"{answer} {n}")]} for n in range(30)]
        file.write_text("\n".join(map(json.dumps, rows)))
        keep_dataset(ledger, import_dataset(ledger, settings, TASK, file, count=approximate_tokens))
    with Traffic(ledger) as traffic:
        for n in range(100, 120):
            traffic.pair(question(n))
    for _ in range(2):
        later = built(ledger, settings)
        keep_dataset(ledger, later)
        said_now = {answers_in(later)[question(n)] for n in range(30)}
        assert said_now == {f"right {n}" for n in range(30)}
        with Traffic(ledger) as traffic:
            traffic.pair(question(120))


def test_a_file_of_which_nothing_can_be_learnt_is_refused_with_the_reason(
    ledger: Ledger, tmp_path: Path
) -> None:
    file, settings = tmp_path / "in.jsonl", settings_with(tmp_path)
    with Traffic(ledger) as traffic:
        traffic.pair(question(1))
    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}
    for text, why in (
        ("", "it has no line"),
        (json.dumps({"messages": [image, said("a")]}), "1 lines: images"),
    ):
        file.write_text(text)
        with pytest.raises(DatasetError, match=f"'.*in.jsonl' has no conversation to learn from: {why}"):
            import_dataset(ledger, settings, TASK, file, count=approximate_tokens)


def test_an_import_leaves_the_traffic_as_new_as_it_was_and_trains_on_nothing_like_what_it_held_out(
    ledger: Ledger, tmp_path: Path
) -> None:
    file, settings = tmp_path / "in.jsonl", settings_with(tmp_path, test_share=0.4)
    with Traffic(ledger) as traffic:
        for n in range(100, 150):
            traffic.pair(question(n))
    first = built(ledger, settings)
    keep_dataset(ledger, first)
    held_out = sorted(prompts_in(first, "test", "validation"))
    with Traffic(ledger) as traffic:
        for n in range(200, 230):
            traffic.pair(question(n))
    assert new_examples(ledger, settings, TASK) == 30
    like = [f"{text} Tell me." for text in held_out]
    rows = [{"messages": [user(text), said("a")]} for text in (*like, *(question(n) for n in range(40)))]
    file.write_text("\n".join(map(json.dumps, rows)))
    imported = import_dataset(ledger, settings, TASK, file, count=approximate_tokens)
    assert not prompts_in(imported, "train") & set(like)
    keep_dataset(ledger, imported)
    assert new_examples(ledger, settings, TASK) == 30


def test_the_command_builds_prints_exports_and_imports(tmp_path: Path) -> None:
    toml = tmp_path / "stepdown.toml"
    toml.write_text(
        f'home = "{tmp_path / "home"}"\n[models.strong]\nmodel = "m"\nurl = "http://127.0.0.1:9/v1"\n'
        f'[models.small]\nmodel = "s"\nurl = "http://127.0.0.1:9/v1"\n[tasks.default]\nsmall = "small"\n'
        f'[tasks.default.student]\nbase = "{tmp_path / "no-such-checkpoint"}"\n'
    )
    (tmp_path / "home").mkdir()
    with Traffic(Ledger(f"sqlite:///{tmp_path / 'home' / 'ledger.db'}")) as traffic:
        for n in range(60):
            traffic.pair(question(n), f"answer {n}")
    out = tmp_path / "out.jsonl"

    def run(*arguments: str) -> tuple[str, str]:
        command = ["distill", "dataset", TASK, "--settings", str(toml), *arguments]
        result = CliRunner().invoke(cli, command, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout, result.stderr

    text, warned = run("--export", str(out))
    assert "four characters each, which is not exact" in warned
    assert "by source" in text
    lines = out.read_text().splitlines()
    card = json.loads(run("--json")[0])
    assert len(lines) == card["examples"]["train"] > 40
    assert text.startswith(f"dataset {card['id']} of task default")
    test = tmp_path / "test.jsonl"
    again, _ = run("--id", card["id"], "--export", str(test), "--part", "test")
    assert again == text
    assert len(test.read_text().splitlines()) == card["examples"]["test"]
    brought = json.loads(run("--import", str(out), "--json")[0])
    assert brought["sources"].keys() == {"imported"}
    assert brought["examples"]["train"] == len(lines), "what was trained on stays in training"
