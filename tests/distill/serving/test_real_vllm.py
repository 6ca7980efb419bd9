"""A real vLLM: adapters are loaded while it runs, loaded again after its restart, and unloaded."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bench.night.server import vllm
from distill.serving import put_to_sleep, reconcile, serve, wake
from distill.serving.vllm import VllmServer
from distill.training.identity import checkpoint_hash
from stepdown.errors import ServingError
from stepdown.ids import now
from stepdown.ledger import Ledger
from stepdown.records import Artifact
from stepdown.registry import Registry
from stepdown.replicas import Replicas
from stepdown.settings import Settings
from stepdown.students import STUDENT, Manifest, files_of, served_name
from tests.distill.serving.students import TASK, names, promote, settings_of
from tests.processes import free_port
from tests.tiny_model import tiny_model_in

TEXTS = [f"What is {a} and {b}? It is {a + b}." for a in range(12) for b in range(12)]

# Adapters as peft writes them, of random weights that are large enough to change every answer.
ADAPTERS = """
import sys, torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM
base, *adapters = sys.argv[1:]
for adapter in adapters:
    folder, rank = adapter.rsplit(":", 1)
    torch.manual_seed(sum(map(ord, folder)))
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    lora = LoraConfig(r=int(rank), lora_alpha=int(rank), target_modules=["q_proj", "v_proj", "o_proj"])
    model = get_peft_model(model, lora)
    for name, weight in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight, std=0.5)
    model.save_pretrained(folder)
"""


def students(
    ledger: Ledger, settings: Settings, python: str, base: Path, ranks: Mapping[str, int]
) -> list[Artifact]:
    """Students of some ranks, by the names of their folders."""
    folders = {name: settings.students_folder / name for name in ranks}
    made = [f"{folders[name]}:{rank}" for name, rank in ranks.items()]
    subprocess.run([python, "-c", ADAPTERS, str(base), *made], check=True, capture_output=True)
    registry = Registry(ledger)
    found = []
    for name, folder in folders.items():
        manifest = Manifest(
            base=str(base),
            base_hash=checkpoint_hash(base),
            variant="adapter",
            method="lora",
            rank=ranks[name],
            folder=name,
            files=files_of(folder),
            run=name,
        )
        content = manifest.to_bytes()
        found.append(registry.keep(STUDENT, TASK, content, settings={"name": name}, summary={}))
    return found


def answer(server: VllmServer, model: str) -> str:
    """What a model says to the same question, at length."""
    asked = {"messages": [{"role": "user", "content": "What is 3 and 4?"}], "temperature": 0}
    document: Any = {"model": model, **asked, "max_tokens": 12}
    reply = server._ask("POST", f"{server.url}/chat/completions", document, 60.0)
    return str(json.loads(reply.body)["choices"][0]["message"]["content"])


@pytest.mark.trainer
def test_adapters_come_to_a_server_that_runs_and_come_back_when_it_is_started_anew(
    ledger: Ledger, tmp_path: Path, trainer_python: str
) -> None:
    base = tiny_model_in(tmp_path / "base", TEXTS, trainer_python)
    port = free_port()
    settings = settings_of(tmp_path / "home", [f"http://127.0.0.1:{port}/v1"], sleeps=True)
    ranks = {"one": 4, "two": 8, "high": 64}
    one, two, high = students(ledger, settings, trainer_python, base, ranks)
    promote(ledger, student=one.id)
    promote(ledger, student=one.id, candidate=two.id)
    server = VllmServer(settings.models["small"].servers[0])

    def start() -> Any:
        return vllm(Path(trainer_python), base, tmp_path / "vllm.log", port=port, rank=8, max_tokens=256)

    def adapters() -> set[str]:
        return {card.name for card in server.cards() if card.parent is not None}

    with start():
        assert len(reconcile(ledger, settings, {})) == 2
        assert adapters() == names(one, two)
        said = {answer(server, name) for name in ("small", *names(one, two))}
        assert len(said) == 3, "the adapters answer like the base"
        assert server.max_rank() == 8
        with pytest.raises(ServingError, match="its rank is 64, and the server takes 8"):
            serve(ledger, settings, {}, TASK, high, patience_s=5.0)
        put_to_sleep(ledger, settings, {}, "small")
        assert server.is_asleep()
        wake(ledger, settings, {}, "small")
        server.probe(served_name(two.id))

    with start():
        assert adapters() == set(), "a server that was started anew has its adapters still"
        assert len(reconcile(ledger, settings, {})) == 2
        assert adapters() == names(one, two)
        assert {answer(server, name) for name in ("small", *names(one, two))} == said
        promote(ledger, student=one.id)
        assert reconcile(ledger, settings, {}) == []
        reconcile(ledger, settings, {}, at=now() + timedelta(hours=2))
        assert adapters() == names(one)
        with pytest.raises(ServingError, match="404"):
            server.probe(served_name(two.id))
    assert [seen.note for seen in Replicas(ledger).all()] == [""]
