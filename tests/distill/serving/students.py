"""Students with real files in a folder, and settings whose small model is served by fakes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from stepdown.ids import new_id
from stepdown.ledger import Ledger
from stepdown.records import Artifact, Deployed, Mode, Night, NightEvent
from stepdown.registry import Registry
from stepdown.settings import ModelSettings, ProxySettings, Settings, StudentSettings, TaskSettings
from stepdown.students import STUDENT, Manifest, files_of, served_name
from tests.fake_vllm import FakeVllm

TASK = "sums"
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
GRACE = timedelta(hours=1)


def settings_for(home: Path, *servers: FakeVllm, **model: Any) -> Settings:
    """Settings of one task whose small model these servers serve."""
    return settings_of(home, [server.url for server in servers], **model)


def settings_of(home: Path, urls: Sequence[str], **model: Any) -> Settings:
    """The same with the servers' URLs."""
    values = {"serving": "adapters", "timeout_s": 20.0, **model}
    small = ModelSettings(model="small", url=urls[0], replicas=tuple(urls[1:]), **values)
    student = StudentSettings(base=str(home / "base"))
    return Settings(
        home=str(home),
        proxy=ProxySettings(reload_s=0.01),
        models={"strong": ModelSettings(model="strong", url="http://127.0.0.1:9/v1"), "small": small},
        tasks={TASK: TaskSettings(small="small", student=student)},
    )


def a_student(
    ledger: Ledger, settings: Settings, name: str, *, rank: int = 4, variant: str = "adapter", **more: Any
) -> Artifact:
    """A student of the task, made now, with files of its own."""
    folder = settings.students_folder / name
    folder.mkdir(parents=True)
    config = {"peft_type": "LORA", "r": more.pop("config_rank", rank), "base_model_name_or_path": "base"}
    if variant == "adapter":
        (folder / "adapter_config.json").write_text(json.dumps(config))
        (folder / "adapter_model.safetensors").write_bytes(weights(name, rank))
    else:
        (folder / "config.json").write_text("{}")
        (folder / "answer.txt").write_text(f"I am {name}.")
        (folder / "model.safetensors").write_text(name)
    manifest = Manifest(
        **{
            "base": "base",
            "base_hash": "0" * 64,
            "variant": variant,
            "method": "lora",
            "rank": rank,
            "folder": name,
            "files": files_of(folder),
            "run": name,
            **more,
        }
    )
    registry = Registry(ledger)
    return registry.keep(STUDENT, TASK, manifest.to_bytes(), settings={"name": name}, summary={})


def weights(name: str, rank: int) -> bytes:
    """The file of an adapter of one layer, as safetensors writes it; the name makes it one of its own."""
    layer = "base_model.model.model.layers.0.self_attn.q_proj"
    shapes = {f"{layer}.lora_A.weight": [rank, 8], f"{layer}.lora_B.weight": [8, rank]}
    header: dict[str, Any] = {"__metadata__": {"name": name}}
    size = rank * 8 * 4
    for number, (tensor, shape) in enumerate(shapes.items()):
        offsets = [number * size, (number + 1) * size]
        header[tensor] = {"dtype": "F32", "shape": shape, "data_offsets": offsets}
    encoded = json.dumps(header).encode()
    return len(encoded).to_bytes(8, "little") + encoded + bytes(2 * size)


def path_of(settings: Settings, name: str) -> str:
    """Where a student's files are."""
    return str(settings.students_folder / name)


def promote(ledger: Ledger, **deployed: Any) -> None:
    """Put something in force for the task."""
    registry = Registry(ledger)
    current = registry.current(TASK)
    after = current.sequence if current else 0
    put = Deployed(**{"mode": Mode.ROUTE, "artifact": "r" * 64, **deployed})
    assert registry.promote(TASK, put, actor="test", reason="test", evidence={}, after=after)


def a_night(ledger: Ledger, at: datetime) -> Night:
    """A night that has begun."""
    night = Night(id=f"{TASK}/{new_id()}", task=TASK, date="2026-11-20", at=at, actor="auto")
    ledger.append([night])
    return night


def end(ledger: Ledger, night: Night, at: datetime) -> None:
    """End a night."""
    ledger.append([NightEvent(night=night.id, stage="report", event="ended", at=at, outcome="done")])


def names(*students: Artifact) -> set[str]:
    """The names under which students are served."""
    return {served_name(student.id) for student in students}
