"""From the ledger's rows to tables of outcomes: what was asked, who answered, at what cost, how well.

Invariant: one row a request and one row a call, however many labels a call has; a label that is not
there, or failed to label, is missing and never bad. Bodies are read only where prompts are asked for;
one that is corrupt or gone is skipped and counted. What a call's verdict is, `evals.verdicts` decides.
The module does not know what is made of the tables.

Flags keep apart what a verdict may be used for. A *trusted* one is the truth about its call. A
*representative* one is trusted and was not asked for because the call was interesting: a check's, or a
person's within the audit sample; estimates and promises about the truth rest on these alone. A *drawn* one is
representative or has a judge's or a user's word besides, and may be counted as they see it. On a *ruled* one
a judge gave a verdict: what judges look at is drawn by hash, while users speak when they like.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import pandas as pd
from sqlalchemy import ColumnElement, Select, and_, select

from evals.metrics.fusion import Fused
from evals.metrics.intervals import Estimate
from evals.order_bias import going_by_order
from evals.verdicts import LabelRow, Verdicts, verdicts
from router.fitting.fit import Example
from router.fitting.splits import position
from router.prompt import Prompt
from router.wire import read_prompt
from stepdown.errors import BadRequest, LedgerError
from stepdown.labellers import Kind
from stepdown.ledger import Ledger, schema
from stepdown.ledger.bodies import decompress
from stepdown.records import ANSWERING, Role, Tier
from stepdown.registry import Registry
from stepdown.settings import TaskSettings
from stepdown.students import is_served_name, served_name

AUDIT = "audit"
IN_SERVICE: Any = object()
TRUSTED, JUDGED = "trusted", "judged"
AUDIT_SHARE = TaskSettings().audit_share
CHUNK = 500
DECLARED = ""

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
    "usage_estimated",
    "cost_usd_micros",
)
COUNTS = ("prompt_tokens", "completion_tokens", "cost_usd_micros")
FLAGS = ("trusted", "representative", "drawn", "ruled")
PAIR_VALUES = (
    "good",
    "judged",
    *FLAGS,
    "cost_usd_micros",
    "prompt_tokens",
    "completion_tokens",
)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What the ledger holds of one task, as three tables.

    Attributes:
        requests: One row a request with its decision: `REQUEST_COLUMNS` and `DECISION_COLUMNS`, `answered`,
            the tier whose answer the client received (missing where none came), and `audit`, whether it
            is in the audit sample.
        calls: One row a call: `CALL_COLUMNS`, `ok` (the upstream answered), `verdict` (good, bad,
            unscored or missing), `good` (1 or 0 by a trusted verdict, else the fused probability, or
            missing), `judged` (the fused probability by judges and users alone, or missing), `FLAGS`, and
            `label_cost_usd_micros` (of all labellers).
        pairs: One row a request for which both models were called unconditionally and answered:
            the columns of requests, and `PAIR_VALUES` of each tier as `strong_…` and `small_…`. Small is one
            model alone: what another one answered says nothing of it.
        fused: How judges' and users' labels were fused, by tier.
        by_order: Judges that go by the order of the answers, whose labels count for nothing.
    """

    requests: pd.DataFrame
    calls: pd.DataFrame
    pairs: pd.DataFrame
    fused: Mapping[str, Fused] = field(default_factory=dict)
    by_order: Mapping[str, Estimate] = field(default_factory=dict)

    @property
    def labelled_pairs(self) -> pd.DataFrame:
        """The pairs in which both answers are labelled good or bad, by whomever."""
        return self.pairs.dropna(subset=["strong_good", "small_good"]).reset_index(drop=True)

    @property
    def drawn_pairs(self) -> pd.DataFrame:
        """The labelled pairs that may be counted: none is there because it was interesting to ask about."""
        return self._labelled("drawn")

    @property
    def representative_pairs(self) -> pd.DataFrame:
        """The pairs whose both verdicts are trusted, and that may be counted."""
        return self._labelled("representative")

    @property
    def judges(self) -> tuple[str, ...]:
        """The labellers whose word is only evidence."""
        return tuple(sorted({name for fused in self.fused.values() for name in fused.rates}))

    @property
    def pairs_by_small(self) -> dict[str, pd.DataFrame]:
        """The pairs of each small model by its name in `small_names`."""
        small = self.calls["tier"] == Tier.SMALL
        names = small_names(self.calls["model"])
        return {
            str(name): _pairs_of(self.requests, self.calls, ~small | (names == name))
            for name in sorted(names[small].unique())
        }

    def since(self, start: datetime | None) -> Outcomes:
        """Only the requests that came at `start` or later, and their calls."""
        return self if start is None else self.where(self.requests["at"] >= start)

    def where(self, chosen: pd.Series[bool]) -> Outcomes:
        """Only the chosen requests (a mask over `requests`), and their calls."""
        ids = self.requests.loc[chosen, "id"]
        return replace(
            self,
            requests=self.requests[chosen].reset_index(drop=True),
            calls=self.calls[self.calls["request"].isin(ids)].reset_index(drop=True),
            pairs=self.pairs[self.pairs["id"].isin(ids)].reset_index(drop=True),
        )

    def _labelled(self, flag: str) -> pd.DataFrame:
        pairs = self.labelled_pairs
        return pairs[pairs[f"strong_{flag}"] & pairs[f"small_{flag}"]].reset_index(drop=True)


def read_outcomes(
    ledger: Ledger,
    task: str,
    *,
    audit_share: float = AUDIT_SHARE,
    student: str | None = IN_SERVICE,
    since: datetime | None = None,
) -> Outcomes:
    """Read the outcomes of a task.

    Args:
        ledger: Where they are.
        task: Name of the task.
        audit_share: Of the task's settings: which requests are in its audit sample.
        student: Artifact id of the student whose answers are small's in the pairs; None is the small model
            as declared, and `IN_SERVICE` the one that is in force.
        since: Only requests that came at this time or later; judges' words are then fused from the labels
            of these alone.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    requests = _frame(ledger, _requests_query(task, since), (*REQUEST_COLUMNS, *DECISION_COLUMNS))
    requests["audit"] = _audited(requests["id"], audit_share)
    calls = _typed_calls(_frame(ledger, _calls_query(task, since), CALL_COLUMNS))
    labels = labels_of(ledger, task, since)
    by_order = going_by_order(ledger, task)
    counted = [label for label in labels if label.labeller not in by_order]
    found = verdicts(counted, dict(zip(calls["id"], calls["tier"], strict=True)))
    calls = _with_labels(calls, labels, found, set(requests.loc[requests["audit"], "id"]))
    requests["answered"] = requests["id"].map(_answering(calls))
    for flag in ("explored", "shadowed"):
        requests[flag] = requests[flag].astype("boolean").fillna(False).astype(bool)
    for number in ("gain", "threshold", "propensity"):
        requests[number] = requests[number].astype(float)
    small = _in_service(ledger, task) if student is IN_SERVICE else student
    return Outcomes(requests, calls, _pairs(requests, calls, small), found.fused, by_order)


def _in_service(ledger: Ledger, task: str) -> str | None:
    """The student in force; a promotion that cannot be read keeps nobody from reading the rest."""
    try:
        return Registry(ledger).deployed(task).student
    except LedgerError:
        return None


def calls_frame(ledger: Ledger, task: str) -> pd.DataFrame:
    """One row a call of the task, with its verdict; see `Outcomes.calls`."""
    return read_outcomes(ledger, task).calls


def pairs_frame(
    ledger: Ledger, task: str, *, before: datetime | None = None, audit_share: float = AUDIT_SHARE
) -> pd.DataFrame:
    """One row a request with both answers labelled, and that came before a time; see `Outcomes.pairs`."""
    pairs = read_outcomes(ledger, task, audit_share=audit_share).labelled_pairs
    return pairs if before is None else pairs[pairs["at"] < before].reset_index(drop=True)


def certifiable(pairs: pd.DataFrame, certify_on: str) -> pd.Series[bool]:
    """Which labelled pairs a bound may rest on: the representative, or with `judged` all that are drawn."""
    flag = "drawn" if certify_on == JUDGED else "representative"
    return (pairs[f"strong_{flag}"] & pairs[f"small_{flag}"]).astype(bool)


def training_examples(ledger: Ledger, pairs: pd.DataFrame, *, certify_on: str = TRUSTED) -> list[Example]:
    """What a router is fitted on: a row of `pairs_frame`, unreadable prompts left out.

    Args:
        ledger: Where the prompts are.
        pairs: Labelled pairs.
        certify_on: Whose labels a bound may rest on: `trusted` or `judged`.
    """
    prompts = read_prompts(ledger, pairs["body"]).by_body
    columns = (pairs[name] for name in ("body", "prompt_hash", "strong_good", "small_good", "slice"))
    return [
        Example(prompts[body], group, float(strong), float(small), kind, bool(may_certify))
        for body, group, strong, small, kind, may_certify in zip(
            *columns, certifiable(pairs, certify_on), strict=True
        )
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


def _of_task(task: str, since: datetime | None) -> ColumnElement[bool]:
    requests = schema.requests.c
    return requests.task == task if since is None else and_(requests.task == task, requests.at >= since)


def _requests_query(task: str, since: datetime | None) -> Select[Any]:
    requests, decisions = schema.requests, schema.decisions
    return (
        select(
            *(requests.c[name] for name in REQUEST_COLUMNS), *(decisions.c[name] for name in DECISION_COLUMNS)
        )
        .select_from(requests.outerjoin(decisions, decisions.c.request == requests.c.id))
        .where(_of_task(task, since))
        .order_by(requests.c.at, requests.c.id)
    )


def _calls_query(task: str, since: datetime | None) -> Select[Any]:
    requests, calls = schema.requests, schema.calls
    return (
        select(*(calls.c[name] for name in CALL_COLUMNS))
        .select_from(calls.join(requests, requests.c.id == calls.c.request))
        .where(_of_task(task, since))
        .order_by(calls.c.at, calls.c.id)
    )


def labels_of(ledger: Ledger, task: str, since: datetime | None = None) -> list[LabelRow]:
    """All labels of a task's calls, or of those whose request came at a time or later."""
    requests, calls, labels = schema.requests, schema.calls, schema.labels
    of_calls = labels.join(calls, calls.c.id == labels.c.subject)
    query = (
        select(*(labels.c[name] for name in LabelRow._fields))
        .select_from(of_calls.join(requests, requests.c.id == calls.c.request))
        .where(_of_task(task, since))
    )
    return [LabelRow._make(row) for row in ledger.rows(query)]


def _frame(ledger: Ledger, query: Select[Any], columns: Sequence[str]) -> pd.DataFrame:
    frame = pd.DataFrame([tuple(row) for row in ledger.rows(query)], columns=list(columns), dtype=object)
    if "at" in frame:
        frame["at"] = pd.to_datetime(frame["at"], utc=True)
    return frame


def _typed_calls(calls: pd.DataFrame) -> pd.DataFrame:
    for name in COUNTS:
        calls[name] = calls[name].astype("Int64")
    calls["usage_estimated"] = calls["usage_estimated"].astype(bool)
    calls["status"] = calls["status"].astype(int)
    calls["ok"] = calls["status"].between(200, 299)
    return calls


def _with_labels(
    calls: pd.DataFrame, labels: Sequence[LabelRow], found: Verdicts, audit: set[str]
) -> pd.DataFrame:
    costs: Counter[str] = Counter()
    for label in labels:
        costs[label.subject] += label.cost_usd_micros
    calls["label_cost_usd_micros"] = calls["id"].map(lambda name: costs[name]).astype("int64")
    standing = [found.by_call.get(name) for name in calls["id"]]
    for name in ("verdict", "good", "judged", "source"):
        calls[name] = [getattr(one, name) if one is not None else None for one in standing]
    for name in ("good", "judged"):
        calls[name] = calls[name].astype(float)
    calls["verdict"] = calls["verdict"].astype(object)
    for name in ("trusted", "ruled"):
        calls[name] = [one is not None and getattr(one, name) for one in standing]
    checked = pd.Series([one is not None and one.checked for one in standing], index=calls.index, dtype=bool)
    by_person = (calls["source"] == Kind.PERSON) & calls["request"].isin(audit)
    calls["representative"] = calls["trusted"].astype(bool) & (checked | by_person)
    calls["drawn"] = calls["good"].notna() & (calls["representative"] | calls["judged"].notna())
    for flag in FLAGS:
        calls[flag] = calls[flag].astype(bool)
    return calls


def _audited(requests: Iterable[str], share: float) -> pd.Series[bool]:
    """Whether requests are in the audit sample: drawn by a hash of their ids, uniform and fixed."""
    return pd.Series([position(name, 0, AUDIT) < share for name in requests], dtype=bool)


def _answering(calls: pd.DataFrame) -> dict[str, str]:
    """The tier of each request's last successful answering call."""
    answers = calls[calls["ok"] & calls["role"].isin(ANSWERING)]
    return dict(zip(answers["request"], answers["tier"], strict=True))


def of_small(models: pd.Series[str], student: str | None) -> pd.Series[bool]:
    """Which model names are a student's, or, for None, are those of no student."""
    if student is not None:
        return models == served_name(student)
    return ~models.map(is_served_name).astype(bool)


def small_names(models: pd.Series[str]) -> pd.Series[str]:
    """Which small model a name is: a student by its served name, and `DECLARED` what is no student."""
    return models.where(models.map(is_served_name).astype(bool), DECLARED)


def _pairs(requests: pd.DataFrame, calls: pd.DataFrame, student: str | None) -> pd.DataFrame:
    return _pairs_of(requests, calls, (calls["tier"] != Tier.SMALL) | of_small(calls["model"], student))


def _pairs_of(requests: pd.DataFrame, calls: pd.DataFrame, of_tiers: pd.Series[bool]) -> pd.DataFrame:
    # An escalation is made because the small answer looked bad: such a pair is no random one.
    unconditional = calls["ok"] & calls["role"].isin((Role.LIVE, Role.SHADOW)) & of_tiers
    usable = _with_candidates(calls[unconditional], calls)
    pairs = requests
    for tier in Tier:
        of_tier = usable[usable["tier"] == tier].drop_duplicates("request", keep="last")
        named = of_tier.set_index("request")[list(PAIR_VALUES)].add_prefix(f"{tier}_")
        pairs = pairs.merge(named, left_on="id", right_index=True, how="inner")
    return pairs.sort_values(["at", "id"], kind="stable").reset_index(drop=True)


def _with_candidates(answers: pd.DataFrame, calls: pd.DataFrame) -> pd.DataFrame:
    """Strong's answers with the cost and the tokens of the candidates that were asked beside them."""
    beside = calls[calls["ok"] & (calls["role"] == Role.CANDIDATE)]
    if beside.empty:
        return answers
    answers = answers.copy()
    strong = answers["tier"] == Tier.STRONG
    for name in COUNTS[1:]:
        # One unknown makes the sum unknown.
        more = beside.groupby("request")[name].agg(lambda counts: counts.sum(skipna=False))
        answers.loc[strong, name] += answers.loc[strong, "request"].map(more).fillna(0).astype("Int64")
    return answers
