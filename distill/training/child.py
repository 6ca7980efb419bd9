"""Starts the scripts of this package in the trainer's Python.

Invariant: this process never imports torch; whatever needs it is asked here and answers by a file and an
exit code. Knows nothing of what the scripts do.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from distill.training.files import Exit
from stepdown.errors import TrainingError
from stepdown.settings import Settings

ENTRY = Path(__file__).with_name("entry.py")
REMEDY = "pip install 'stepdown[distill]', or set trainer.python to a Python that has it"
LINES_SHOWN = 12
REFUSED = "refused: "


def command(settings: Settings, module: str, *arguments: str) -> list[str]:
    """The command that runs a module of this package in the trainer's Python.

    Args:
        settings: All settings.
        module: Its name below this package.
        arguments: Of its `main`.
    """
    python = settings.trainer.python or sys.executable
    return [python, str(ENTRY), f"{__package__}.{module}", *arguments]


def ask(settings: Settings, module: str, *arguments: str, timeout_s: float | None = None) -> object:
    """Run a module that writes JSON to the file that is its last argument; returns what it wrote.

    Raises:
        TrainingError: It refused, failed or took too long.
    """
    with TemporaryDirectory(prefix="stepdown-") as folder:
        out, log = Path(folder) / "out.json", Path(folder) / "log.txt"
        code = _run(command(settings, module, *arguments, str(out)), log, timeout_s)
        if code:
            raise TrainingError(complaint(code, log))
        return msgspec.json.decode(out.read_bytes())


def _run(argv: list[str], log: Path, timeout_s: float | None) -> int:
    try:
        with log.open("wb") as opened:
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, stdout=opened, stderr=opened, timeout=timeout_s, check=False
            )
    except OSError as error:
        raise TrainingError(f"the trainer's Python {argv[0]!r} cannot be started: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise TrainingError(f"{' '.join(argv[2:])!r} did not answer within {timeout_s:g} s") from error
    return done.returncode


def complaint(code: int, log: Path) -> str:
    """What is wrong, by the exit code of a script and what it wrote."""
    lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
    if code == Exit.REFUSED:
        said = [line for line in lines if line.startswith(REFUSED)]
        return said[-1].removeprefix(REFUSED) if said else "the trainer refused, and did not say why"
    if missing := [line for line in lines if line.startswith("ModuleNotFoundError")]:
        return f"the trainer's Python lacks a package ({missing[-1]}): {REMEDY}"
    shown = "\n".join(lines[-LINES_SHOWN:]) or "(it wrote nothing)"
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return f"the trainer ended with {how}; its last lines:\n{shown}"
