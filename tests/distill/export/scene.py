"""A student to be exported, whose files are of no weight, and settings that name a stand-in trainer."""

from __future__ import annotations

import sys
from pathlib import Path

from stepdown.ledger import Ledger
from stepdown.records import Artifact
from stepdown.registry import Registry
from stepdown.settings import ModelSettings, Settings, TaskSettings, TrainerSettings
from stepdown.students import STUDENT, Manifest, files_of

STANDIN = Path(__file__).with_name("standin.py")
TASK = "sums"


def settings_in(home: Path, python: str | None = None, usd_per_hour: float = 36.0) -> Settings:
    """Settings whose trainer is a Python, or else the stand-in."""
    home.mkdir(exist_ok=True)
    if python is None:
        script = home / "python"
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{STANDIN}" "$@"\n')
        script.chmod(0o755)
        python = str(script)
    model = ModelSettings(model="m", url="http://127.0.0.1:9/v1")
    return Settings(
        home=str(home),
        trainer=TrainerSettings(python=python, usd_per_hour=usd_per_hour),
        models={"strong": model, "small": model},
        tasks={TASK: TaskSettings(small="small")},
    )


def way(home: Path, words: str) -> None:
    """What the stand-in does from now on."""
    (home / "way").write_text(words)


def runs(home: Path) -> list[str]:
    """The variants that the stand-in was run for."""
    file = home / "runs"
    return [line.split()[1] for line in file.read_text().splitlines()] if file.exists() else []


def a_student(
    ledger: Ledger,
    settings: Settings,
    *,
    base: str = "base",
    base_hash: str = "0" * 64,
    variant: str = "adapter",
    folder: str = "trained",
) -> Artifact:
    """Keep a student, of the files that are in its folder; one is made where there is none."""
    files = settings.students_folder / folder
    files.mkdir(parents=True, exist_ok=True)
    if not any(files.iterdir()):
        (files / "adapter_model.safetensors").write_text("weights")
    manifest = Manifest(
        base=base,
        base_hash=base_hash,
        variant=variant,  # type: ignore[arg-type]
        method="lora" if variant == "adapter" else "full",
        rank=8,
        folder=folder,
        files=files_of(files),
        run="run-1",
    )
    return Registry(ledger).keep(
        STUDENT, TASK, manifest.to_bytes(), parents=("dataset-1",), settings={}, summary={}
    )
