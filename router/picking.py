"""The pick: which of several whole answers the client gets.

Invariant: a stage only ever narrows what is left, to one or more of them; one that fails, or can tell
nothing apart, passes all on; so there is always an answer, and the same findings always lead to the same one.
Pure but for the stages, which others bring: how a check or a judge comes to its finding is not known here.
"""

from __future__ import annotations

import asyncio
import logging
import unicodedata
from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from router.prompt import Prompt
from router.wire import Answer, Hints
from stepdown.errors import SettingsError
from stepdown.settings import TaskSettings

CHECK, JUDGE, MAJORITY = "check", "judge", "majority"
FIRST = "first"
ONLY = "only"
STAGE_LIMIT_S = 60.0
_EDGES = " \t\r\n`'\".,;:!*_"

Ask = Callable[[str, Mapping[str, Any]], Awaitable[Answer | None]]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Question:
    """What the candidates answer, as a stage sees it.

    Attributes:
        response_format: The request's own, as JSON text.
    """

    prompt: Prompt
    hints: Hints
    response_format: bytes = b"null"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One whole answer.

    Attributes:
        number: Its place in the order of declaration, from 0.
    """

    number: int
    answer: Answer

    @property
    def text(self) -> str:
        """What it says, be it an answer or a refusal."""
        return self.answer.text or self.answer.refusal


class Stage(Protocol):
    """One way of telling candidates apart.

    Attributes:
        name: `check`, `judge` or `majority`.
    """

    name: str

    async def narrow(
        self, question: Question, candidates: Sequence[Candidate], ask: Ask
    ) -> Sequence[Candidate]:
        """Those of the candidates, at least two, that are better than the others; or all of them.

        Args:
            question: What they answer.
            candidates: In order of declaration.
            ask: Asks the model of an alias; None where it did not answer.
        """
        ...

    async def close(self) -> None:
        """Give up what is held open."""


class Pick(NamedTuple):
    """The candidate that was picked.

    Attributes:
        number: Its place in the order of declaration.
        by: The stage that left it alone; `only` where there was no other, `first` where nothing told
            those that were left apart.
    """

    number: int
    by: str


async def pick(
    stages: Sequence[Stage],
    question: Question,
    candidates: Sequence[Candidate],
    ask: Ask,
    failed: Callable[[str], None],
) -> Pick:
    """Narrow the candidates, at least one, stage after stage until one is left.

    Args:
        stages: In the order in which they are asked.
        question: What the candidates answer.
        candidates: In order of declaration.
        ask: For the stages.
        failed: Told the name of each stage that failed.
    """
    if len(candidates) == 1:
        return Pick(candidates[0].number, ONLY)
    left = list(candidates)
    for stage in stages:
        left = await _narrowed(stage, question, left, ask, failed)
        if len(left) == 1:
            return Pick(left[0].number, stage.name)
    return Pick(left[0].number, FIRST)


async def _narrowed(
    stage: Stage, question: Question, left: list[Candidate], ask: Ask, failed: Callable[[str], None]
) -> list[Candidate]:
    try:
        async with asyncio.timeout(STAGE_LIMIT_S):
            kept = {candidate.number for candidate in await stage.narrow(question, left, ask)}
    except Exception:  # a stage may be anybody's code, and the answers are there
        log.exception("the stage %r of a picker failed; all %d candidates pass it", stage.name, len(left))
        failed(stage.name)
        return left
    return [candidate for candidate in left if candidate.number in kept] or left


class Majority:
    """The largest group of equal answers: by their text, but for case, white space and marks around it."""

    name = MAJORITY

    async def narrow(
        self, question: Question, candidates: Sequence[Candidate], ask: Ask
    ) -> Sequence[Candidate]:
        """The first of the largest group; the first of each where several are as large."""
        return largest_group(candidates, [normal_text(candidate.text) or None for candidate in candidates])

    async def close(self) -> None:
        """Nothing is held open."""


def largest_group(candidates: Sequence[Candidate], keys: Sequence[Hashable | None]) -> Sequence[Candidate]:
    """The first of the largest group, or of each of the largest groups where several are as large.

    Args:
        candidates: In order of declaration.
        keys: What each answered, equal where they agree; None for an answer that has no vote.
    """
    groups: dict[Hashable, list[Candidate]] = defaultdict(list)
    for candidate, key in zip(candidates, keys, strict=True):
        if key is not None:
            groups[key].append(candidate)
    most = max(map(len, groups.values()), default=0)
    return [group[0] for group in groups.values() if len(group) == most] or candidates


def normal_text(text: str) -> str:
    """A text but for what does not matter when answers are compared."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().strip(_EDGES).split())


StagesOf = Callable[[str, TaskSettings], Sequence[Stage]]


def plain_stages(name: str, task: TaskSettings) -> Sequence[Stage]:
    """The stages that need nothing but the answers.

    Raises:
        SettingsError: The task's picker has others.
    """
    assert task.portfolio is not None
    for wanted, declared in ((CHECK, bool(task.checks)), (JUDGE, task.portfolio.judge is not None)):
        if declared and wanted in task.portfolio.picker:
            raise SettingsError(
                f"tasks.{name}.portfolio.picker has {wanted!r}, for which this process has no stage; "
                "start the proxy by `stepdown proxy` or `stepdown up`"
            )
    return [Majority()] if MAJORITY in task.portfolio.picker else []
