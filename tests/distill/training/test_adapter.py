"""An adapter of the wrong rank or base is refused before any server sees it."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from distill.training.adapter import CONFIG, WEIGHTS, check_adapter
from distill.training.identity import checkpoint_hash
from stepdown.errors import ServingError
from stepdown.students import Manifest
from tests.distill.training.models import a_base, an_adapter


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return a_base(tmp_path / "base")


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    return an_adapter(tmp_path / "adapter")


def manifest(base: Path, rank: int = 4) -> Manifest:
    return Manifest(
        base=str(base),
        base_hash=checkpoint_hash(base),
        variant="adapter",
        method="lora",
        rank=rank,
        folder="adapter",
        files={},
        run="r",
    )


def test_an_adapter_that_fits_is_let_through(base: Path, adapter: Path) -> None:
    check_adapter(adapter, manifest(base), base)
    check_adapter(adapter, manifest(base))


def test_another_rank_is_refused(base: Path, adapter: Path) -> None:
    with pytest.raises(ServingError, match="has rank 4 and not 8"):
        check_adapter(adapter, manifest(base, rank=8))
    config = json.loads((adapter / CONFIG).read_bytes())
    (adapter / CONFIG).write_text(json.dumps({**config, "r": 8}))
    with pytest.raises(ServingError, match=r"has rank 4 in .*lora_A"):
        check_adapter(adapter, manifest(base, rank=8))


def test_a_base_with_another_configuration_is_refused(base: Path, adapter: Path, tmp_path: Path) -> None:
    other = a_base(tmp_path / "other", rope_theta=1.0)
    with pytest.raises(ServingError, match=r"was trained from .* whose config\.json and weights have hash"):
        check_adapter(adapter, manifest(base), other)


def test_a_base_of_the_same_configuration_with_other_weights_is_refused(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    """Two fine-tunings of one model: the adapter would fit either, and say nonsense under one of them."""
    other = a_base(tmp_path / "other")
    check_adapter(adapter, manifest(base), other)
    weights = other / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ServingError, match=f"serve it under '{base}'"):
        check_adapter(adapter, manifest(base), other)


def test_weights_that_do_not_fit_are_refused_whatever_the_manifest_says(tmp_path: Path) -> None:
    base = a_base(tmp_path / "base")
    wide = an_adapter(tmp_path / "wide", hidden=32)
    with pytest.raises(ServingError, match=r"has width 32 in .*, and its base 8"):
        check_adapter(wide, manifest(base), base)


def test_a_layer_that_the_base_lacks_is_refused(tmp_path: Path, adapter: Path) -> None:
    base = a_base(tmp_path / "base")
    renamed = (adapter / WEIGHTS).read_bytes().replace(b"q_proj", b"z_proj")
    (adapter / WEIGHTS).write_bytes(renamed)
    with pytest.raises(ServingError, match=r"changes layer 'model\.layers\.0\.self_attn\.z_proj'"):
        check_adapter(adapter, manifest(base), base)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"peft_type": "IA3"}'])
def test_a_broken_configuration_is_refused(base: Path, adapter: Path, content: bytes) -> None:
    (adapter / CONFIG).write_bytes(content)
    with pytest.raises(ServingError, match=f"adapter .* {CONFIG}"):
        check_adapter(adapter, manifest(base))


def test_torn_weights_are_refused(base: Path, adapter: Path) -> None:
    (adapter / WEIGHTS).write_bytes((adapter / WEIGHTS).read_bytes()[:20])
    with pytest.raises(ServingError, match="is broken: weights"):
        check_adapter(adapter, msgspec.structs.replace(manifest(base)))
