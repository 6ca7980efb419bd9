"""Where a checkpoint is read to for a look at it."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from distill.export.likeness import read_model


@pytest.mark.parametrize(
    ("wanted", "there", "device"), [(False, True, "cpu"), (True, True, "cuda"), (True, False, "cpu")]
)
def test_a_gpu_that_servers_may_have_is_taken_only_where_it_is_asked_for(
    wanted: bool, there: bool, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[str] = []

    class Model:
        def to(self, where: str) -> Model:
            moved.append(where)
            return self

        def eval(self) -> Model:
            return self

    torch: Any = ModuleType("torch")
    torch.bfloat16 = "bfloat16"
    torch.cuda = SimpleNamespace(is_available=lambda: there)
    transformers: Any = ModuleType("transformers")
    transformers.AutoModelForCausalLM = SimpleNamespace(from_pretrained=lambda *_, **__: Model())
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "transformers", transformers)
    read_model("a checkpoint", on_gpu=wanted)
    assert moved == [device]
