"""A dataset as it is kept: references to its texts, never the texts, and what became of every prompt.

Invariant: deleting a user's text from the ledger takes it out of every dataset, which then says how many of
its examples are gone; and what was held out once is known to be, whatever is deleted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from distill.dataset.example import PARTS, TRAIN, Chat, Dataset, Example, Origin, Part, Source, example_id
from distill.dataset.messages import Unusable
from distill.dataset.personal import redact
from distill.dataset.split import Past
from distill.dataset.texts import Spoken, read_texts, spoken
from stepdown.errors import ArtifactError, DatasetError
from stepdown.ledger import Body, Ledger
from stepdown.records import Artifact
from stepdown.registry import Registry

DATASET = "dataset"
VERSION = 1
REDACT = "redact"
LOOKED_AT = "x"  # a prompt that was looked at and is in no part
CODES: Mapping[Part, str] = {"train": "t", "validation": "v", "test": "e"}  # in capitals where it is included
_parts_by_code: Mapping[str, Part] = {code: part for part, code in CODES.items()}


class Row(msgspec.Struct, frozen=True, array_like=True):
    """One example, without its text; its id follows from where its text is."""

    part: Part
    source: Source
    body: str
    answer: str | None
    feedback: str | None
    request: str | None
    prompt_hash: str
    group: str
    slice: str | None
    weight: float
    tokens: int
    teacher: str | None

    @property
    def origin(self) -> Origin:
        """Where its text is."""
        return Origin(self.body, self.answer, self.feedback)


class Imported(msgspec.Struct, frozen=True, array_like=True):
    """An example that was imported, for the datasets to come."""

    body: str
    slice: str | None


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What a dataset's artifact holds.

    Attributes:
        rows: Its examples.
        prompts: What became of every prompt that this dataset or an earlier one looked at.
        imported: All that was imported so far.
    """

    version: int = VERSION
    rows: Sequence[Row] = ()
    prompts: Mapping[str, str] = {}
    imported: Sequence[Imported] = ()

    @property
    def past(self) -> dict[str, Past]:
        """What became of the prompts that were put into a part."""
        return {
            prompt: Past(_parts_by_code[code.lower()], code.isupper())
            for prompt, code in self.prompts.items()
            if code != LOOKED_AT
        }

    def to_bytes(self) -> bytes:
        """As JSON, the same for the same content."""
        return msgspec.json.encode(self, order="sorted")


_decoder = msgspec.json.Decoder(Content)


def content_of(artifact: Artifact) -> Content:
    """What a dataset's artifact holds.

    Raises:
        ArtifactError: It is no dataset, or one of another version.
    """
    if artifact.kind != DATASET:
        raise ArtifactError(f"artifact {artifact.id!r} is a {artifact.kind}, not a dataset")
    try:
        content = _decoder.decode(artifact.content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ArtifactError(f"dataset {artifact.id!r} is corrupt: {error}; build it anew") from error
    if content.version != VERSION:
        raise ArtifactError(f"dataset {artifact.id!r} is of version {content.version}; build it anew")
    return content


def code_after(before: str | None, part: Part | None, included: bool) -> str:
    """What is kept of a prompt, given what was kept before.

    A prompt that was trained on stays one: were its group held out later, it would still be no clean test.
    """
    if part is None:
        return before or LOOKED_AT
    if before == CODES[TRAIN].upper():
        return before
    code = CODES[part]
    return code.upper() if included or before == code.upper() else code


def row_of(example: Example, part: Part) -> Row:
    """An example as it is kept."""
    return Row(
        part,
        example.source,
        *example.origin,
        example.request,
        example.prompt_hash,
        example.group,
        example.slice,
        example.weight,
        example.tokens,
        example.teacher,
    )


def keep_dataset(ledger: Ledger, dataset: Dataset) -> Artifact:
    """Keep a dataset; keeping it twice changes nothing.

    Raises:
        LedgerError: The ledger refused.
    """
    ledger.append(Body.of(body) for body in dataset.bodies.values())
    return Registry(ledger).keep(
        DATASET,
        dataset.task,
        dataset.content,
        parents=dataset.parents,
        settings=dataset.settings,
        summary=dataset.card,
    )


def read_dataset(ledger: Ledger, artifact: Artifact) -> Dataset:
    """Read a dataset with its texts; examples whose texts are gone are left out, and counted on the card.

    Raises:
        ArtifactError: It is no dataset, or one of another version.
        DatasetError: No text of it is left to be trained on.
        LedgerError: The ledger cannot be read.
    """
    content = content_of(artifact)
    texts = read_texts(ledger, (row.origin for row in content.rows))
    parts: dict[Part, list[Example]] = {part: [] for part in PARTS}
    gone: Counter[str] = Counter()
    for row in content.rows:
        try:
            said = spoken(row.source, row.origin, texts)
        except Unusable:
            gone[row.part] += 1
            continue
        parts[row.part].append(_example(row, said, artifact.settings))
    if gone and not parts[TRAIN]:
        raise DatasetError(
            f"dataset {artifact.id!r} has no training example left: the texts of {gone.total():,} are no "
            f"longer kept; `stepdown distill dataset {artifact.task}` builds another one"
        )
    return Dataset(
        task=artifact.task,
        parts=parts,
        card={**artifact.summary, "gone": dict(gone)},
        content=artifact.content,
        parents=artifact.parents,
        settings=artifact.settings,
    )


def _example(row: Row, said: Spoken, settings: Mapping[str, Any]) -> Example:
    messages: Sequence[Chat] = said.messages
    if settings.get("pii") == REDACT:
        messages = redact(messages).messages
    return Example(
        id=example_id(row.source, row.origin),
        request=row.request,
        messages=messages,
        tools=said.tools,
        source=row.source,
        weight=row.weight,
        slice=row.slice,
        prompt_hash=row.prompt_hash,
        group=row.group,
        tokens=row.tokens,
        origin=row.origin,
        teacher=row.teacher,
    )
