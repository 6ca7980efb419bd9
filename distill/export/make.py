"""Exports a student: has the trainer's Python make a variant, and keeps it as a student of its own.

Invariant: the variant's files have their place before its artifact is in the ledger, and neither is there
twice; the student that it is made from is only read. What a killed export left is taken up by the next.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from distill.export.child import last_words, run_child
from distill.export.plan import Plan, Told
from distill.export.variants import whole_variant
from distill.training import __file__ as _training
from stepdown import __version__
from stepdown.errors import TrainingError
from stepdown.ids import new_id, now
from stepdown.ledger import Ledger
from stepdown.ledger.lock import alone
from stepdown.prices import rent_usd_micros
from stepdown.records import Artifact, Expense
from stepdown.registry import Registry
from stepdown.settings import Settings
from stepdown.students import DIGITS, STUDENT, Manifest, Store, Variant, files_of, manifest_of

EXPORT = "export"
UNDER_WAY = ".exporting"
ENTRY = Path(_training).with_name("entry.py")
CONVERTER = "convert_hf_to_gguf.py"
WEIGHTS = ("*.safetensors", "*.bin")
EIGHT_BITS = 0.6  # of a checkpoint in bf16, with what is kept whole


def export(
    ledger: Ledger,
    settings: Settings,
    task: str,
    student: Artifact,
    variant: Variant,
    *,
    deadline: float = float("inf"),
) -> Artifact:
    """The variant of a student; made now where it was not made before.

    Args:
        ledger: Where students are.
        settings: All settings.
        task: Name of the task.
        student: As it was trained.
        variant: adapter, merged, fp8, int8 or gguf.
        deadline: Time of `time.monotonic` at which to stop.

    Returns:
        The student itself where it has this form already, else a student whose only parent it is.

    Raises:
        TrainingError: It cannot be had in this form; says why and what to do.
        OutOfBudget: The deadline came first; another call takes it up again.
        ArtifactError: The artifact is no student.
        LedgerError: The ledger refused.
    """
    own, store = manifest_of(student), Store(settings.students_folder)
    if own.variant == variant:
        return student
    _refuse(student, own, variant)
    with alone(ledger, f"export {student.id} {variant}") as held:
        if not held:
            raise TrainingError(f"another process exports student {student.id} as {variant}; wait for it")
        if (found := whole_variant(ledger, store, task, student, variant)) is not None:
            return found
        if (wrong := store.complaint(own)) is not None:
            raise TrainingError(f"student {student.id} cannot be exported: {wrong}; train it anew")
        return _Export(ledger, settings, task, student, own, variant, store).run(deadline)


def _refuse(student: Artifact, own: Manifest, variant: Variant) -> None:
    if variant == "adapter":
        raise TrainingError(
            f"student {student.id} was trained with method {own.method!r} and is {own.variant}: it has no "
            "adapter; leave adapter out of `variants`"
        )
    if own.variant not in ("adapter", "merged"):
        raise TrainingError(
            f"student {student.id} is {own.variant} itself; export the student that it was made from: "
            f"{', '.join(student.parents)}"
        )


class _Export:
    def __init__(
        self,
        ledger: Ledger,
        settings: Settings,
        task: str,
        student: Artifact,
        own: Manifest,
        variant: Variant,
        store: Store,
    ) -> None:
        self._ledger = ledger
        self._settings = settings
        self._task = task
        self._student = student
        self._own = own
        self._variant = variant
        self._store = store
        self._folder = f"{student.id[:DIGITS]}-{variant}"
        self._started = new_id()
        self._stretches = 0

    def run(self, deadline: float) -> Artifact:
        plan = self._plan()
        final = self._store.root / self._folder
        told = _told(plan, final)
        if told is None:
            self._check_space(plan)
            told = self._made(plan, deadline)
        if plan.out.is_dir():
            shutil.rmtree(final, ignore_errors=True)  # left by one that was killed, or no longer whole
            plan.out.replace(final)
        artifact = self._keep(final, told)
        shutil.rmtree(plan.work, ignore_errors=True)
        return artifact

    def _plan(self) -> Plan:
        own, files = self._own, str(self._store.path(self._own))
        merged = None
        if own.variant == "adapter" and self._variant != "merged":
            merged = whole_variant(self._ledger, self._store, self._task, self._student, "merged")
        source = files if own.variant == "merged" else None
        work = self._store.root / UNDER_WAY / self._folder
        try:
            work.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrainingError(f"folder {str(work)!r} cannot be made: {error.strerror}") from error
        return Plan(
            variant=self._variant,
            base=own.base,
            base_hash=own.base_hash,
            adapter=files if own.variant == "adapter" else None,
            checkpoint=source or (str(self._store.path(manifest_of(merged))) if merged else None),
            work=str(work),
            converter=shutil.which(CONVERTER) if self._variant == "gguf" else None,
        )

    def _check_space(self, plan: Plan) -> None:
        source = Path(plan.checkpoint or plan.base)
        size = sum(file.stat().st_size for kind in WEIGHTS for file in source.glob(kind))
        whole = 0 if plan.checkpoint or plan.merged.is_dir() else size
        needed = whole + (0 if self._variant == "merged" else int(EIGHT_BITS * size))
        free = shutil.disk_usage(plan.work).free
        if free < needed:
            raise TrainingError(
                f"the disk of {str(self._store.root)!r} is too full to export {self._variant}: it takes "
                f"about {needed / 1e9:,.2g} GB and {free / 1e9:,.2g} GB are free; free some of it, or move "
                "`trainer.folder` to a larger one"
            )

    def _made(self, plan: Plan, deadline: float) -> Told:
        python = self._settings.trainer.python or sys.executable
        argv = [python, str(ENTRY), "distill.export.run", str(plan.file)]
        log = Path(plan.work) / "log.txt"
        try:
            plan.write()
        except OSError as error:
            raise TrainingError(f"{str(plan.file)!r} cannot be written: {error.strerror}") from error
        code = run_child(argv, log, deadline=deadline, on_stretch=self._bill)
        if not plan.told.is_file():
            raise TrainingError(_died(python, code, log))
        told = Told.read(plan.told)
        if told.error is not None:
            raise TrainingError(
                f"student {self._student.id} was not exported as {self._variant}: {told.error}"
            )
        return told

    def _bill(self, seconds: float) -> None:
        self._stretches += 1
        self._ledger.append(
            [
                Expense(
                    id=f"{EXPORT} {self._started} {self._stretches}",
                    at=now(),
                    task=self._task,
                    kind=EXPORT,
                    subject=self._student.id,
                    seconds=seconds,
                    cost_usd_micros=round(rent_usd_micros(self._settings.trainer.usd_per_hour, seconds)),
                )
            ]
        )

    def _keep(self, folder: Path, told: Told) -> Artifact:
        files = files_of(folder)
        manifest = Manifest(
            base=self._own.base,
            base_hash=self._own.base_hash,
            variant=self._variant,
            method=self._own.method,
            rank=0,
            folder=self._folder,
            files=files,
            run=self._own.run,
        )
        size = sum((folder / name).stat().st_size for name in files)
        return Registry(self._ledger).keep(
            STUDENT,
            self._task,
            manifest.to_bytes(),
            parents=(self._student.id,),
            settings={
                "student": self._student.id,
                "variant": self._variant,
                "tools": dict(told.tools),
                "code_version": __version__,
            },
            summary={"variant": self._variant, "bytes": size, "likeness": dict(told.likeness)},
        )


def _told(plan: Plan, final: Path) -> Told | None:
    """What a killed export had made whole, and had not kept yet."""
    if plan.told.is_file() and (plan.out.is_dir() or final.is_dir()):
        told = Told.read(plan.told)
        return told if told.error is None else None
    return None


def _died(python: str, code: int, log: Path) -> str:
    by = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
    memory = "; signal 9 mostly means that memory ran out" if code == -9 else ""
    return f"the export by {python} {by}{memory}: {last_words(log) or 'it printed nothing'}"
