"""Clusters a task's newest traffic into slices and keeps them; says which request is of which.

Invariant: slices are made from the ledger and from yesterday's slices alone, so making them twice on the
same traffic keeps nothing new. Memory is bounded whatever the traffic: prompts are read of a sample that
is drawn by their hash, which draws the same prompts from night to night.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from sqlalchemy import Subquery, func, select

from evals.outcomes import read_prompts
from evals.slices.fit import SamplePrompt, fit_slices
from evals.slices.kinds import UNTAGGED, By, language_name, length_name
from evals.slices.model import OTHER_NAME, Named, SliceModel
from evals.slices.view import view_features
from router.fitting.splits import position
from router.prompt import Prompt
from stepdown import __version__
from stepdown.errors import ArtifactError
from stepdown.ids import digest
from stepdown.ledger import Ledger, schema
from stepdown.records import Artifact
from stepdown.registry import Registry
from stepdown.settings import TaskSettings

SLICES = "slices"
WINDOW = 200_000  # requests looked at, the newest
SAMPLE = 5_000  # distinct prompts clustered
SALT = "slices"
CHUNK = 1_000

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Slicing:
    """A task's slices.

    Attributes:
        model: The slices, and how a prompt is put into one.
        artifact: As they are kept; None where they were not kept.
        fresh: Whether they were made just now.
        new: Slices that the night before did not have.
    """

    model: SliceModel
    artifact: Artifact | None
    fresh: bool
    new: tuple[Named, ...] = ()


class _Seen(NamedTuple):
    key: str
    body: str


def slice_task(
    ledger: Ledger, task_name: str, task: TaskSettings | None = None, *, seed: int = 0, keep: bool = True
) -> Slicing:
    """Cluster a task's newest traffic, and keep the slices.

    Args:
        ledger: Where the traffic is.
        task_name: Name of the task.
        task: Its settings; slices do not depend on any as yet.
        seed: Of the sample and the clustering.
        keep: Whether to keep the slices in the ledger.

    Raises:
        LedgerError: The ledger refused.
    """
    registry = Registry(ledger)
    newest = newest_slices(ledger, task_name)
    seen = _sample(ledger, task_name, seed)
    drawn = digest("\n".join(s.key for s in seen).encode("utf-8", "surrogatepass"))
    settings = {"seed": seed, "sample": drawn, "code_version": __version__}
    if newest is not None and newest.artifact is not None and newest.artifact.settings == settings:
        return newest
    prompts = read_prompts(ledger, [s.body for s in seen])
    sample = [SamplePrompt(s.key, s.body, prompts.by_body[s.body]) for s in seen if s.body in prompts.by_body]
    model = fit_slices(sample, seed=seed, previous=newest.model if newest else None)
    if not keep:
        return Slicing(model, None, True, _new(model, newest))
    artifact = registry.keep(
        SLICES,
        task_name,
        model.to_bytes(),
        parents=(newest.artifact.id,) if newest and newest.artifact else (),
        settings=settings,
        summary=_summary(model, newest, len(sample), prompts.skipped),
    )
    return Slicing(model, artifact, True, _new(model, newest))


def newest_slices(ledger: Ledger, task_name: str) -> Slicing | None:
    """A task's newest slices; corrupt ones, or those of another version, count as none.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    try:
        artifact = Registry(ledger).newest(SLICES, task_name)
        if artifact is None:
            return None
        new = tuple(Named(*pair) for pair in artifact.summary.get("new", ()))
        return Slicing(SliceModel.from_bytes(artifact.content), artifact, False, new)
    except ArtifactError as error:
        log.warning("task %s: %s", task_name, error)
        return None


def slice_of(ledger: Ledger, task_name: str, *, by: By = By.CLUSTER, limit: int = WINDOW) -> dict[str, str]:
    """The name of the slice of each of a task's newest requests, by request id.

    A request whose body cannot be read is left out, except by tag.

    Args:
        ledger: Where the traffic is.
        task_name: Name of the task.
        by: What to slice by; clusters are the newest kept ones, or made now and not kept.
        limit: How many of the newest requests.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    requests = _recent(task_name, limit)
    rows = ledger.rows(select(requests.c.id, requests.c.prompt_hash, requests.c.body, requests.c.slice))
    if by is By.TAG:
        return {row.id: row.slice or UNTAGGED for row in rows}
    names = name_prompts(ledger, task_name, {row.prompt_hash: row.body for row in rows}, by)
    return {row.id: names[row.prompt_hash] for row in rows if row.prompt_hash in names}


def name_prompts(
    ledger: Ledger, task_name: str, bodies: dict[str, str], by: By, slicing: Slicing | None = None
) -> dict[str, str]:
    """The name of each prompt's slice, by prompt hash; a prompt that cannot be read is left out.

    Args:
        ledger: Where the bodies are.
        task_name: Name of the task.
        bodies: The digest of a body of each prompt, by prompt hash.
        by: What to slice by, but not by tag, which is a request's and no prompt's.
        slicing: The clusters; the newest kept, or made now, if not given.
    """
    if by is By.CLUSTER and slicing is None:
        slicing = newest_slices(ledger, task_name) or slice_task(ledger, task_name, keep=False)
    names: dict[str, str] = {}
    left = iter(bodies.items())
    while chunk := list(islice(left, CHUNK)):
        prompts = read_prompts(ledger, [body for _, body in chunk]).by_body
        readable = [(key, prompts[body]) for key, body in chunk if body in prompts]
        found = _names_of([prompt for _, prompt in readable], by, slicing)
        names.update(zip((key for key, _ in readable), found, strict=True))
    return names


def _names_of(prompts: Sequence[Prompt], by: By, slicing: Slicing | None) -> Iterator[str]:
    if by is By.LANGUAGE:
        return map(language_name, prompts)
    if by is By.LENGTH or slicing is None:
        return map(length_name, prompts)
    names = [*(s.name for s in slicing.model.slices), OTHER_NAME]  # the last one is where OTHER points
    return (names[i] for i in slicing.model.assign([view_features(prompt) for prompt in prompts]))


def _recent(task_name: str, limit: int) -> Subquery:
    table = schema.requests
    newest = select(table).where(table.c.task == task_name).order_by(table.c.at.desc(), table.c.id.desc())
    return newest.limit(limit).subquery()


def _sample(ledger: Ledger, task_name: str, seed: int) -> list[_Seen]:
    """Distinct prompts of the newest requests: those whose hash comes first."""
    requests = _recent(task_name, WINDOW)
    distinct = select(requests.c.prompt_hash, func.min(requests.c.body).label("body")).group_by(
        requests.c.prompt_hash
    )
    seen = [_Seen(row.prompt_hash, row.body) for row in ledger.rows(distinct)]
    seen.sort(key=lambda one: (position(one.key, seed, SALT), one.key))
    return seen[:SAMPLE]


def _new(model: SliceModel, newest: Slicing | None) -> tuple[Named, ...]:
    before = {s.id for s in newest.model.slices} if newest else set()
    return tuple(Named(s.id, s.name) for s in model.slices if s.id not in before)


def _summary(model: SliceModel, newest: Slicing | None, prompts: int, skipped: int) -> dict[str, object]:
    return {
        "slices": len(model.slices),
        "prompts": prompts,
        "skipped_bodies": skipped,
        "new": [[one.id, one.name] for one in _new(model, newest)],
        "vanished": [[one.id, one.name] for one in model.vanished],
    }
