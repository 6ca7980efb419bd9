"""What is looked at before a training, and what is fetched for it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from distill.training import gkd, look
from tests.distill.training.models import a_base

OFFLINE = "HF_HUB_OFFLINE"
MEMINFO = "MemTotal:       32000000 kB\nMemFree:  100 kB\nMemAvailable:   16000000 kB\nCached: 7 kB\n"


class Tokenizer:
    """One that has a template and no words."""

    def get_vocab(self) -> dict[str, int]:
        return {}

    def get_chat_template(self) -> str:
        return "{{ messages }}"


def test_a_teacher_is_fetched_though_the_base_is_a_folder_and_then_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, teacher = a_base(tmp_path / "base"), a_base(tmp_path / "teacher")
    done: list[tuple[str, bool]] = []

    def fetch(name: str, allow_patterns: Any = None) -> str:
        done.append((f"fetched {name}", OFFLINE in os.environ))
        return str(teacher)

    def tokenizer(folder: str) -> Tokenizer:
        done.append((f"read {Path(folder).name}", OFFLINE in os.environ))
        return Tokenizer()

    hub: Any = ModuleType("huggingface_hub")
    hub.snapshot_download = fetch
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    monkeypatch.setenv(OFFLINE, "0")  # so that it is put back after the test
    monkeypatch.delenv(OFFLINE)
    monkeypatch.setattr(look, "_tokenizer", tokenizer)
    monkeypatch.setattr(look, "Chat", lambda _: None)
    monkeypatch.setattr(look, "_device", dict)
    monkeypatch.setattr(gkd, "refuse_other_vocabulary", lambda *_: None)
    found = look.look(str(base), "some/teacher")
    assert (found["base"], found["teacher"]) == (str(base), str(teacher))
    assert done == [("fetched some/teacher", False), ("read base", True), ("read teacher", True)]


@pytest.mark.parametrize(
    ("said", "known"), [(MEMINFO, 16_000_000 * 1024), ("MemFree: 100 kB\n", None), (None, None)]
)
def test_the_memory_that_can_be_had_is_known_where_the_kernel_says_it(
    tmp_path: Path, said: str | None, known: int | None
) -> None:
    meminfo = tmp_path / "meminfo"
    if said is not None:
        meminfo.write_text(said)
    assert look._available_bytes(meminfo) == known
