"""The check beside published marks: who is right is told by rule, and what is asked for is held to."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bench.labels.__main__ import main
from bench.labels.adjudicate import Right, adjudicate, mark_reads, reproduced
from bench.labels.marked import MODELS, Marked, answers_of, read_marked
from bench.labels.study import compare
from evals.checks import build_check
from stepdown.errors import RecordingError

REAL = Path(__file__).parents[4] / "shared" / "data" / "routing" / "gsm8k_gpt4_vs_mixtral.jsonl.gz"
NUMBER = build_check("number", {"kind": "number"})


def marked(answer: str, reference: float, good: bool) -> Marked:
    return Marked("id", "group", reference, answer, good)


@pytest.mark.parametrize(
    ("answer", "reference", "marked_good", "right", "why"),
    [
        ("He pays $20.00", 20, False, Right.CHECK, "'$20.00' is 20; the mark read its last digits, '00'"),
        (
            "#### 20. That took 3 steps",
            20,
            False,
            Right.CHECK,
            "marks 20 as its own; the mark read what follows",
        ),
        ("She has -54", 54, True, Right.CHECK, "'-54' is not 54 but its negative"),
        ("It costs 0.84", 84, True, Right.CHECK, "as much in a unit a hundred times as large"),
        ("It costs 7.84", 84, True, Right.CHECK, "'7.84' is not 84; the mark read only '84'"),
        ("The answer: 3 apples are 4 fewer than 7", 7, True, Right.MARK, "the check took 3 from before it"),
        ("no number", 7, True, Right.UNDECIDED, "no rule explains it: the check read nothing"),
    ],
)
def test_who_is_right_is_told_by_rule(
    answer: str, reference: float, marked_good: bool, right: Right, why: str
) -> None:
    found = adjudicate(marked(answer, reference, marked_good), not marked_good)
    assert found.right is right
    assert why in found.why


@pytest.mark.parametrize(
    ("text", "digits"), [("1,260 of 3", "3"), ("in all 1,260.", "1260"), ("$20.00", "00"), ("none", "")]
)
def test_the_marks_read_the_last_digits(text: str, digits: str) -> None:
    assert mark_reads(text) == digits


def test_a_mark_is_reproduced_where_the_last_digits_give_it() -> None:
    assert reproduced(marked("it is -3", -3, True))
    assert reproduced(marked("it is $20.00", 20, False))
    assert not reproduced(marked("it is 4", 4, False))


def row(number: int, **changes: Any) -> dict[str, Any]:
    answers = {"strong_response": f"#### {number}", "weak_response": f"so {number}"}
    marks = {"strong_correct": 1, "weak_correct": 1}
    return {
        "id": f"{number:04x}",
        "prompt": f"prompt {number}",
        "reference": number,
        **answers,
        **marks,
        **changes,
    }


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    return path


def run(path: Path) -> Result:
    return CliRunner().invoke(main, ["--gsm8k", str(path), "--draws", "1000"])


def test_agreement_and_every_mismatch_are_printed(tmp_path: Path) -> None:
    rows = [row(n) for n in range(60)]
    rows[7] = row(7, strong_response="It is $7.00", strong_correct=0)
    rows[9] = row(9, weak_response="so 8", weak_correct=0)
    result = run(write(tmp_path / "rows.jsonl.gz", rows))
    assert result.exit_code == 0, result.output
    assert "agreement    98.3% [91.1, 100.0] n=60, exact; asked for at least 96%: met" in result.output
    assert "marked right: 59 good, 0 bad; marked wrong: 1 good, 0 bad" in result.output
    assert "0007  reference 7, marked wrong, check says good: check is right about it" in result.output
    assert "marked right: 59 good, 0 bad; marked wrong: 0 good, 1 bad" in result.output
    assert "least coverage: prediction-powered 9" in result.output


def test_too_little_agreement_is_a_failure(tmp_path: Path) -> None:
    rows = [row(n, strong_correct=int(n % 10 > 0)) for n in range(60)]
    result = run(write(tmp_path / "rows.jsonl.gz", rows))
    assert result.exit_code == 1
    assert "NOT MET" in result.output
    assert "below what was asked for" in result.output


def test_data_that_is_not_there_is_said_with_exit_code_2(tmp_path: Path) -> None:
    result = run(tmp_path / "absent.jsonl.gz")
    assert result.exit_code == 2
    assert "absent.jsonl.gz' is not there: name a file of marked answers with --gsm8k FILE" in result.output


@pytest.mark.parametrize("line", ["not json", '{"id": "1"}', '{"id": "1", "prompt": 3}'])
def test_a_line_that_cannot_be_used_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(row(1)) + "\n\n" + line + "\n")
    with pytest.raises(RecordingError, match=r"rows.jsonl:3: not a row of marked answers"):
        read_marked(file)


@pytest.mark.skipif(not REAL.exists(), reason="the recorded outcomes are not beside the checkout")
def test_the_numeric_check_agrees_with_the_published_marks_as_far_as_they_are_right() -> None:
    rows = read_marked(REAL)
    for model in MODELS:
        found = compare(model, answers_of(rows, model), NUMBER)
        assert found.met, found.agreement.share
        assert found.unscored == 0
        assert found.reproduced == found.answers, "the marks are no longer explained by their last digits"
        assert found.right[Right.CHECK] == len(found.mismatches) > 0
