"""What comes into a dataset beside the answers of traffic: self-practice, and conversations from files.

Invariant: of a file every line is used, or is counted with the reason why it is not, or the file is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from distill.dataset.answers import Choice, Known
from distill.dataset.example import Origin, Source
from distill.dataset.jsonl import read_lines
from distill.dataset.messages import Unusable
from distill.dataset.target import Target, filed_target
from stepdown.errors import DatasetError
from stepdown.records import Artifact
from stepdown.students import served_name

PRACTICE = "practice"


class Practised(msgspec.Struct, frozen=True):
    """One answer that self-practice kept."""

    request: str
    body: str
    answer: str


class Practice(msgspec.Struct, frozen=True):
    """What an artifact of self-practice holds, as far as it is needed here."""

    student: str
    kept: Sequence[Practised] = ()


def practised(known: Known, practice: Artifact | None, left_out: Counter[str]) -> list[Choice]:
    """The answers that a round of self-practice kept.

    Raises:
        DatasetError: The artifact is corrupt.
    """
    if practice is None:
        return []
    try:
        content = msgspec.json.decode(practice.content, type=Practice)
    except msgspec.DecodeError as error:
        raise DatasetError(f"practice {practice.id!r} is corrupt: {error}") from error
    teacher, choices = served_name(content.student), []
    for one in content.kept:
        if one.request in known.requests:
            origin = Origin(one.body, answer=one.answer)
            choices.append(Choice((0.0,), one.request, Source.PRACTICE, origin, teacher))
        else:
            left_out["of practice on a request that is gone"] += 1
    return choices


def targets_of_file(
    file: Path, source: Source, left_out: Counter[str]
) -> tuple[list[Target], dict[str, str]]:
    """The targets of a file, and the licences that its lines name, by its path.

    Raises:
        DatasetError: The file or a line of it cannot be used.
    """
    read = read_lines(file)
    left_out.update(read.left_out)
    targets = []
    for line in read.lines:
        try:
            targets.append(filed_target(source, line.messages, line.tools, line.slice))
        except Unusable as why:
            left_out[str(why)] += 1
    named = sorted({line.licence for line in read.lines if line.licence})
    declared = all(line.licence for line in read.lines)
    unknown = "unknown for some lines" if named else "unknown, check where the file is from"
    return targets, {str(file): "; ".join([*named, *([] if declared else [unknown])])}
