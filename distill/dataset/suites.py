"""The prompts that no dataset may have: the cases of a task's suites, and of the general one.

Invariant: all cases of a suite's file count, also where the suite takes only some of them; a suite that
cannot be read is an error, since what it holds could not be kept out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from distill.dataset.messages import plain
from distill.dataset.split import Asking
from evals.harness.load import Reading, load_suite
from evals.harness.suite import Suite
from router.wire import read_prompt
from stepdown.settings import Settings

ALL = 1 << 62


class Cases(NamedTuple):
    """The cases of suites.

    Attributes:
        hashes: Of each suite's cases, by its path.
    """

    askings: Sequence[Asking]
    hashes: Mapping[str, str]


def cases_of(settings: Settings, task: str) -> Cases:
    """The cases of all suites that a task's students are tried on.

    Raises:
        SuiteError: A suite cannot be read.
    """
    declared = settings.tasks[task]
    readings = {path: Reading(tasks=settings.tasks, task=task, limit=ALL) for path in declared.suites}
    general = declared.student.general_suite if declared.student else None
    if general is not None:
        readings.setdefault(general, Reading(tasks=settings.tasks, limit=ALL))
    suites = {path: load_suite(Path(path), reading) for path, reading in readings.items()}
    askings = [asking for suite in suites.values() for asking in _askings(suite)]
    return Cases(askings, {path: suite.cases_hash for path, suite in suites.items()})


def _askings(suite: Suite) -> Iterator[Asking]:
    for case in suite.cases:
        prompt = read_prompt(msgspec.json.encode({**case.fields, "model": "-"}))
        messages = [plain(message) for message in case.fields["messages"]]
        yield Asking(case.prompt_hash, messages, prompt, suite=True)
