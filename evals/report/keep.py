"""Keeps a task's report in the ledger, as an artifact."""

from __future__ import annotations

from evals.outcomes import Outcomes
from evals.report.build import build_report
from evals.report.encode import to_json
from evals.report.tree import Report
from stepdown import __version__
from stepdown.ledger import Ledger
from stepdown.records import Artifact
from stepdown.registry import Registry
from stepdown.settings import Settings

REPORT = "report"


def keep_report(
    ledger: Ledger, settings: Settings, task: str, *, outcomes: Outcomes | None = None
) -> Artifact:
    """Build the report of a task and keep it; where nothing changed it is the one that is there.

    Args:
        ledger: Where everything is.
        settings: For prices and for what the task was promised.
        task: Name of the task.
        outcomes: All its outcomes, where they have been read already.

    Raises:
        SettingsError: The task is not declared and has no requests.
        LedgerError: The ledger refused.
    """
    report = build_report(ledger, settings, task, outcomes=outcomes)
    parents = (report.promise.artifact,) if report.promise else ()
    return Registry(ledger).keep(
        REPORT,
        task,
        to_json(report),
        parents=parents,
        settings={"confidence": report.confidence, "code_version": __version__},
        summary=_summary(report),
    )


def _summary(report: Report) -> dict[str, object]:
    bill = report.bill
    return {
        "mode": report.mode,
        "requests": report.served.requests if report.served else 0,
        "labelled_prompts": report.labelled_prompts,
        "net_saving_usd_micros": list(bill.net) if bill else None,
        "missing": list(report.missing),
    }
