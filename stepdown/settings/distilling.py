"""The settings of distillation: how students are made and let in, when, and where they are trained.

Invariant: as in `stepdown.settings.tree`, these words are the only documentation of a setting.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from stepdown.settings.base import Dollars, Share
from stepdown.settings.base import doc as _doc


class StudentSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a task's students are made and let in, `[tasks.NAME.student]`."""

    base: Annotated[
        str,
        Meta(min_length=1),
        _doc("Checkpoint that the small model serves and students are trained from: a folder or a name."),
    ]
    method: Annotated[Literal["lora", "full"], _doc("lora: train an adapter. full: train every weight.")] = (
        "lora"
    )
    objective: Annotated[
        Literal["sft", "gkd"],
        _doc(
            "sft: learn the chosen answers. gkd: learn the teacher's probabilities of the student's answers."
        ),
    ] = "sft"
    teacher: Annotated[
        str | None, _doc("Checkpoint of the teacher, for gkd; it must have the student's tokenizer.")
    ] = None
    rank: Annotated[int, Meta(ge=1, le=512), _doc("Rank of the adapter.")] = 16
    targets: Annotated[
        tuple[str, ...],
        _doc("Layers that the adapter changes, by the end of their names; none is all."),
    ] = ()
    alpha: Annotated[int, Meta(ge=1), _doc("Scale of the adapter; it counts as alpha / rank.")] = 32
    epochs: Annotated[float, Meta(gt=0), _doc("Times that every example is seen, at most.")] = 2.0
    learning_rate: Annotated[float, Meta(gt=0), _doc("Highest learning rate.")] = 2e-4
    batch: Annotated[int, Meta(ge=1), _doc("Examples in a step, over all GPUs.")] = 8
    checkpoint_steps: Annotated[int, Meta(ge=1), _doc("Steps between two checkpoints and validations.")] = 50
    patience: Annotated[
        int, Meta(ge=1), _doc("Validations without a lower loss after which training stops.")
    ] = 3
    max_tokens: Annotated[
        int, Meta(ge=16), _doc("Longest example in the student's own tokens; longer ones are left out.")
    ] = 2048
    token_budget: Annotated[int, Meta(ge=1), _doc("Tokens of one dataset, at most.")] = 5_000_000
    validation_share: Annotated[Share, _doc("Share of the examples that decide when to stop.")] = 0.1
    test_share: Annotated[Share, _doc("Share of the examples that nothing is decided by.")] = 0.1
    replay_share: Annotated[
        Share,
        _doc("Least share of the training examples, as far as there are any, that are old or general."),
    ] = 0.2
    general: Annotated[
        str | None, _doc("File of general examples (OpenAI's fine-tuning JSONL) that are mixed in.")
    ] = None
    general_suite: Annotated[
        str | None, _doc("Suite of general ability that a student must not do worse on.")
    ] = None
    hard_weight: Annotated[
        float,
        Meta(ge=1, le=10),
        _doc("How much more an example counts that was escalated, or that small got wrong and strong right."),
    ] = 2.0
    pii: Annotated[
        Literal["keep", "redact", "drop"],
        _doc("What to do with examples that show e-mail addresses, card, phone or account numbers, or keys."),
    ] = "redact"
    min_new: Annotated[
        int, Meta(ge=1), _doc("New examples since the last dataset, without which a night does nothing.")
    ] = 200
    practice_rounds: Annotated[
        int,
        Meta(ge=0, le=10),
        _doc("Rounds of self-practice, one a night, with one base and its checks; see `distill.practice`."),
    ] = 0
    practice_samples: Annotated[
        int, Meta(ge=1, le=64), _doc("Answers that the student samples to each prompt that it failed.")
    ] = 8
    variants: Annotated[
        tuple[Literal["adapter", "merged", "fp8", "int8", "gguf"], ...],
        Meta(min_length=1),
        _doc("Forms in which a student is exported; each is a candidate of its own."),
    ] = ("adapter",)
    fresh: Annotated[
        int, Meta(ge=20), _doc("Newest answered prompts that a candidate is asked before the gate.")
    ] = 400
    margin: Annotated[
        float, Meta(gt=0, lt=1), _doc("Loss of quality against the student in service that the gate allows.")
    ] = 0.02
    latency_ratio: Annotated[
        float, Meta(gt=0), _doc("Highest p95 latency of a candidate, times that of the student in service.")
    ] = 1.5
    horizon_days: Annotated[
        float, Meta(gt=0), _doc("Days in which a student must earn back what it cost.")
    ] = 30.0
    shadow_calls: Annotated[
        int, Meta(ge=1), _doc("Labelled shadow calls of live traffic before a candidate answers any.")
    ] = 100
    canary_shares: Annotated[
        tuple[Annotated[float, Meta(gt=0, lt=1)], ...],
        Meta(min_length=1),
        _doc("Shares of the traffic that a candidate decides, step by step, before all of it."),
    ] = (0.1, 0.5)
    canary_margin: Annotated[
        float, Meta(gt=0, lt=1), _doc("Loss of quality in the canary that its test must rule out.")
    ] = 0.05
    canary_days: Annotated[
        float,
        Meta(gt=0),
        _doc("Days of trial after which an undecided candidate is rolled back."),
    ] = 7.0
    error_rate: Annotated[
        float,
        Meta(gt=0, lt=1),
        _doc("Share of failed calls above which a student is rolled back."),
    ] = 0.05
    stage_minutes: Annotated[
        dict[str, Annotated[float, Meta(gt=0)]],
        _doc(
            "Longest time of a stage of the night by its name; `all` is for those not named. Unset: "
            "train 240, evaluate 120, relabel 90, label, export and practice 60, slices, dataset, gate and "
            "fit 30, the others 10."
        ),
    ] = {}
    stage_usd: Annotated[
        dict[str, Dollars],
        _doc("Most money that a stage may cost, by its name; `all` likewise."),
    ] = {}
    seed: Annotated[int, Meta(ge=0), _doc("Of all chance in splits and training.")] = 0


class NightSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When students are distilled, `[night]`."""

    at: Annotated[
        str, Meta(pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$"), _doc("Time of day at which a night begins.")
    ] = "02:30"
    timezone: Annotated[str, _doc("Time zone of it, by its IANA name: Europe/Berlin.")] = "UTC"
    look_every_s: Annotated[
        float, Meta(gt=0), _doc("Seconds between two looks whether a night is due or was broken off.")
    ] = 60.0
    rollout_every_s: Annotated[
        float,
        Meta(gt=0),
        _doc("Seconds between two looks at a student's traffic: the evaluation interval."),
    ] = 30.0
    reconcile_every_s: Annotated[
        float, Meta(gt=0), _doc("Seconds between two looks at what the small models' servers have loaded.")
    ] = 10.0


class TrainerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where students are trained, `[trainer]`."""

    python: Annotated[
        str | None,
        _doc("Python that has the extra `distill`; none is the one that runs the worker."),
    ] = None
    folder: Annotated[str | None, _doc("Folder of students; none is students in `home`.")] = None
    mounted: Annotated[
        str | None, _doc("The same folder as the servers of small models see it; none is the same path.")
    ] = None
    processes: Annotated[
        int, Meta(ge=1), _doc("GPUs to train on; more than one go through `accelerate launch`.")
    ] = 1
    memory_gb: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        _doc("Memory that a training may take on a device; none asks it."),
    ] = None
    tokens_per_s: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        _doc("Speed of training, for estimates; none takes the last one's."),
    ] = None
    usd_per_hour: Annotated[
        Dollars, _doc("Rent of the hardware that trains, while it does; on each student's bill.")
    ] = 0.0
