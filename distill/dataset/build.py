"""Builds a task's dataset from the ledger, or from a file.

Invariant: the same ledger, settings and files give the same artifact, also when the dataset that they gave is
kept already: it is not its own past.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from distill.dataset.answers import Known, known_answers
from distill.dataset.assemble import Assembled, Given, assemble
from distill.dataset.card import card_of, licences_of
from distill.dataset.example import PARTS, TRAIN, Dataset, Source
from distill.dataset.kept import DATASET, Content, Imported, code_after, content_of, row_of
from distill.dataset.sources import PRACTICE, practised, targets_of_file
from distill.dataset.split import Asking
from distill.dataset.suites import Cases, cases_of
from distill.dataset.target import (
    Target,
    best_targets,
    held_out_askings,
    imported_targets,
    is_filed,
    targets_of,
)
from distill.dataset.texts import filed
from distill.dataset.tokens import TokenCounter, counted_by
from evals.slices.build import newest_slices
from evals.slices.model import OTHER_NAME
from evals.slices.view import view_features
from stepdown import __version__
from stepdown.errors import DatasetError, NotEnoughEvidence, SettingsError
from stepdown.ids import digest
from stepdown.ledger import Ledger
from stepdown.records import Artifact
from stepdown.registry import Registry
from stepdown.settings import Settings, StudentSettings

SHAPING = (
    "max_tokens",
    "token_budget",
    "validation_share",
    "test_share",
    "replay_share",
    "hard_weight",
    "pii",
    "seed",
)


@dataclass(frozen=True, kw_only=True)
class _Found:
    """What a dataset is to be made from, but for its past.

    Attributes:
        own: Targets of traffic, or of the file that is imported.
        looked_at: Prompts of which it is decided now what is learnt.
        made_from: What they and the general set came from, for the card and for the name of the dataset.
        licences: Of what came from files.
    """

    known: Known
    own: Sequence[Target]
    looked_at: frozenset[str]
    general: Sequence[Target]
    cases: Cases
    left_out: Mapping[str, int]
    made_from: Mapping[str, Any]
    licences: Mapping[str, str]


def build_dataset(ledger: Ledger, settings: Settings, task: str, *, count: TokenCounter) -> Dataset:
    """Build a task's dataset from the ledger; nothing is kept.

    Args:
        ledger: Where the answers and their labels are.
        settings: All settings.
        task: Name of the task, which has settings for students.
        count: Counts tokens: the student's own tokenizer, or `approximate_tokens`.

    Raises:
        NotEnoughEvidence: The ledger has no answer that is worth learning.
        DatasetError: None that there are can be used.
        SettingsError: The task has no settings for students.
        SuiteError: A suite cannot be read, so that its cases could not be kept out.
        LedgerError: The ledger cannot be read.
    """
    student = student_settings(settings, task)
    left_out: Counter[str] = Counter()
    known = known_answers(ledger, task)
    practice = _practice(ledger, task)
    own = best_targets(ledger, known, left_out)
    own += targets_of(ledger, known, practised(known, practice, left_out), left_out)
    made_from = {PRACTICE: practice.id if practice else None}
    found = _found(settings, task, known, own, left_out, made_from, looked_at=known.choices)
    return _build(ledger, settings, task, student, found, count)


def _practice(ledger: Ledger, task: str) -> Artifact | None:
    """The round of self-practice that is mixed in, if any."""
    from distill.practice import round_to_mix  # which reads datasets itself

    return round_to_mix(ledger, task)


def import_dataset(
    ledger: Ledger, settings: Settings, task: str, file: Path, *, count: TokenCounter
) -> Dataset:
    """Build a task's dataset from a file of fine-tuning JSONL alone; nothing is kept.

    What traffic had held out stays held out, and cases of suites stay out, as in any other dataset.

    Raises:
        DatasetError: The file or a line of it cannot be used, or nothing of it is left.
        SettingsError: The task has no settings for students.
        SuiteError: A suite cannot be read.
        LedgerError: The ledger cannot be read.
    """
    student = student_settings(settings, task)
    left_out: Counter[str] = Counter()
    own, licences = targets_of_file(file, Source.IMPORTED, left_out)
    if not own:
        why = "; ".join(f"{n:,} lines: {reason}" for reason, n in left_out.items())
        raise DatasetError(f"{str(file)!r} has no conversation to learn from: {why or 'it has no line'}")
    known = known_answers(ledger, task)
    made_from = {"file": _hash_of(file)}
    found = _found(settings, task, known, own, left_out, made_from, licences=licences)
    return _build(ledger, settings, task, student, found, count)


def new_examples(ledger: Ledger, settings: Settings, task: str) -> int:
    """How many prompts with an answer worth learning came since the task's newest dataset.

    Raises:
        SettingsError: The task has no settings for students.
        SuiteError: A suite cannot be read.
        LedgerError: The ledger cannot be read.
    """
    student_settings(settings, task)
    cases = {asking.prompt_hash for asking in cases_of(settings, task).askings}
    newest = Registry(ledger).newest(DATASET, task)
    before = content_of(newest).prompts if newest else {}
    return sum(prompt not in before and prompt not in cases for prompt in known_answers(ledger, task).choices)


def student_settings(settings: Settings, task: str) -> StudentSettings:
    """How a task's students are made.

    Raises:
        SettingsError: The task is not declared, or has no students.
    """
    if task not in settings.tasks:
        raise SettingsError(f"task {task!r} is not declared; declared: {', '.join(settings.tasks) or 'none'}")
    student = settings.tasks[task].student
    if student is None:
        raise SettingsError(f"task {task!r} distils no students; set tasks.{task}.student.base")
    return student


def _found(
    settings: Settings,
    task: str,
    known: Known,
    own: Sequence[Target],
    left_out: Counter[str],
    made_from: Mapping[str, Any],
    *,
    looked_at: Iterable[str] = (),
    licences: Mapping[str, str] | None = None,
) -> _Found:
    student = student_settings(settings, task)
    cases = cases_of(settings, task)
    general: list[Target] = []
    of_general: dict[str, str] = {}
    if student.general is not None:
        general, of_general = targets_of_file(Path(student.general), Source.GENERAL, left_out)
    hashed = {"general": _hash_of(Path(student.general)) if student.general else None}
    return _Found(
        known=known,
        own=own,
        looked_at=frozenset((*looked_at, *(target.prompt_hash for target in own))),
        general=general,
        cases=cases,
        left_out=left_out,
        made_from={**made_from, **hashed, "suites": cases.hashes},
        licences={**(licences or {}), **of_general},
    )


def _hash_of(file: Path) -> str:
    return digest(file.read_bytes())


def _build(
    ledger: Ledger,
    settings: Settings,
    task: str,
    student: StudentSettings,
    found: _Found,
    count: TokenCounter,
) -> Dataset:
    inputs = _inputs(student, found, count)
    earlier = _earlier(ledger, task, inputs)
    past = content_of(earlier) if earlier else Content()
    left_out = Counter(found.left_out)
    carried = _carried(ledger, past, found.own, left_out)
    if not found.own and not carried:
        raise NotEnoughEvidence(_nothing(task, found.known, left_out))
    known = {target.prompt_hash for target in found.own}
    alone = [target for target in carried if target.prompt_hash not in known]
    targets = [*found.own, *alone, *found.general]
    slices = _slices(ledger, task, targets)
    held_out = held_out_askings(ledger, found.known, past.past, targets)
    done = assemble(_given(targets, held_out, found, past, slices, student, count))
    _refuse_empty(task, done, left_out)
    content = _content(done, found, past, {target.origin.body for target in carried})
    made_from = {"earlier": earlier.id if earlier else None, **found.made_from}
    card = card_of(
        done,
        task=task,
        student=student,
        counted_by=counted_by(count),
        left_out=left_out,
        known={**found.known.counts, "prompts": len(found.known.choices)},
        sources=made_from,
        licences={**licences_of(settings, _teachers(done)), **found.licences},
    )
    return Dataset(
        task=task,
        parts=done.parts,
        card=card,
        content=content.to_bytes(),
        parents=tuple(_named(made_from)),
        settings={
            "inputs": inputs,
            "earlier": made_from["earlier"],
            "counted": counted_by(count),
            "base": student.base,
            **{name: getattr(student, name) for name in SHAPING},
            "code_version": __version__,
        },
        bodies=_bodies(done),
    )


def _inputs(student: StudentSettings, found: _Found, count: TokenCounter) -> str:
    """A hash of all that a dataset is made from, but for the datasets before it."""
    targets = sorted(
        [t.source, t.request, *t.origin, t.prompt_hash, t.slice, sorted(t.hard)] for t in found.own
    )
    links = sorted({(r.prompt_hash, r.tenant, r.conversation or "") for r in found.known.requests.values()})
    shaping = [student.base, counted_by(count), *(getattr(student, name) for name in SHAPING)]
    made_of = [targets, links, dict(found.made_from), shaping, __version__]
    return digest(msgspec.json.encode(made_of, order="sorted"))


def _earlier(ledger: Ledger, task: str, inputs: str) -> Artifact | None:
    """The newest dataset that was not made from the same."""
    registry = Registry(ledger)
    found = registry.newest(DATASET, task)
    while found is not None and found.settings.get("inputs") == inputs:
        before = found.settings.get("earlier")
        found = registry.artifact(before) if before else None
    return found


def _carried(ledger: Ledger, past: Content, own: Sequence[Target], left_out: Counter[str]) -> list[Target]:
    """What was imported earlier, and not again since."""
    again = {target.prompt_hash for target in own if target.source == Source.IMPORTED}
    imported = {one.body: one.slice for one in past.imported}
    return [t for t in imported_targets(ledger, imported, left_out) if t.prompt_hash not in again]


def _given(
    targets: Sequence[Target],
    held_out: Sequence[Asking],
    found: _Found,
    past: Content,
    slices: Mapping[str, str],
    student: StudentSettings,
    count: TokenCounter,
) -> Given:
    requests = found.known.requests.values()
    order: dict[str, int] = {}
    for request in requests:
        order.setdefault(request.prompt_hash, len(order))
    return Given(
        targets=targets,
        suites=found.cases.askings,
        held_out=held_out,
        conversations=[(r.prompt_hash, (r.tenant, r.conversation)) for r in requests if r.conversation],
        order=order,
        past=past.past,
        slices=slices,
        count=count,
        student=student,
    )


def _slices(ledger: Ledger, task: str, targets: Sequence[Target]) -> dict[str, str]:
    """The slice of each prompt that has no tag, by the newest clustering; none where there is none."""
    slicing = newest_slices(ledger, task)
    unnamed = [target for target in targets if target.slice is None and not is_filed(target)]
    if slicing is None or not unnamed:
        return {}
    names = [*(one.name for one in slicing.model.slices), OTHER_NAME]  # the last is where OTHER points
    assigned = slicing.model.assign([view_features(target.prompt) for target in unnamed])
    return {target.prompt_hash: names[i] for target, i in zip(unnamed, assigned, strict=True)}


def _nothing(task: str, known: Known, left_out: Mapping[str, int]) -> str:
    counts = known.counts
    shown = ", ".join(f"{n:,} {what}" for what, n in counts.items() if what not in ("requests", "answers"))
    unusable = "; ".join(f"{n:,} prompts: {why}" for why, n in left_out.items())
    return (
        f"task {task!r} has no answer that is worth learning: {counts.get('requests', 0):,} requests, "
        f"{counts.get('answers', 0):,} answers{f' ({shown})' if shown else ''}"
        f"{f'; {unusable}' if unusable else ''}. What is learnt needs an edit by a user, or a good verdict: "
        f"declare a check or a judge under [tasks.{task}] and run `stepdown label`"
    )


def _refuse_empty(task: str, done: Assembled, left_out: Mapping[str, int]) -> None:
    if done.parts[TRAIN]:
        return
    reasons = Counter(left_out) + done.dropped + done.leaks
    shown = "; ".join(f"{n:,} {why}" for why, n in reasons.most_common())
    held_out = {part: len(done.parts[part]) for part in PARTS if done.parts[part]}
    raise DatasetError(
        f"task {task!r} has nothing to train on: {shown or 'nothing was left out'}; "
        f"held out are {held_out or 'none'}; more labelled traffic is needed, or other shares under "
        f"tasks.{task}.student"
    )


def _content(done: Assembled, found: _Found, past: Content, carried: Set[str]) -> Content:
    included = {example.prompt_hash for part in PARTS for example in done.parts[part]}
    general = {e.prompt_hash: TRAIN for e in done.parts[TRAIN] if e.source == Source.GENERAL}
    placed = general | done.placed
    prompts = dict(past.prompts)
    for prompt in found.looked_at | set(placed):
        prompts[prompt] = code_after(prompts.get(prompt), placed.get(prompt), prompt in included)
    rows = [row_of(example, part) for part in PARTS for example in done.parts[part]]
    imported = {one.body: one for one in past.imported if one.body in carried}
    for row in rows:
        if row.source == Source.IMPORTED:
            imported[row.body] = Imported(row.body, row.slice)
    return Content(rows=rows, prompts=prompts, imported=[imported[name] for name in sorted(imported)])


def _teachers(done: Assembled) -> Iterator[str | None]:
    return (example.teacher for part in PARTS for example in done.parts[part])


def _named(made_from: Mapping[str, Any]) -> Iterator[str]:
    for value in made_from.values():
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            yield from value.values()


def _bodies(done: Assembled) -> dict[str, bytes]:
    return {
        example.origin.body: filed(example.messages, example.tools)
        for part in PARTS
        for example in done.parts[part]
        if example.source in (Source.IMPORTED, Source.GENERAL)
    }
