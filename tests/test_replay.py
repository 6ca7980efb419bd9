"""`stepdown replay` from the command line: a made recording, and real answers of GPT-4 and Mixtral."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from evals.replay.holdout import outcomes
from evals.replay.recording import load_recording
from stepdown.records import Tier
from stepdown.settings import TaskSettings
from tests.evals.replay.pairs import made_pairs

GSM8K = Path(__file__).parents[2] / "shared" / "data" / "routing" / "gsm8k_gpt4_vs_mixtral.jsonl.gz"
needs_gsm8k = pytest.mark.skipif(not GSM8K.exists(), reason=f"the GSM8K recording is not at {GSM8K}")


def replay(recording: Path, home: Path, *options: str) -> str:
    command = [
        sys.executable,
        "-m",
        "stepdown",
        "replay",
        str(recording),
        "--home",
        str(home),
        "--stay",
        *options,
    ]
    run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=280)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def number(pattern: str, output: str) -> float:
    found = re.search(pattern, output)
    assert found is not None, (pattern, output)
    return float(found.group(1))


def test_a_recording_goes_through_the_loop_and_exits_without_a_terminal(tmp_path: Path) -> None:
    recording = tmp_path / "made.jsonl"
    with recording.open("w") as file:
        for pair in made_pairs(400, flip=0.02):
            answers = {str(tier): pair.answers[tier].text for tier in Tier}
            file.write(json.dumps({"messages": pair.messages, "reference": pair.reference, **answers}) + "\n")
    png = tmp_path / "curve.png"
    output = replay(recording, tmp_path / "home", "--max-quality-loss", "0.1", "--png", str(png))
    assert "240 prompts to learn from, 160 held out" in output
    assert "regret <= 10.0% with confidence 95%" in output
    assert "kept on the held-out prompts" in output
    assert number(r"coverage +([\d.]+)% \[", output) > 30
    assert number(r"HELD OUT(?s:.)*?\n    router +([\d.]+)", output) > 0.7
    assert "base_url=http://127.0.0.1:" in output
    assert "curl -i http://127.0.0.1:" in output
    assert png.read_bytes().startswith(b"\x89PNG")


def test_a_folder_that_is_not_a_replays_is_left_alone(tmp_path: Path) -> None:
    recording = tmp_path / "made.jsonl"
    recording.write_text('{"prompt": "p", "strong": "a", "small": "b"}\n')
    precious = tmp_path / "home" / "precious.txt"
    precious.parent.mkdir()
    precious.write_text("keep me")
    command = [sys.executable, "-m", "stepdown", "replay", str(recording), "--home", str(precious.parent)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.returncode == 2
    assert "is not empty and not a replay's" in run.stderr
    assert precious.read_text() == "keep me"


@needs_gsm8k
def test_the_number_check_agrees_with_the_published_verdicts_on_gsm8k() -> None:
    import gzip

    rows = [json.loads(line) for line in gzip.decompress(GSM8K.read_bytes()).splitlines()]
    task = TaskSettings(check="number", checks={"number": {"kind": "number"}})
    labelled = outcomes(load_recording(GSM8K), task)
    assert labelled.unscored == 0
    published = [[row["strong_correct"], row["weak_correct"]] for row in rows]
    agreement = (labelled.good == published).mean(axis=0)
    # The published verdicts count "$20.00" as another number than 20, in 20 of GPT-4's answers.
    assert agreement[0] > 0.96
    assert agreement[1] > 0.99


@needs_gsm8k
def test_gsm8k_is_learnt_and_its_bound_holds_on_the_held_out_split(tmp_path: Path) -> None:
    output = replay(GSM8K, tmp_path / "home", "--max-quality-loss", "0.05")
    assert "regret <= 5.0% with confidence 95%" in output
    # So few prompts scatter around the bound; a bound that they refute would be a false promise.
    assert re.search(r"  (kept|not refuted) on the held-out prompts: \d+ regrets in n=252", output)
    assert number(r"HELD OUT(?s:.)*?\n    router +([\d.]+)", output) > 0.5
    for baseline in ("random", "prompt length", "kNN"):
        assert re.search(rf"HELD OUT(?s:.)*?\n    {baseline} +[\d.]+ \[[\d.]+, [\d.]+\]", output)


def test_a_recording_that_cannot_be_labelled_is_refused_at_once(tmp_path: Path) -> None:
    recording = tmp_path / "made.jsonl"
    recording.write_text(
        "".join(json.dumps({"prompt": f"p{i}", "strong": "a", "small": "b"}) + "\n" for i in range(90))
    )
    command = [sys.executable, "-m", "stepdown", "replay", str(recording), "--home", str(tmp_path / "home")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.returncode == 2
    assert "0 of 54 learning prompts can be labelled" in run.stderr


def test_a_replay_that_is_killed_leaves_nothing_running(tmp_path: Path) -> None:
    recording, home = tmp_path / "made.jsonl", tmp_path / "home"
    with recording.open("w") as file:
        for pair in made_pairs(300):
            answers = {str(tier): pair.answers[tier].text for tier in Tier}
            file.write(json.dumps({"messages": pair.messages, "reference": pair.reference, **answers}) + "\n")
    command = [sys.executable, "-m", "stepdown", "replay", str(recording), "--home", str(home)]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: (home / "ledger.db").exists() and len(processes_of(home)) > 2)
    running.kill()
    running.wait()
    wait_until(lambda: not processes_of(home))
    assert processes_of(home) == []


def processes_of(home: Path) -> list[str]:
    """Processes that have the folder on their command line."""
    listed = subprocess.run(
        ["ps", "-ww", "-eo", "pid,args"], capture_output=True, text=True, check=True
    ).stdout
    return [line for line in listed.splitlines() if f"{home}/" in line and "ps -ww" not in line]


def wait_until(condition: Callable[[], bool], patience_s: float = 60.0) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
