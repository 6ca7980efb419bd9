"""Trains a student by a plan: `run FOLDER`, where FOLDER holds the plan and the examples.

Invariant: the result is in its place only when it is whole, and nothing is fetched from the network for a
base that is a folder. Runs in the trainer's Python, once for each device. How it ended is its exit code,
which a full disk cannot lose.
"""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from distill.training import checkpoints
from distill.training.callbacks import Journal, callback, die_with_parent, stop_asked
from distill.training.chat import Chat, Encoded, Refused
from distill.training.files import CHECKPOINTS, PARTIAL, PLACE, PLAN, PROGRESS, RESULT, RESULTS, Exit
from distill.training.plan import Plan, steps

KEPT = 3  # checkpoints: the best, the last, and the one before in case the last is torn
ROOM_BYTES = 64 << 20
WARMUP_SHARE = 0.03
CURVE_POINTS = 10  # between two checkpoints


def main(folder: str) -> None:
    """The script."""
    place = json.loads((Path(folder) / PLACE).read_bytes())
    os.environ["HF_HUB_OFFLINE"] = "1"  # what has to be fetched was fetched before
    if place["processes"] == 1:
        die_with_parent()
    sys.exit(_guarded(Path(folder), place))


def _guarded(folder: Path, place: Any) -> int:
    try:
        return Run(folder, place).train()
    except Refused as refusal:
        print(f"refused: {refusal}", file=sys.stderr, flush=True)
        return Exit.REFUSED
    except Exception as error:
        if is_disk_full(error, folder):
            return Exit.DISK_FULL
        if "out of memory" in str(error).lower():
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            return Exit.OUT_OF_MEMORY
        raise


def is_disk_full(error: BaseException, folder: Path) -> bool:
    """Whether an error, or one that it came of, is that of a full disk."""
    chain: BaseException | None = error
    while chain is not None:
        full = isinstance(chain, OSError) and chain.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        words = str(chain).lower()
        if full or "no space left" in words or "os error 28" in words or "file too large" in words:
            return True
        if "pytorchstreamwriter" in words or "inline_container" in words:  # torch's words for a short write
            return not _has_room(folder)
        chain = chain.__cause__ or chain.__context__
    return False


def _has_room(folder: Path) -> bool:
    """Whether a file can be written: what was written in part has taken what was left."""
    probe = folder / "room"
    try:
        with probe.open("wb") as opened:
            os.posix_fallocate(opened.fileno(), 0, ROOM_BYTES)
        return True
    except OSError:
        return False
    finally:
        probe.unlink(missing_ok=True)


def computes_in_bfloat16() -> bool:
    """Whether the device multiplies numbers of that type itself: every newer GPU, and some CPUs."""
    import torch

    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


class Run:
    """One stretch of a run, from its last checkpoint to its end or to the order to stop.

    Args:
        folder: Of the run.
        place: Where base and teacher are, and how many processes train.
    """

    def __init__(self, folder: Path, place: Any) -> None:
        self._folder, self._place = folder, place
        self._plan = Plan.of_json(json.loads((folder / PLAN).read_bytes()))
        self._stopping = stop_asked()
        self._first = os.environ.get("RANK", "0") == "0"
        self._journal = Journal(folder / PROGRESS, writes=self._first)

    def train(self) -> int:
        """Train; returns the exit code."""
        import torch
        from transformers import AutoTokenizer, PrinterCallback, set_seed

        set_seed(self._plan.seed)
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.set_flush_denormal(True)  # a loss near 0 makes them, and they make a CPU slow
        tokenizer = AutoTokenizer.from_pretrained(self._place["base"])
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        parts = {part: self._encoded(Chat(tokenizer), part) for part in ("train", "validation")}
        trainer = self._trainer(tokenizer, parts)
        last = checkpoints.newest(self._folder / CHECKPOINTS)
        self._journal.write("ready", pid=os.getpid(), resumed=checkpoints.step_of(last) if last else 0)
        trainer.remove_callback(PrinterCallback)  # the journal has it all
        trainer.train(resume_from_checkpoint=str(last) if last else None)
        if self._stopping and trainer.state.global_step < trainer.state.max_steps:
            return Exit.STOPPED
        self._keep(trainer, parts)
        return Exit.DONE

    def _encoded(self, chat: Chat, part: str) -> list[Encoded]:
        """The examples of a part that fit; those of training as often as they weigh."""
        found, too_long = [], 0
        lines = (self._folder / f"{part}.jsonl").read_text().splitlines()
        for line in lines:
            example = json.loads(line)
            encoded = chat.encode(example["messages"], example.get("tools"))
            if len(encoded.ids) > self._plan.max_tokens:
                too_long += 1
            elif encoded.answer:
                found += [encoded] * (example["copies"] if part == "train" else 1)
        if part == "train" and not found:
            raise Refused(
                f"none of the {len(lines)} examples can be trained on: {too_long} are longer than "
                f"{self._plan.max_tokens} tokens; raise max_tokens, or have the dataset built again"
            )
        self._journal.write("read", part=part, examples=len(lines), too_long=too_long)
        return found

    def _trainer(self, tokenizer: Any, parts: dict[str, list[Encoded]]) -> Any:
        from datasets import Dataset

        rows = {
            name: Dataset.from_list(
                [{"input_ids": e.ids, "labels": e.labels, "prompt_length": len(e.prompt)} for e in encoded]
            )
            for name, encoded in parts.items()
            if encoded
        }
        arguments = self._arguments(len(parts["train"]), validated="validation" in rows)
        common = {
            "model": self._model(self._place["base"]),
            "train_dataset": rows["train"],
            "eval_dataset": rows.get("validation"),
            "processing_class": tokenizer,
            "peft_config": self._adapter() if self._plan.method == "lora" else None,
            "callbacks": [callback(self._journal, self._stopping, self._plan.patience)],
        }
        if self._plan.objective == "gkd":
            from distill.training import gkd

            teacher = self._model(self._place["teacher"])
            return gkd.trainer(common, arguments, teacher, tokenizer, self._plan.max_tokens)
        from trl import SFTConfig, SFTTrainer

        return SFTTrainer(args=SFTConfig(**arguments), **common)

    def _model(self, folder: str) -> Any:
        import torch
        from transformers import AutoModelForCausalLM

        # What is frozen may be in bfloat16; what is learnt is kept in float32 by PEFT.
        half = computes_in_bfloat16() and self._plan.method == "lora"
        dtype = torch.bfloat16 if half else torch.float32
        return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True)

    def _adapter(self) -> Any:
        from peft import LoraConfig

        plan = self._plan
        targets = plan.targets if isinstance(plan.targets, str) else list(plan.targets)
        return LoraConfig(
            r=plan.rank,
            lora_alpha=plan.alpha,
            lora_dropout=0.0,
            target_modules=targets,
            task_type="CAUSAL_LM",
        )

    def _arguments(self, examples: int, *, validated: bool) -> dict[str, Any]:
        import torch

        plan, on_gpu = self._plan, torch.cuda.is_available()
        every = plan.checkpoint_steps
        return {
            "output_dir": str(self._folder / CHECKPOINTS),
            "seed": plan.seed,
            "data_seed": plan.seed,
            "num_train_epochs": plan.epochs,
            "learning_rate": plan.learning_rate,
            "lr_scheduler_type": "cosine",
            "warmup_steps": math.ceil(steps(examples, plan) * WARMUP_SHARE),
            "per_device_train_batch_size": plan.micro_batch,
            "per_device_eval_batch_size": plan.micro_batch,
            "gradient_accumulation_steps": plan.accumulation,
            "max_length": None,  # what is too long was left out
            "packing": False,
            "bf16": computes_in_bfloat16(),
            "use_cpu": not on_gpu,
            "gradient_checkpointing": on_gpu and plan.objective == "sft",
            "save_strategy": "steps",
            "save_steps": every,
            "save_total_limit": KEPT,
            "eval_strategy": "steps" if validated else "no",
            "eval_steps": every,
            "load_best_model_at_end": validated,
            "metric_for_best_model": "eval_loss" if validated else None,
            "greater_is_better": False if validated else None,
            "logging_steps": _divisor(every, every // CURVE_POINTS),
            "report_to": "none",
            "disable_tqdm": True,
            "push_to_hub": False,
            "dataloader_num_workers": 0,
        }

    def _keep(self, trainer: Any, parts: dict[str, list[Encoded]]) -> None:
        """Put the student into its place, and then say what came of it."""
        trainer.accelerator.wait_for_everyone()
        if not self._first:
            return
        partial = self._folder / PARTIAL
        shutil.rmtree(partial, ignore_errors=True)
        model = trainer.accelerator.unwrap_model(trainer.model)
        if self._plan.method == "full":
            _save_full(model, trainer.processing_class, Path(self._place["base"]), partial)
        else:
            _save_adapter(model, self._plan.base, partial)
        final = self._folder / RESULTS[self._plan.method]
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        summary = _summary(trainer.state, parts)
        checkpoints.write_whole(self._folder / RESULT, json.dumps(summary).encode())
        self._journal.write("done", step=trainer.state.global_step)


def _divisor(number: int, most: int) -> int:
    """The greatest divisor of a number up to `most`, and 1 where that is less."""
    return max((n for n in range(1, most + 1) if number % n == 0), default=1)


def _save_adapter(model: Any, base: str, folder: Path) -> None:
    model.save_pretrained(folder, safe_serialization=True)
    (folder / "README.md").unlink(missing_ok=True)
    config = json.loads((folder / "adapter_config.json").read_bytes())
    config["base_model_name_or_path"] = base
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()  # a set, which every process lists in another order
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def _save_full(model: Any, tokenizer: Any, base: Path, folder: Path) -> None:
    import torch

    named = json.loads((base / "config.json").read_bytes())
    dtype = named.get("dtype") or named.get("torch_dtype") or "bfloat16"
    model.to(getattr(torch, dtype)).save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)


def _summary(state: Any, parts: dict[str, list[Encoded]]) -> dict[str, Any]:
    import importlib.metadata as metadata

    validations = [line for line in state.log_history if "eval_loss" in line]
    best = min(validations, key=lambda line: line["eval_loss"], default=None)
    trained = [line["loss"] for line in state.log_history if "loss" in line]
    packages = ("torch", "transformers", "trl", "peft", "accelerate")
    return {
        "steps": state.global_step,
        "most_steps": state.max_steps,
        "stopped_early": state.global_step < state.max_steps,
        "kept_step": best["step"] if best else state.global_step,
        "validation_loss": best["eval_loss"] if best else None,
        "first_validation_loss": validations[0]["eval_loss"] if validations else None,
        "train_loss": trained[-1] if trained else None,
        "examples": {part: len(encoded) for part, encoded in parts.items()},
        "answer_tokens": sum(len(e.answer) for e in parts["train"]),
        "epoch_tokens": sum(len(e.ids) for e in parts["train"]),
        "epochs": state.epoch,
        "made_with": {name: metadata.version(name) for name in packages},
    }
