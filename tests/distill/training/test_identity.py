"""Two checkpoints have the same name only where they are the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from distill.training.identity import SAMPLE_BYTES, SAMPLES, checkpoint_hash
from tests.distill.training.models import a_base

LARGE = 8 * SAMPLES * SAMPLE_BYTES
WEIGHTS = "model.safetensors"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return a_base(tmp_path / "base")


def test_a_copy_of_a_checkpoint_is_the_same_whatever_lies_beside_it(base: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(base, tmp_path / "elsewhere")
    (copied / "README.md").write_text("A copy.")
    assert checkpoint_hash(copied) == checkpoint_hash(base)


@pytest.mark.parametrize("place", [0, 100, -1])
def test_any_byte_of_small_weights_counts(base: Path, place: int) -> None:
    before, weights = checkpoint_hash(base), bytearray((base / WEIGHTS).read_bytes())
    weights[place] ^= 1
    (base / WEIGHTS).write_bytes(weights)
    assert checkpoint_hash(base) != before


def test_the_configuration_the_names_and_the_sizes_count(base: Path) -> None:
    seen = [checkpoint_hash(base)]
    (base / "config.json").write_text("{}")
    seen.append(checkpoint_hash(base))
    (base / WEIGHTS).rename(base / "model-1.safetensors")
    seen.append(checkpoint_hash(base))
    with (base / "model-1.safetensors").open("ab") as opened:
        opened.write(b"\0")
    seen.append(checkpoint_hash(base))
    (base / "model-1.safetensors").unlink()
    seen.append(checkpoint_hash(base))
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("place", [0, LARGE // (SAMPLES - 1) * 7, LARGE - 1])
def test_of_large_weights_the_beginning_the_middle_and_the_end_count(base: Path, place: int) -> None:
    """A fine-tuning leaves the embeddings, which come first, as they were."""
    with (base / WEIGHTS).open("wb") as opened:
        opened.truncate(LARGE)
    before = checkpoint_hash(base)
    with (base / WEIGHTS).open("r+b") as opened:
        opened.seek(place)
        opened.write(b"\1")
    assert checkpoint_hash(base) != before


def test_without_a_configuration_there_is_no_checkpoint(base: Path) -> None:
    (base / "config.json").unlink()
    with pytest.raises(FileNotFoundError):
        checkpoint_hash(base)
