"""What could become an example, before it is known on which side of the split it is.

Invariant: of a prompt's answers the best known one is taken whose text can be learnt from; the reasons why
others could not are counted. The texts are read in chunks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from distill.dataset.answers import Choice, Known
from distill.dataset.example import TRAIN, Chat, Origin, Source
from distill.dataset.messages import Unusable, asked_in
from distill.dataset.split import Asking, Past
from distill.dataset.texts import FILED, GONE, Texts, filed, from_file, read_texts, spoken
from router.prompt import Prompt, prompt_hash
from stepdown.ledger import Ledger

CHUNK = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An answer with its question.

    Attributes:
        messages: The last one is the answer.
        prompt: As the client sent it.
        at: When it was asked, or None for what came from a file.
        hard: In what ways it was hard for the small model.
    """

    prompt_hash: str
    request: str | None
    source: Source
    origin: Origin
    teacher: str | None
    messages: Sequence[Chat]
    tools: Sequence[Chat] | None
    prompt: Prompt
    at: datetime | None = None
    slice: str | None = None
    hard: frozenset[str] = frozenset()


def best_targets(ledger: Ledger, known: Known, left_out: Counter[str]) -> list[Target]:
    """For each prompt the best known answer that can be learnt from.

    Args:
        ledger: Where the texts are.
        known: The answers.
        left_out: Prompts of which no answer can be learnt from are counted here, by the reason.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    found: list[Target] = []
    prompts = sorted(known.choices)
    for start in range(0, len(prompts), CHUNK):
        chunk = prompts[start : start + CHUNK]
        waiting = {prompt: list(known.choices[prompt]) for prompt in chunk}
        while waiting:
            texts = _texts(ledger, [choices[0] for choices in waiting.values()])
            for prompt, choices in list(waiting.items()):
                try:
                    found.append(_target(known, prompt, choices.pop(0), texts))
                except Unusable as why:
                    if choices:
                        continue
                    left_out[str(why)] += 1
                del waiting[prompt]
    return found


def targets_of(
    ledger: Ledger, known: Known, choices: Sequence[Choice], left_out: Counter[str]
) -> Iterator[Target]:
    """The targets that single choices are, whatever else is known of their prompts."""
    for start in range(0, len(choices), CHUNK):
        chunk = choices[start : start + CHUNK]
        texts = _texts(ledger, chunk)
        for choice in chunk:
            try:
                yield _target(known, known.requests[choice.request].prompt_hash, choice, texts)
            except Unusable as why:
                left_out[str(why)] += 1


def filed_target(
    source: Source, messages: Sequence[Chat], tools: Sequence[Chat] | None, kind: str | None
) -> Target:
    """The target that a conversation of a file is.

    Raises:
        Unusable: It cannot be learnt from.
    """
    said = from_file(filed(messages, tools))
    return Target(
        prompt_hash=prompt_hash(said.prompt),
        request=None,
        source=source,
        origin=Origin(""),  # known when it is known what of it is kept
        teacher=None,
        messages=said.messages,
        tools=said.tools,
        prompt=said.prompt,
        slice=kind,
    )


def imported_targets(
    ledger: Ledger, imported: Mapping[str, str | None], left_out: Counter[str]
) -> Iterator[Target]:
    """The targets that earlier imports are, by the digest of their text with their slices."""
    texts = read_texts(ledger, map(Origin, imported))
    for name, kind in imported.items():
        if name not in texts.bodies:
            left_out[GONE] += 1
            continue
        said = from_file(texts.bodies[name])
        yield replace(filed_target(Source.IMPORTED, said.messages, said.tools, kind), origin=Origin(name))


def held_out_askings(
    ledger: Ledger, known: Known, past: Mapping[str, Past], targets: Sequence[Target]
) -> list[Asking]:
    """The prompts that an earlier dataset held out and that no target has now, as far as their text is kept.

    An import has no target of traffic at all, and an answer may have lost its label; what is like such a
    prompt must not be trained on all the same.
    """
    missing = {prompt for prompt, was in past.items() if was.part != TRAIN}
    missing -= {target.prompt_hash for target in targets}
    bodies = {r.prompt_hash: r.body for r in known.requests.values() if r.prompt_hash in missing}
    found: list[Asking] = []
    prompts = sorted(bodies)
    for start in range(0, len(prompts), CHUNK):
        chunk = prompts[start : start + CHUNK]
        texts = ledger.bodies({bodies[prompt] for prompt in chunk})
        for prompt in chunk:
            if bodies[prompt] not in texts:
                continue
            with suppress(Unusable):
                asked = asked_in(texts[bodies[prompt]])
                found.append(Asking(prompt, asked.messages, asked.prompt))
    return found


def is_filed(target: Target) -> bool:
    """Whether it came from a file and not from traffic."""
    return target.source in FILED


def _texts(ledger: Ledger, choices: Sequence[Choice]) -> Texts:
    return read_texts(ledger, (c.origin for c in choices), (c.beside for c in choices))


def _target(known: Known, prompt: str, choice: Choice, texts: Texts) -> Target:
    said = spoken(choice.source, choice.origin, texts, choice.beside)
    request = known.requests[choice.request]
    return Target(
        prompt_hash=prompt,
        request=request.id,
        source=choice.source,
        origin=choice.origin,
        teacher=choice.teacher,
        messages=said.messages,
        tools=said.tools,
        prompt=said.prompt,
        at=request.at,
        slice=request.slice,
        hard=known.hard.get(prompt, frozenset()),
    )
