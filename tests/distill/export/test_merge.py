"""Where the base under an adapter is from."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from distill.export.merge import base_folder
from distill.export.plan import Plan, Refused
from distill.training.identity import checkpoint_hash
from distill.training.look import WANTED, fetched


def test_a_base_of_the_hub_is_fetched_as_the_training_did_and_no_more_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text("{}")
    asked: list[tuple[str, Any]] = []

    def snapshot_download(name: str, allow_patterns: Any = None) -> str:
        asked.append((name, allow_patterns))
        return str(tmp_path)

    hub: Any = ModuleType("huggingface_hub")
    hub.snapshot_download = snapshot_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    right, wrong = (
        Plan(variant="merged", base="some/model", base_hash=name, adapter="a", checkpoint=None, work="w")
        for name in (checkpoint_hash(tmp_path), "f" * 64)
    )
    assert base_folder(right) == tmp_path
    fetched("some/model")
    assert asked == [("some/model", WANTED)] * 2
    with pytest.raises(Refused, match="is not the one that the student was trained from"):
        base_folder(wrong)
