"""What a student cost, line by line with its time. Pure: rows in, tables out.

The expenses of a training are those of every student that it made, whole; those of exports are shared equally
among the forms in which a student was exported, and are its own where there is none. A judge looks at
requests and not at students: what it took for a request is shared equally among the small models whose
answers to it were judged, or, where no verdict stands, among all that answered it. Invariant: a line whose
price is not known has no price, and stays in the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from distill.bill.tree import Cost
from evals.outcomes import small_names
from stepdown.records import Role, Tier
from stepdown.students import served_name

TRAINING, EXPORT, LABELLING, ASKING, LIVE = "training", "export", "labelling", "asking", "live"
COLUMNS = ("at", "kind", "usd_micros")

Line = tuple[Any, str, float | None]


class Claims(NamedTuple):
    """Which expenses are on a student's bill.

    Attributes:
        training: What its training is known by: the run, and its own id.
        export: The share of each subject's exports that is its own.
    """

    training: frozenset[str]
    export: Mapping[str, float]

    def share(self, kind: str, subject: str) -> float:
        """The share of an expense that is the student's."""
        return self.export.get(subject, 0.0) if kind == EXPORT else float(subject in self.training)


class Spent(NamedTuple):
    """What was paid on a task beside live calls, and for its calls.

    Attributes:
        expenses: Rows `at`, `kind`, `subject`, `cost_usd_micros`.
        cached: Rows `at`, `model`, `cost_usd_micros`: answers of evaluations and practice.
        calls: `Outcomes.calls`.
    """

    expenses: Sequence[Any]
    cached: Sequence[Any]
    calls: pd.DataFrame


def cost_lines(spent: Spent, student: str, claims: Claims) -> pd.DataFrame:
    """All that a student cost but its rent: one row a line, `COLUMNS`; an unknown price is missing.

    Args:
        spent: What was paid on its task.
        student: Its artifact id.
        claims: Which expenses are its own.
    """
    name = served_name(student)
    lines: list[Line] = [
        (row.at, EXPORT if row.kind == EXPORT else TRAINING, _part(row.cost_usd_micros, share))
        for row in spent.expenses
        if (share := claims.share(row.kind, row.subject))
    ]
    lines += [(row.at, ASKING, row.cost_usd_micros) for row in spent.cached if row.model == name]
    own = spent.calls[(spent.calls["tier"] == Tier.SMALL) & (spent.calls["model"] == name)]
    lines += _call_lines(own)
    lines += _judging(spent.calls, name)
    frame = pd.DataFrame(lines, columns=list(COLUMNS))
    return frame.assign(
        at=pd.to_datetime(frame["at"], utc=True), usd_micros=frame["usd_micros"].astype(float)
    )


def _part(cost: float | None, share: float) -> float | None:
    return None if cost is None else cost * share


def total(lines: pd.DataFrame, kind: str) -> Cost:
    """The sum of the lines of a kind."""
    of_kind = lines.loc[lines["kind"] == kind, "usd_micros"]
    return Cost(round(float(of_kind.sum())), int(of_kind.isna().sum()))


def _call_lines(own: pd.DataFrame) -> list[Line]:
    """A call that failed and has no cost was not paid for."""
    paid = own[own["ok"] | own["cost_usd_micros"].notna()]
    kinds = paid["role"].eq(Role.SHADOW).map({True: ASKING, False: LIVE})
    lines: list[Line] = list(zip(paid["at"], kinds, _costs(paid), strict=True))
    labelled = own[own["label_cost_usd_micros"] > 0]
    columns = labelled["at"], labelled["label_cost_usd_micros"].astype(float)
    return lines + [(at, LABELLING, cost) for at, cost in zip(*columns, strict=True)]


def _judging(calls: pd.DataFrame, name: str) -> list[Line]:
    judging = calls[(calls["role"] == Role.JUDGE) & (calls["ok"] | calls["cost_usd_micros"].notna())]
    if judging.empty:
        return []
    share = _judged_share(calls[calls["request"].isin(judging["request"])], name)
    own = judging[judging["request"].isin(share.index)]
    columns = own["at"], own["request"], _costs(own)
    return [
        (at, LABELLING, _part(cost, float(share[request])))
        for at, request, cost in zip(*columns, strict=True)
    ]


def _judged_share(calls: pd.DataFrame, name: str) -> pd.Series[float]:
    """The share of each request's judging that is for one small model's answer, where it has any."""
    small = calls[(calls["tier"] == Tier.SMALL) & calls["ok"] & (calls["role"] != Role.JUDGE)]
    small = small.assign(small=small_names(small["model"]))
    ruled = small.groupby("request")["ruled"].transform("any")
    judged = small[small["ruled"] | ~ruled].drop_duplicates(["request", "small"])
    models = judged.groupby("request")["small"].transform("size")
    mine = judged["small"] == name
    return pd.Series(1.0 / models[mine].to_numpy(dtype=float), index=judged.loc[mine, "request"])


def _costs(calls: pd.DataFrame) -> list[float | None]:
    return [None if pd.isna(cost) else float(cost) for cost in calls["cost_usd_micros"]]
