"""Which checkpoints can be resumed from."""

from __future__ import annotations

from pathlib import Path

from distill.training.checkpoints import SEAL, is_whole, newest, remove_torn, seal


def a_checkpoint(folder: Path, step: int, *, sealed: bool = True) -> Path:
    made = folder / f"checkpoint-{step}"
    (made / "deep").mkdir(parents=True)
    (made / "optimizer.pt").write_bytes(b"x" * 100)
    (made / "deep" / "rng.pth").write_bytes(b"y")
    if sealed:
        seal(made)
    return made


def test_the_newest_whole_one_counts_by_number_and_not_by_name(tmp_path: Path) -> None:
    a_checkpoint(tmp_path, 9)
    later = a_checkpoint(tmp_path, 10)
    assert newest(tmp_path) == later


def test_one_without_its_seal_is_passed_over_and_removed(tmp_path: Path) -> None:
    whole, torn = a_checkpoint(tmp_path, 5), a_checkpoint(tmp_path, 10, sealed=False)
    assert newest(tmp_path) == whole
    remove_torn(tmp_path)
    assert whole.exists()
    assert not torn.exists()


def test_a_file_cut_short_or_gone_makes_it_torn(tmp_path: Path) -> None:
    cut, gone, other = (a_checkpoint(tmp_path, step) for step in (1, 2, 3))
    (cut / "optimizer.pt").write_bytes(b"x" * 99)
    (gone / "deep" / "rng.pth").unlink()
    (other / SEAL).write_text("[")
    assert not any(map(is_whole, (cut, gone, other)))
    assert newest(tmp_path) is None


def test_what_is_not_there_has_none(tmp_path: Path) -> None:
    assert newest(tmp_path / "nowhere") is None
    (tmp_path / "checkpoint-best").mkdir()
    assert newest(tmp_path) is None
