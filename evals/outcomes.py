"""From the ledger's rows to tables of outcomes: what was asked, who answered, at what cost, how well.

Invariant: one row a request and one row a call, however many labels a call has; a label that is not
there, or failed to label, is missing and never bad. Bodies are read only where prompts are asked for;
one that is corrupt or gone is skipped and counted. The module does not know what is made of the tables.

A call is good where every check that labelled it (`check:*`, each by its newest label) says good,
bad where one of them says bad, and unscored where one of them failed to label (whatever the others
say: to keep such calls only where another check found them bad would tilt the sample).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import pandas as pd
from sqlalchemy import Select, select

from router.fitting.fit import Example
from router.prompt import Prompt
from router.wire import read_prompt
from stepdown.errors import BadRequest, LedgerError
from stepdown.ledger import Ledger, schema
from stepdown.ledger.bodies import decompress
from stepdown.records import Role, Tier, Verdict

CHECK_PREFIX = "check:"
CHUNK = 500
ANSWERING = (Role.LIVE, Role.ESCALATION)

REQUEST_COLUMNS = ("id", "at", "prompt_hash", "body", "slice", "status", "model_asked")
DECISION_COLUMNS = (
    "mode",
    "policy",
    "chosen",
    "reason",
    "gain",
    "threshold",
    "explored",
    "shadowed",
    "propensity",
)
CALL_COLUMNS = (
    "id",
    "request",
    "at",
    "role",
    "tier",
    "model",
    "status",
    "complete",
    "prompt_tokens",
    "completion_tokens",
    "cost_usd_micros",
)
COUNTS = ("prompt_tokens", "completion_tokens", "cost_usd_micros")
PAIR_VALUES = ("good", "cost_usd_micros", "prompt_tokens", "completion_tokens")


class _LabelRow(NamedTuple):
    subject: str
    labeller: str
    version: str
    at: datetime
    verdict: str
    cost_usd_micros: int


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What the ledger holds of one task, as three tables.

    Attributes:
        requests: One row a request with its decision: `REQUEST_COLUMNS` and `DECISION_COLUMNS`, and
            `answered`, the tier whose answer the client received (missing where none came).
        calls: One row a call: `CALL_COLUMNS`, `ok` (the upstream answered), `verdict` (good, bad,
            unscored or missing), `good` (1, 0 or missing), `label_cost_usd_micros` (of all labellers).
        pairs: One row a request for which both models were called unconditionally and answered:
            the columns of requests, and `PAIR_VALUES` of each tier as `strong_…` and `small_…`.
    """

    requests: pd.DataFrame
    calls: pd.DataFrame
    pairs: pd.DataFrame

    @property
    def labelled_pairs(self) -> pd.DataFrame:
        """The pairs in which both answers are labelled good or bad."""
        return self.pairs.dropna(subset=["strong_good", "small_good"]).reset_index(drop=True)

    def since(self, start: datetime | None) -> Outcomes:
        """Only the requests that came at `start` or later, and their calls."""
        if start is None:
            return self
        requests = self.requests[self.requests["at"] >= start].reset_index(drop=True)
        return Outcomes(
            requests,
            self.calls[self.calls["request"].isin(requests["id"])].reset_index(drop=True),
            self.pairs[self.pairs["at"] >= start].reset_index(drop=True),
        )

    def where(self, chosen: pd.Series[bool]) -> Outcomes:
        """Only the chosen requests (a mask over `requests`), and their calls."""
        ids = self.requests.loc[chosen, "id"]
        return Outcomes(
            self.requests[chosen].reset_index(drop=True),
            self.calls[self.calls["request"].isin(ids)].reset_index(drop=True),
            self.pairs[self.pairs["id"].isin(ids)].reset_index(drop=True),
        )


def read_outcomes(ledger: Ledger, task: str) -> Outcomes:
    """Read the outcomes of a task.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    requests = _frame(ledger, _requests_query(task), (*REQUEST_COLUMNS, *DECISION_COLUMNS))
    calls = _typed_calls(_frame(ledger, _calls_query(task), CALL_COLUMNS))
    calls = _with_labels(calls, _labels_of(ledger, task))
    requests["answered"] = requests["id"].map(_answering(calls))
    for flag in ("explored", "shadowed"):
        requests[flag] = requests[flag].astype("boolean").fillna(False).astype(bool)
    for number in ("gain", "threshold", "propensity"):
        requests[number] = requests[number].astype(float)
    return Outcomes(requests, calls, _pairs(requests, calls))


def calls_frame(ledger: Ledger, task: str) -> pd.DataFrame:
    """One row a call of the task, with its verdict; see `Outcomes.calls`."""
    return read_outcomes(ledger, task).calls


def pairs_frame(ledger: Ledger, task: str, *, before: datetime | None = None) -> pd.DataFrame:
    """One row a request with both answers labelled, and that came before a time; see `Outcomes.pairs`."""
    pairs = read_outcomes(ledger, task).labelled_pairs
    return pairs if before is None else pairs[pairs["at"] < before].reset_index(drop=True)


def training_examples(ledger: Ledger, pairs: pd.DataFrame) -> list[Example]:
    """What a router is fitted on: a row of `pairs_frame`, unreadable prompts left out."""
    prompts = read_prompts(ledger, pairs["body"]).by_body
    columns = (pairs[name] for name in ("body", "prompt_hash", "strong_good", "small_good", "slice"))
    return [
        Example(prompts[body], group, float(strong), float(small), kind)
        for body, group, strong, small, kind in zip(*columns, strict=True)
        if body in prompts
    ]


@dataclass(frozen=True, slots=True)
class Prompts:
    """Prompts by the digest of their body, and how many bodies could not be read."""

    by_body: dict[str, Prompt]
    skipped: int


def read_prompts(ledger: Ledger, bodies: Iterable[str]) -> Prompts:
    """The prompts of request bodies, read in chunks; the unreadable are skipped and counted."""
    wanted = sorted(set(bodies))
    found: dict[str, Prompt] = {}
    table = schema.bodies
    for start in range(0, len(wanted), CHUNK):
        chunk = wanted[start : start + CHUNK]
        for row in ledger.rows(select(table.c.digest, table.c.content).where(table.c.digest.in_(chunk))):
            try:
                found[row.digest] = read_prompt(decompress(row.digest, row.content))
            except (LedgerError, BadRequest):
                continue  # counted below: whatever was wanted and not found
    return Prompts(found, len(wanted) - len(found))


def _requests_query(task: str) -> Select[Any]:
    requests, decisions = schema.requests, schema.decisions
    return (
        select(
            *(requests.c[name] for name in REQUEST_COLUMNS), *(decisions.c[name] for name in DECISION_COLUMNS)
        )
        .select_from(requests.outerjoin(decisions, decisions.c.request == requests.c.id))
        .where(requests.c.task == task)
        .order_by(requests.c.at, requests.c.id)
    )


def _calls_query(task: str) -> Select[Any]:
    requests, calls = schema.requests, schema.calls
    return (
        select(*(calls.c[name] for name in CALL_COLUMNS))
        .select_from(calls.join(requests, requests.c.id == calls.c.request))
        .where(requests.c.task == task)
        .order_by(calls.c.at, calls.c.id)
    )


def _labels_of(ledger: Ledger, task: str) -> list[_LabelRow]:
    requests, calls, labels = schema.requests, schema.calls, schema.labels
    of_calls = labels.join(calls, calls.c.id == labels.c.subject)
    query = (
        select(*(labels.c[name] for name in _LabelRow._fields))
        .select_from(of_calls.join(requests, requests.c.id == calls.c.request))
        .where(requests.c.task == task)
    )
    return [_LabelRow._make(row) for row in ledger.rows(query)]


def _frame(ledger: Ledger, query: Select[Any], columns: Sequence[str]) -> pd.DataFrame:
    frame = pd.DataFrame([tuple(row) for row in ledger.rows(query)], columns=list(columns), dtype=object)
    if "at" in frame:
        frame["at"] = pd.to_datetime(frame["at"], utc=True)
    return frame


def _typed_calls(calls: pd.DataFrame) -> pd.DataFrame:
    for name in COUNTS:
        calls[name] = calls[name].astype("Int64")
    calls["status"] = calls["status"].astype(int)
    calls["ok"] = calls["status"].between(200, 299)
    return calls


def _with_labels(calls: pd.DataFrame, labels: Sequence[_LabelRow]) -> pd.DataFrame:
    costs: Counter[str] = Counter()
    for label in labels:
        costs[label.subject] += label.cost_usd_micros
    calls["label_cost_usd_micros"] = calls["id"].map(lambda name: costs[name]).astype("int64")
    calls["verdict"] = calls["id"].map(_verdicts(labels)).astype(object)
    calls["good"] = calls["verdict"].map({Verdict.GOOD.value: 1.0, Verdict.BAD.value: 0.0}).astype(float)
    return calls


def _verdicts(labels: Sequence[_LabelRow]) -> dict[str, str]:
    """The one verdict of each call; see the module's docstring."""
    newest: dict[tuple[str, str], tuple[datetime, str, str]] = {}
    for label in labels:
        if label.labeller.startswith(CHECK_PREFIX):
            key, entry = (label.subject, label.labeller), (label.at, label.version, label.verdict)
            newest[key] = max(newest.get(key, entry), entry)
    by_call: dict[str, set[str]] = defaultdict(set)
    for (subject, _), (_, _, verdict) in newest.items():
        by_call[subject].add(verdict)
    return {subject: _joint(verdicts) for subject, verdicts in by_call.items()}


def _joint(verdicts: set[str]) -> str:
    if not verdicts <= {Verdict.GOOD, Verdict.BAD}:
        return Verdict.UNSCORED.value
    return Verdict.BAD.value if Verdict.BAD in verdicts else Verdict.GOOD.value


def _answering(calls: pd.DataFrame) -> dict[str, str]:
    """The tier of each request's last successful answering call."""
    answers = calls[calls["ok"] & calls["role"].isin(ANSWERING)]
    return dict(zip(answers["request"], answers["tier"], strict=True))


def _pairs(requests: pd.DataFrame, calls: pd.DataFrame) -> pd.DataFrame:
    # An escalation is made because the small answer looked bad: such a pair is no random one.
    usable = calls[calls["ok"] & calls["role"].isin((Role.LIVE, Role.SHADOW))]
    pairs = requests
    for tier in Tier:
        of_tier = usable[usable["tier"] == tier].drop_duplicates("request", keep="last")
        named = of_tier.set_index("request")[list(PAIR_VALUES)].add_prefix(f"{tier}_")
        pairs = pairs.merge(named, left_on="id", right_index=True, how="inner")
    return pairs.sort_values(["at", "id"], kind="stable").reset_index(drop=True)
