"""Trains a student: starts the trainer's process, watches it, and keeps what it made.

Invariant: a run is trained by one process at a time, dies with the worker that started it, and is taken up
at its last whole checkpoint; whatever befalls it, the time that it took is on the bill and the students
that there were are untouched.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from distill.training import checkpoints, child, student
from distill.training.callbacks import Journal
from distill.training.dry_run import estimate_prepared
from distill.training.files import CHECKPOINTS, LOCK, LOG, PLACE, PLAN, PROGRESS, RESULT, Exit
from distill.training.journal import Tail, account, progress, stretches
from distill.training.leftover import tidy
from distill.training.prepare import Prepared, prepare, remove_parts, write_parts
from stepdown.errors import OutOfBudget, TrainingError
from stepdown.ids import now
from stepdown.ledger import Ledger
from stepdown.records import Artifact
from stepdown.settings import Settings
from stepdown.watchdog import Watchdog, signal_group

TICK_S = 0.5
GRACE_S = 120.0  # for the step that it is in, and a checkpoint
LOCK_PATIENCE_S = 30.0  # the process of a worker that was killed may take a moment to go
PRIVATE = 0o700

_exit_code = re.compile(r"exitcode\s*:\s*(-?\d+)")


def train(
    ledger: Ledger, settings: Settings, task: str, dataset: Artifact, *, deadline: float = math.inf
) -> Artifact:
    """Train a task's student on a dataset, or take up its training; one that is done is not done again.

    Args:
        ledger: For the dataset, the curves, the bill and the student.
        settings: All settings.
        task: Name of the task.
        dataset: The artifact to train on.
        deadline: Of `time.monotonic`, at which it makes a checkpoint and stops.

    Returns:
        The student's artifact.

    Raises:
        SettingsError: The task has no student.
        TrainingError: It cannot be done, or failed; the message says what would help.
        OutOfBudget: The deadline came first; called again, it goes on.
    """
    tidy(ledger, settings, dataset.id)
    prepared = prepare(ledger, settings, task, dataset)
    plan, folder = prepared.plan, student.folder_of(settings, prepared.plan)
    found = student.registered(ledger, plan)
    if found is not None and student.complaint(settings, found) is None:
        return found
    try:
        folder.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        with _locked(folder) as lock:
            account(ledger, task, plan.run, folder / PROGRESS, settings.trainer.usd_per_hour)
            if found is not None:
                student.forget(folder)
            if not (folder / RESULT).is_file():
                _Stretch(ledger, settings, prepared, folder, lock).run(deadline)
            made = student.keep(ledger, plan, folder, Path(prepared.look.base))
            shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
            return made
    except OSError as error:
        raise TrainingError(
            f"the folder {str(folder)!r} of the run cannot be used: {error}; look at trainer.folder"
        ) from error


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[BinaryIO]:
    with (folder / LOCK).open("ab") as lock:
        give_up = time.monotonic() + LOCK_PATIENCE_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= give_up:
                    raise TrainingError(
                        f"run {folder.name} is being trained by another process; wait for it, or end it"
                    ) from None
                time.sleep(TICK_S)
        yield lock


class _Stretch:
    """One life of the trainer's process.

    Args:
        ledger: For curves and bill.
        settings: All settings.
        prepared: What is trained.
        folder: Of the run.
        lock: Held by whoever trains it, the trainer's process included.
    """

    def __init__(
        self, ledger: Ledger, settings: Settings, prepared: Prepared, folder: Path, lock: BinaryIO
    ) -> None:
        self._ledger, self._settings, self._prepared = ledger, settings, prepared
        self._folder, self._lock = folder, lock
        self._tail, self._journal = Tail(folder / PROGRESS), Journal(folder / PROGRESS)
        self._stopped = False

    def run(self, deadline: float) -> None:
        """Train until it is done.

        Raises:
            TrainingError: It is refused, or it failed.
            OutOfBudget: The deadline came first.
        """
        checkpoints.remove_torn(self._folder / CHECKPOINTS)
        self._refuse_what_cannot_fit(deadline)
        (self._folder / LOG).unlink(missing_ok=True)
        try:
            self._write()
            code = self._live(deadline)
        finally:
            remove_parts(self._folder)
            checkpoints.remove_torn(self._folder / CHECKPOINTS)
        if not (self._folder / RESULT).is_file():
            self._fail(code)

    def _refuse_what_cannot_fit(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise OutOfBudget(f"no time was left to train run {self._folder.name}")
        begun = checkpoints.newest(self._folder / CHECKPOINTS) is not None
        estimate = estimate_prepared(
            self._ledger, self._settings, self._prepared, math.inf if begun else left
        )
        if estimate.refusal:
            raise TrainingError(f"the student cannot be trained: {estimate.refusal}")

    def _write(self) -> None:
        look, plan = self._prepared.look, self._prepared.plan
        place = {"base": look.base, "teacher": look.teacher, "processes": plan.processes}
        checkpoints.write_whole(self._folder / PLAN, plan.to_bytes())
        checkpoints.write_whole(self._folder / PLACE, msgspec.json.encode(place))
        write_parts(self._prepared.parts, self._folder)

    def _live(self, deadline: float) -> int:
        number = len(stretches(self._folder / PROGRESS)) + 1
        self._journal.write("begin", stretch=number, at=now().isoformat())
        process = self._start()
        try:
            with Watchdog() as guard:
                guard.watch(process.pid)
                self._watch(process, deadline)
                guard.forget(process.pid)
        finally:
            signal_group(process.pid, signal.SIGKILL)  # the worker was told to stop, or all have ended
            process.wait()
            self._journal.write("end", code=process.returncode)
            self._note()
            run, per_hour = self._prepared.plan.run, self._settings.trainer.usd_per_hour
            account(self._ledger, self._prepared.plan.task, run, self._folder / PROGRESS, per_hour)
        return process.returncode

    def _start(self) -> subprocess.Popen[bytes]:
        argv = launch_command(self._settings, self._prepared, self._folder)
        try:
            with (self._folder / LOG).open("ab") as log:
                return subprocess.Popen(
                    argv,
                    cwd=self._folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    pass_fds=(self._lock.fileno(),),
                )
        except OSError as error:
            raise TrainingError(f"the trainer's Python {argv[0]!r} cannot be started: {error}") from error

    def _watch(self, process: subprocess.Popen[bytes], deadline: float) -> None:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(TICK_S)
                return
            self._note()
            if time.monotonic() >= deadline and not self._stopped:
                self._stopped = True
                signal_group(process.pid, signal.SIGTERM)
            if time.monotonic() >= deadline + GRACE_S:
                return

    def _note(self) -> None:
        if records := progress(self._prepared.plan.run, self._tail.lines()):
            self._ledger.append(records)

    def _fail(self, code: int) -> None:
        """Say why there is no result.

        Raises:
            TrainingError: It failed.
            OutOfBudget: It was told to stop.
        """
        name, log = self._folder.name, self._folder / LOG
        last = checkpoints.newest(self._folder / CHECKPOINTS)
        at = (
            f"at step {checkpoints.step_of(last)}" if last else "from its start, for it has no checkpoint yet"
        )
        if self._stopped:
            raise OutOfBudget(f"the time for run {name} was up; called again, it goes on {at}")
        code = _code_of_ranks(log) if self._prepared.plan.processes > 1 else code
        if code == Exit.STOPPED:
            raise OutOfBudget(f"run {name} was told to stop; called again, it goes on {at}")
        if code == Exit.DISK_FULL:
            free_gb = shutil.disk_usage(self._folder).free / 1e9
            raise TrainingError(
                f"the disk of {str(self._folder)!r} is full ({free_gb:.2f} GB free): run {name} could not "
                "write its checkpoint. Free some, or set trainer.folder to another disk; called again, "
                f"it goes on {at}"
            )
        if code == Exit.OUT_OF_MEMORY:
            raise TrainingError(
                f"run {name} ran out of memory: lower batch, max_tokens or rank, or set trainer.memory_gb to "
                f"what the device has, so that what cannot fit is refused. {child.complaint(code, log)}"
            )
        raise TrainingError(f"run {name} failed, and goes on {at}: {child.complaint(code, log)}")


def launch_command(settings: Settings, prepared: Prepared, folder: Path) -> list[str]:
    """The command that trains; several processes go through `accelerate launch`.

    Args:
        settings: All settings.
        prepared: What is trained.
        folder: Of the run.
    """
    argv, count = child.command(settings, "run", str(folder)), prepared.plan.processes
    if count == 1:
        return argv
    python, *script = argv
    options = ["--num_processes", str(count), "--num_machines", "1", "--mixed_precision", "no"]
    options += ["--dynamo_backend", "no", "--cpu" if prepared.look.device == "cpu" else "--multi_gpu"]
    return [python, "-m", "accelerate.commands.launch", *options, *script]


def _code_of_ranks(log: Path) -> int:
    """The exit code of the process that failed first, which the launcher reports in words."""
    found = _exit_code.findall(log.read_text(errors="replace")) if log.is_file() else []
    return int(found[-1]) if found else 1
