"""The table of a task's slices: share, cost, quality, and whether each may step down.

Invariant: every estimate has its interval and its n, and what cannot be said is missing, not zero. Reads
the ledger and keeps nothing; costs and verdicts are computed by pure modules.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from evals.metrics.intervals import Estimate, clopper_pearson, effective_size, mean_outcome, proportion
from evals.outcomes import Outcomes, certifiable, read_outcomes, read_prompts
from evals.promotion import promise_of
from evals.slices.build import SALT, Slicing, name_prompts, newest_slices, slice_task
from evals.slices.costs import Costs, slice_costs
from evals.slices.kinds import REST, UNTAGGED, By
from evals.slices.model import Named, Slice
from evals.slices.verdict import Verdict, count_regrets, judge_slice
from router.fitting.splits import position
from stepdown.bound_in_force import bounded
from stepdown.errors import SettingsError
from stepdown.ledger import Ledger
from stepdown.prices import Price, price_of
from stepdown.records import Role
from stepdown.registry import Registry
from stepdown.settings import Settings, TaskSettings

CONFIDENCE = 0.95
MAX_SLICES = 40
SEED = 0
PER_REQUESTS = 1_000
EXAMPLES = 8
LOOKED_AT = 10_000  # distinct prompts that shares and costs are of


@dataclass(frozen=True, slots=True)
class SliceRow:
    """One slice.

    Attributes:
        id: Kept from night to night; the name, where slices are no clusters.
        name: What it is called.
        terms: Its most telling words.
        medoid: Digest of the body of its most typical prompt, or None.
        requests: Requests that were looked at and are in it.
        prompts: Distinct prompts among them.
        share: Of the requests looked at.
        cost_share: Of what their answers cost, or None where no cost is known.
        costs: What a request costs on either model.
        strong: Quality of strong on pairs whose labels may certify.
        small: Quality of small on the same pairs.
        regret: Share of the labelled prompts on which strong was right and small wrong.
        saving: Micro-dollars saved on 1,000 requests of the task if small answered the slice's and strong
            would have otherwise; the interval is that of the cost difference, at the observed share.
        verdict: Whether it may step down.
        examples: Ids of its newest requests, of different prompts.
    """

    id: str
    name: str
    terms: tuple[str, ...]
    medoid: str | None
    requests: int
    prompts: int
    share: Estimate
    cost_share: float | None
    costs: Costs
    strong: Estimate
    small: Estimate
    regret: Estimate
    saving: Estimate | None
    verdict: Verdict
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SliceReport:
    """All slices of a task.

    Attributes:
        task: Name of the task.
        by: What it was sliced by.
        artifact: Id of the kept clusters, or None.
        requests: Requests of the task.
        looked_at: Requests that shares and costs are of.
        unreadable: Distinct prompts left out as their bodies could not be read.
        epsilon: Largest allowed share of regrets.
        confidence: With which all verdicts of yes hold together.
        certify_on: Whose labels count: `trusted`, or `judged` too.
        rows: By share of cost, the largest first.
        new: Slices that the night before did not have.
        vanished: Slices of the night before that are no more.
    """

    task: str
    by: By
    artifact: str | None
    requests: int
    looked_at: int
    unreadable: int
    epsilon: float
    confidence: float
    certify_on: str
    rows: tuple[SliceRow, ...]
    new: tuple[Named, ...]
    vanished: tuple[Named, ...]


def slice_report(
    ledger: Ledger,
    settings: Settings,
    task: str,
    *,
    by: By = By.CLUSTER,
    slicing: Slicing | None = None,
    outcomes: Outcomes | None = None,
) -> SliceReport:
    """The table of a task's slices.

    Args:
        ledger: Where everything is.
        settings: For prices and for what the task was promised.
        task: Name of the task.
        by: What to slice by.
        slicing: The clusters; the newest kept, or made now and not kept, if not given.
        outcomes: The task's outcomes, where they have been read already.

    Raises:
        SettingsError: The task is not declared and has no requests.
        LedgerError: The ledger cannot be read.
    """
    declared = bounded(Registry(ledger), task, settings.tasks.get(task, TaskSettings()))
    outcomes = outcomes or read_outcomes(ledger, task, audit_share=declared.audit_share)
    if task not in settings.tasks and outcomes.requests.empty:
        known = ", ".join(settings.tasks) or "none"
        raise SettingsError(f"task {task!r} is not declared and has no requests; declared tasks: {known}")
    if by is By.CLUSTER and slicing is None:
        slicing = newest_slices(ledger, task) or slice_task(ledger, task, declared, keep=False)
    pairs = outcomes.labelled_pairs
    pairs = pairs[certifiable(pairs, declared.certify_on)].reset_index(drop=True)
    requests = outcomes.requests[_looked_at(outcomes.requests)]
    names = _Names(ledger, task, by, slicing, _bodies(requests, pairs))
    requests, pairs = names.add(requests), names.add(pairs)
    parts = _Parts(requests, _calls(outcomes, requests), names.add(outcomes.pairs), pairs)
    rows = _rows(parts, declared, _small_price(settings, declared), slicing if by is By.CLUSTER else None)
    return SliceReport(
        task=task,
        by=by,
        artifact=slicing.artifact.id if slicing and slicing.artifact else None,
        requests=len(outcomes.requests),
        looked_at=len(requests),
        unreadable=names.unreadable,
        epsilon=declared.max_quality_loss,
        confidence=declared.confidence,
        certify_on=declared.certify_on,
        rows=rows,
        new=slicing.new if slicing else (),
        vanished=slicing.model.vanished if slicing else (),
    )


def example_texts(ledger: Ledger, report: SliceReport) -> dict[str, str]:
    """The most typical prompt of each cluster, by slice id, where its body is still kept."""
    medoids = {row.id: row.medoid for row in report.rows if row.medoid is not None}
    prompts = read_prompts(ledger, medoids.values()).by_body
    return {name: prompts[body].text for name, body in medoids.items() if body in prompts}


@dataclass(frozen=True)
class _Parts:
    """Tables with a column `name`, that of the slice."""

    requests: pd.DataFrame
    calls: pd.DataFrame
    priced: pd.DataFrame
    pairs: pd.DataFrame

    def of(self, name: str) -> _Parts:
        """The part of one slice."""
        tables = (self.requests, self.calls, self.priced, self.pairs)
        return _Parts(*(table[table["name"] == name] for table in tables))


class _Whole(NamedTuple):
    """What slices are a share of.

    Attributes:
        requests: All that were looked at.
        size: How many independent ones they are worth.
        spent: What clients' answers cost, in micro-dollars.
        slices: How many there are.
    """

    requests: int
    size: float
    spent: int
    slices: int

    def share(self, requests: int) -> Estimate:
        """The share of some requests, for traffic to come."""
        part = requests / self.requests if self.requests else math.nan
        low, high = clopper_pearson(min(part * self.size, self.size) if self.requests else 0, self.size)
        return Estimate(part, low, high, self.requests)


class _Names:
    """Gives rows the name of their slice, and drops those that have none."""

    def __init__(
        self, ledger: Ledger, task: str, by: By, slicing: Slicing | None, bodies: Mapping[str, str]
    ) -> None:
        self._by = by
        self._names: dict[str, str] = {}
        if by is not By.TAG:
            self._names = name_prompts(ledger, task, dict(bodies), by, slicing)
        self.unreadable = 0 if by is By.TAG else len(bodies) - len(self._names)
        self._largest: set[str] | None = None

    def add(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows with their slice's name; the first rows given say which tags are too rare for a row."""
        if self._by is not By.TAG:
            named = rows.assign(name=rows["prompt_hash"].map(self._names))
            return named.dropna(subset=["name"]).reset_index(drop=True)
        tags = rows["slice"].fillna(UNTAGGED).astype(object)
        if self._largest is None:
            self._largest = set(tags.value_counts().index[:MAX_SLICES])
        return rows.assign(name=tags.where(tags.isin(self._largest), REST)).reset_index(drop=True)


def _looked_at(requests: pd.DataFrame) -> pd.Series[bool]:
    """Requests of a bounded number of prompts, drawn by their hash."""
    keys = requests["prompt_hash"].unique()
    if len(keys) <= LOOKED_AT:
        return pd.Series(True, index=requests.index)
    drawn = sorted(keys, key=lambda key: (position(str(key), SEED, SALT), str(key)))[:LOOKED_AT]
    return requests["prompt_hash"].isin(drawn)


def _bodies(*tables: pd.DataFrame) -> dict[str, str]:
    return {
        key: body for table in tables for key, body in zip(table["prompt_hash"], table["body"], strict=True)
    }


def _calls(outcomes: Outcomes, requests: pd.DataFrame) -> pd.DataFrame:
    """The calls of requests, with the prompt and the slice of each."""
    known = requests.set_index("id")
    calls = outcomes.calls[outcomes.calls["request"].isin(known.index)]
    return calls.assign(
        name=calls["request"].map(known["name"]), prompt_hash=calls["request"].map(known["prompt_hash"])
    )


def _rows(
    parts: _Parts, task: TaskSettings, small: Price | None, slicing: Slicing | None
) -> tuple[SliceRow, ...]:
    names = sorted(set(parts.requests["name"]) | set(parts.pairs["name"]))
    by_name = {s.name: s for s in slicing.model.slices} if slicing else {}
    whole = _Whole(
        len(parts.requests), effective_size(parts.requests["prompt_hash"]), _spent(parts.calls), len(names)
    )
    rows = [_row(name, by_name.get(name), parts.of(name), whole, task, small) for name in names]
    return tuple(sorted(rows, key=lambda row: (-(row.cost_share or 0.0), -row.requests, row.name)))


def _row(
    name: str,
    known: Slice | None,
    part: _Parts,
    whole: _Whole,
    task: TaskSettings,
    small: Price | None,
) -> SliceRow:
    requests, pairs = part.requests, part.pairs
    regrets = count_regrets(pairs["strong_good"], pairs["small_good"], pairs["prompt_hash"])
    promise = promise_of(task)
    costs = slice_costs(part.calls, part.priced, small, CONFIDENCE)
    share = whole.share(len(requests))
    return SliceRow(
        id=known.id if known else name,
        name=name,
        terms=known.terms if known else (),
        medoid=known.medoid if known else None,
        requests=len(requests),
        prompts=int(requests["prompt_hash"].nunique()),
        share=share,
        cost_share=_spent(part.calls) / whole.spent if whole.spent else None,
        costs=costs,
        strong=_quality(pairs, "strong_good"),
        small=_quality(pairs, "small_good"),
        regret=proportion(regrets.some, regrets.prompts, CONFIDENCE),
        saving=_saving(costs.difference, share.value) if task.small else None,
        verdict=judge_slice(regrets, epsilon=promise.epsilon, delta=promise.delta, slices=whole.slices),
        examples=tuple(requests.drop_duplicates("prompt_hash", keep="last")["id"].tail(EXAMPLES)[::-1]),
    )


def _quality(pairs: pd.DataFrame, column: str) -> Estimate:
    return mean_outcome(pairs[column].clip(0, 1), groups=pairs["prompt_hash"], confidence=CONFIDENCE)


def _spent(calls: pd.DataFrame) -> int:
    """What clients' answers cost; what was spent to learn is no property of a slice."""
    return int(calls.loc[calls["role"].isin((Role.LIVE, Role.CANDIDATE)), "cost_usd_micros"].sum())


def _saving(difference: Estimate, share: float) -> Estimate | None:
    if not difference.n or math.isnan(difference.value):
        return None
    scale = PER_REQUESTS * share
    low, high = (end * scale if math.isfinite(end) else end for end in (difference.low, difference.high))
    return Estimate(difference.value * scale, low, high, difference.n)


def _small_price(settings: Settings, task: TaskSettings) -> Price | None:
    model = settings.models.get(task.small) if task.small else None
    return price_of(model) if model else None
