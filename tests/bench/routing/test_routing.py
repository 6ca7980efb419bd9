"""The routing benchmark: cross-fitted honestly, and printing what it computed."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from bench.routing import study as studies
from bench.routing.__main__ import main
from bench.routing.outcomes import Outcomes, read_outcomes
from bench.routing.study import STATISTICS, study
from evals.metrics.pgr import apgr
from router.fitting.fit import Example
from stepdown.errors import RecordingError
from tests.router.prompts import labelled

RECORDINGS = Path(__file__).parents[4] / "shared" / "data" / "routing"


def a_recording(folder: Path, n: int = 200) -> Path:
    """A gzipped recording whose prompts say which of them are hard."""
    rows = [
        {
            "prompt": e.prompt.user,
            "strong_correct": e.strong_good,
            "weak_correct": e.small_good,
            "group": e.slice,
        }
        for e in labelled(n)
    ]
    path = folder / "pairs.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(json.dumps(row) for row in rows).encode()))
    return path


def test_a_learnable_recording_beats_chance_and_says_so(tmp_path: Path) -> None:
    ran = CliRunner().invoke(main, [str(a_recording(tmp_path)), "--json", "--seeds", "2", "--draws", "100"])
    assert ran.exit_code == 0, ran.output
    (result,) = json.loads(ran.stdout)
    router = result["scorers"]["router"]["APGR"]
    assert router["low"] <= router["value"] <= router["high"]
    assert router["low"] > 0.6
    assert router["n"] == result["n"] == 200
    assert result["labels"] == 160
    assert result["scorers"]["random"]["APGR"]["value"] == pytest.approx(0.5)
    assert set(result["scorers"]) == {"router", "random", "prompt length", "kNN", "slice mean"}
    assert result["speed"]["ratio"] > 0


def test_the_table_shows_each_scorer_and_statistic(tmp_path: Path) -> None:
    options = ["--seeds", "1", "--draws", "100", "--labels", "50"]
    ran = CliRunner().invoke(main, [str(a_recording(tmp_path)), *options])
    assert ran.exit_code == 0, ran.output
    assert "n=200, 50 labels in each fit, 1 seeds x 5 folds" in ran.stdout
    for word in ("router", "random", "prompt length", "kNN", "slice mean", *STATISTICS):
        assert word in ran.stdout


def test_no_scorer_sees_the_prompt_it_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = tuple(labelled(60)) * 2
    outcomes = Outcomes("twins", examples, None)
    seen: list[set[str]] = []

    def spy(given: Outcomes, fit: NDArray[np.intp], held: NDArray[np.intp], seed: int) -> NDArray[np.float64]:
        fitted = {given.examples[i].group for i in fit}
        assert not fitted & {given.examples[i].group for i in held}
        seen.append(fitted)
        return np.array([float(given.examples[i].slice == "hard") for i in held])

    monkeypatch.setattr(studies, "scorers_for", lambda _: {"spy": spy})
    found = study(outcomes, seeds=[0, 1], draws=100)
    assert len(seen) == 10
    hard = [e.slice == "hard" for e in examples]
    expected = apgr(hard, *np.array([(e.strong_good, e.small_good) for e in examples]).T)
    assert found.scorers["spy"]["APGR"].value == pytest.approx(expected)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "pairs.jsonl:2: not a JSON object"),
        ("[]", "pairs.jsonl:2: not a JSON object"),
        ('{"prompt": 3}', "prompt = 3 must be text"),
        ('{"prompt": "x", "weak_correct": 1}', "strong_correct = None must be 0 to 1; columns: prompt, weak"),
        ('{"prompt": "x", "strong_correct": 7, "weak_correct": 1}', "strong_correct = 7"),
    ],
)
def test_a_line_that_cannot_be_used(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"prompt": "x", "strong_correct": 1, "weak_correct": 0}\n' + line)
    with pytest.raises(RecordingError) as caught:
        read_outcomes(path)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"), [("missing.jsonl", None), ("empty.jsonl", b""), ("not.gz", b"x")]
)
def test_a_file_that_cannot_be_used(tmp_path: Path, name: str, content: bytes | None) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    ran = CliRunner().invoke(main, [str(path)])
    assert ran.exit_code == 1
    assert name in ran.output


def test_columns_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    path.write_text('{"prompt": "x", "big": 0.7, "little": 0.2}\n')
    (example,) = read_outcomes(path, strong="big", small="little").examples
    assert isinstance(example, Example)
    assert (example.strong_good, example.small_good) == (1.0, 0.0)


@pytest.mark.skipif(not RECORDINGS.exists(), reason="the recordings are not beside the checkout")
def test_real_outcomes_are_ranked_better_than_by_length_or_chance() -> None:
    outcomes = read_outcomes(RECORDINGS / "gsm8k_gpt4_vs_mixtral.jsonl.gz")
    found = study(outcomes, seeds=[7], draws=200).scorers
    assert found["router"]["APGR"].low > 0.5
    assert found["router"]["APGR"].value > 0.58
    assert found["router"]["APGR"].value > found["kNN"]["APGR"].value
