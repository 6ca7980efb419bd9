"""What all documents of a task are made from: its newest outcomes, read once, and what is in force.

Invariant: whatever the size of the ledger, a bounded number of requests is looked at, and the documents say
from when on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pandas as pd
from sqlalchemy import func, select

from evals.outcomes import Outcomes, read_outcomes
from evals.report.build import rates_of
from evals.report.savings import Draws, Rates
from stepdown.bound_in_force import with_bound
from stepdown.ledger import Ledger, schema
from stepdown.records import Deployed, Promotion, Reason
from stepdown.registry import Registry
from stepdown.settings import Settings, TaskSettings

CONFIDENCE = 0.95
LONGEST = timedelta(days=90)
MOST_REQUESTS = 200_000
MOST_PAIRS = 5_000  # the newest of each small model, from which strong's costs are estimated


@dataclass(frozen=True)
class Scene:
    """A task as it is looked at.

    Attributes:
        declared: Its settings, under the bound in force.
        at: The present.
        since: Requests from before are left out; None leaves out none.
        outcomes: Of the requests since then.
        everything: All outcomes that were read; where they were read for these documents, the same.
        history: Pairs by small model, see `Outcomes.pairs_by_small`; of each the newest.
        draws: Resamples of the history, shared by all bills.
        promotions: All, the oldest first.
    """

    ledger: Ledger
    settings: Settings
    task: str
    declared: TaskSettings
    at: datetime
    since: datetime | None
    outcomes: Outcomes
    everything: Outcomes
    history: Mapping[str, pd.DataFrame]
    rates: Rates
    promotions: Sequence[Promotion]
    draws: Draws = field(default_factory=dict)

    @property
    def deployed(self) -> Deployed:
        """What is in force."""
        return self.promotions[-1].deployed if self.promotions else Deployed()

    @property
    def router_since(self) -> datetime | None:
        """When the router in force was put in force; None where none is."""
        artifact, since = self.deployed.artifact, None
        for promotion in reversed(self.promotions):
            if artifact is None or promotion.artifact != artifact:
                break
            since = promotion.at
        return since

    @property
    def decided(self) -> pd.DataFrame:
        """The requests on which the policy decided."""
        requests = self.outcomes.requests
        return requests[requests["reason"].notna() & (requests["reason"] != Reason.NAMED)]


def see(
    ledger: Ledger, settings: Settings, task: str, at: datetime, outcomes: Outcomes | None = None
) -> Scene:
    """Look at a task.

    Args:
        ledger: Where everything is.
        settings: All settings.
        task: Name of the task.
        at: The present.
        outcomes: All its outcomes, where they have been read already.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    promotions = Registry(ledger).history(task)
    in_force = promotions[-1].deployed if promotions else Deployed()
    declared = with_bound(settings.tasks.get(task, TaskSettings()), in_force)
    since = first_looked_at(ledger, task, at)
    if outcomes is None:
        outcomes = read_outcomes(ledger, task, audit_share=declared.audit_share, since=since)
    looked_at = outcomes.since(since)
    return Scene(
        ledger=ledger,
        settings=settings,
        task=task,
        declared=declared,
        at=at,
        since=since,
        outcomes=looked_at,
        everything=outcomes,
        history={name: pairs.tail(MOST_PAIRS) for name, pairs in looked_at.pairs_by_small.items()},
        rates=rates_of(settings, settings.tasks.get(task)),
        promotions=promotions,
    )


def first_looked_at(ledger: Ledger, task: str, at: datetime) -> datetime | None:
    """From when on requests are looked at; None where that is all of them.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    requests = schema.requests.c
    newest = select(requests.at).where(requests.task == task).order_by(requests.at.desc())
    beyond = ledger.rows(newest.offset(MOST_REQUESTS - 1).limit(2))
    oldest = ledger.rows(select(func.min(requests.at)).where(requests.task == task))[0][0]
    starts = [at - LONGEST] if oldest is not None and oldest < at - LONGEST else []
    starts += [beyond[0].at] if len(beyond) == 2 else []
    return max(starts, default=None)
