"""Exporting for real: a tiny model with an adapter, merged, quantised and written as GGUF."""

from __future__ import annotations

import importlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from distill.export import export
from distill.training.identity import checkpoint_hash
from stepdown.errors import TrainingError
from stepdown.ledger import Ledger
from stepdown.records import Artifact
from stepdown.settings import Settings
from stepdown.students import Store, manifest_of
from tests.distill.export.scene import TASK, a_student, settings_in
from tests.tiny_model import tiny_model_in

TEXTS = ["What is 12 + 30? Answer with the number alone. It is 42.", "Name three colours as a JSON list."]
ADAPTER = """
import sys, torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM
torch.manual_seed(0)
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.bfloat16)
adapted = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear"))
for name, weight in adapted.named_parameters():
    if "lora_B" in name:
        torch.nn.init.normal_(weight, std=0.05)
adapted.save_pretrained(sys.argv[2])
"""
LLAMA = """
import sys, torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
torch.manual_seed(0)
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
config = LlamaConfig(
    vocab_size=512, hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, initializer_range=0.05, tie_word_embeddings=True,
    eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, bos_token_id=None,
)
LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(sys.argv[2])
tokenizer.save_pretrained(sys.argv[2])
"""
HAS_COMPRESSOR = "import llmcompressor"


def run(python: str, *arguments: str) -> int:
    return subprocess.run([python, "-c", *arguments], capture_output=True, check=False).returncode


@pytest.fixture(scope="module")
def base(trainer_python: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model_in(tmp_path_factory.mktemp("models") / "base", TEXTS, trainer_python, template="marked")


@pytest.fixture(scope="module")
def home(trainer_python: str, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of students with an adapter, which the tests of this module share."""
    made = tmp_path_factory.mktemp("home")
    assert run(trainer_python, ADAPTER, str(base), str(made / "students" / "trained")) == 0
    return made


@pytest.fixture
def settings(home: Path, trainer_python: str) -> Settings:
    return settings_in(home, python=trainer_python)


@pytest.fixture
def trained(ledger: Ledger, settings: Settings, base: Path) -> Artifact:
    return a_student(ledger, settings, base=str(base), base_hash=checkpoint_hash(base))


def folder_of(settings: Settings, student: Artifact) -> Path:
    return Store(settings.students_folder).path(manifest_of(student))


def test_the_merged_checkpoint_says_what_base_and_adapter_say(
    ledger: Ledger, settings: Settings, trained: Artifact, base: Path
) -> None:
    merged = export(ledger, settings, TASK, trained, "merged")
    like, folder = merged.summary["likeness"], folder_of(settings, merged)
    assert like["error"] < 0.05
    assert like["positions"] > 40
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        assert (folder / name).read_bytes() == (base / name).read_bytes()
    assert (folder / "model.safetensors").stat().st_size == pytest.approx(
        (base / "model.safetensors").stat().st_size, rel=0.01
    )
    assert set(merged.settings["tools"]) == {"torch", "transformers", "peft"}


def test_gguf_holds_the_same_student_and_the_same_export_is_the_same_file(
    ledger: Ledger, settings: Settings, trained: Artifact
) -> None:
    made = export(ledger, settings, TASK, trained, "gguf")
    assert list(manifest_of(made).files) == ["model-q8_0.gguf"]
    assert made.summary["likeness"]["error"] < 0.05
    (folder_of(settings, made) / "model-q8_0.gguf").unlink()
    assert export(ledger, settings, TASK, trained, "gguf").id == made.id


def test_a_llama_keeps_what_it_says_though_its_heads_are_laid_out_anew(
    ledger: Ledger, settings: Settings, trainer_python: str, base: Path
) -> None:
    folder = settings.students_folder / "llama"
    assert run(trainer_python, LLAMA, str(base), str(folder)) == 0
    student = a_student(
        ledger,
        settings,
        base=str(folder),
        base_hash=checkpoint_hash(folder),
        variant="merged",
        folder="llama",
    )
    made = export(ledger, settings, TASK, student, "gguf")
    assert made.summary["likeness"]["error"] < 0.05


@pytest.mark.parametrize("variant", ["fp8", "int8"])
def test_eight_bits_are_made_where_llm_compressor_is_and_else_refused_with_the_remedy(
    ledger: Ledger, settings: Settings, trained: Artifact, trainer_python: str, variant: Any
) -> None:
    if run(trainer_python, HAS_COMPRESSOR):
        with pytest.raises(TrainingError, match=rf"{trainer_python} -m pip install llmcompressor"):
            export(ledger, settings, TASK, trained, variant)
        return
    made = export(ledger, settings, TASK, trained, variant)
    config = json.loads((folder_of(settings, made) / "config.json").read_text())
    assert config["quantization_config"]["quant_method"] == "compressed-tensors"
    assert config["quantization_config"]["ignore"] == ["lm_head"]
    assert made.summary["likeness"]["error"] < 0.2
    assert (folder_of(settings, made) / "chat_template.jinja").is_file()


def test_another_base_than_the_students_is_refused(
    ledger: Ledger, settings: Settings, trained: Artifact, base: Path
) -> None:
    student = a_student(ledger, settings, base=str(base), base_hash="f" * 64)
    with pytest.raises(TrainingError, match="is not the one that the student was trained from"):
        export(ledger, settings, TASK, student, "merged")


def test_a_base_without_a_chat_template_is_refused(
    ledger: Ledger, settings: Settings, trainer_python: str, tmp_path: Path
) -> None:
    base = tiny_model_in(tmp_path / "mute", TEXTS, trainer_python, template="none")
    student = a_student(ledger, settings, base=str(base), base_hash=checkpoint_hash(base))
    with pytest.raises(TrainingError, match="has no chat template"):
        export(ledger, settings, TASK, student, "merged")


def test_the_converter_of_llama_cpp_is_used_where_it_is_installed(
    ledger: Ledger, settings: Settings, trained: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for it, which writes what is no GGUF: the export must say that it fails."""
    converter = tmp_path / "convert_hf_to_gguf.py"
    converter.write_text("import sys\nsys.exit('no such architecture')\n")
    converter.chmod(0o755)
    student = a_student(
        ledger,
        settings,
        base=manifest_of(trained).base,
        base_hash=manifest_of(trained).base_hash,
        folder="trained",
    )
    make = importlib.import_module("distill.export.make")
    monkeypatch.setattr(make, "whole_variant", lambda *_args: None)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(TrainingError, match="did not convert the checkpoint: no such architecture"):
        export(ledger, settings, TASK, student, "gguf")
