"""Who can be asked on the playground: the declared models, the students that are served, and the policy.

Invariant: a column names what it asks, and is found again by that name alone; one that is not on offer is
refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stepdown.errors import BadRequest
from stepdown.ledger import Ledger
from stepdown.records import Tier
from stepdown.registry import Registry
from stepdown.replicas import Replicas
from stepdown.settings import Settings, TaskSettings
from stepdown.students import PREFIX, is_served_name, served_name, with_student

POLICY = "policy"
MODEL, STUDENT = "model:", "student:"
IN_SERVICE, ON_TRIAL, LOADED = "the small model in service", "on trial", "loaded by a server"


@dataclass(frozen=True, slots=True)
class Column:
    """One who can be asked.

    Attributes:
        name: `policy`, `model:ALIAS` or `student:SERVED NAME`.
        words: What it is called on the page; `note` says what it is.
        alias: Of the model in the settings of `Offer`; None for the policy.
        tier: As which of the task's models it is scored; None where it is neither.
    """

    name: str
    words: str
    note: str
    alias: str | None = None
    tier: Tier | None = None
    is_chosen: bool = False


@dataclass(frozen=True, slots=True)
class Offer:
    """All who can be asked about a task.

    Attributes:
        settings: Those of the whole, with the students as models of their own.
        small: Alias of the small model in service, a student's where there is one.
    """

    columns: Mapping[str, Column]
    settings: Settings
    small: str | None

    def column(self, name: str) -> Column:
        """A column by its name.

        Raises:
            BadRequest: There is none.
        """
        if name not in self.columns:
            known = ", ".join(self.columns) or "none, as no model is declared"
            raise BadRequest(f"{name!r:.200} is not on offer; there are {known}", param="column")
        return self.columns[name]


def offer_of(ledger: Ledger, settings: Settings, task_name: str) -> Offer:
    """Who can be asked about a task.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    task = settings.tasks.get(task_name, TaskSettings())
    students = _students(ledger, task.small, task_name) if task.small else {}
    small = next((name for name, note in students.items() if note == IN_SERVICE), task.small)
    columns = (
        [Column(POLICY, "The policy", "whichever model it chooses", is_chosen=True)] if task.small else []
    )
    columns += [
        Column(
            f"{MODEL}{alias}",
            alias,
            model.model,
            alias,
            _tier(alias, task, small),
            alias in (task.strong, small),
        )
        for alias, model in settings.models.items()
    ]
    for name, note in students.items():
        assert task.small is not None, "without a small model there are no students"
        digits = name.removeprefix(PREFIX)
        settings = with_student(settings, task.small, digits)
        tier = _tier(name, task, small)
        columns.append(Column(f"{STUDENT}{name}", f"student {digits[:8]}", note, name, tier, name == small))
    return Offer({column.name: column for column in columns}, settings, small)


def _students(ledger: Ledger, small: str, task: str) -> dict[str, str]:
    """The students that servers have, or should have, by served name, and what each is."""
    deployed = Registry(ledger).deployed(task)
    loaded = {
        name: LOADED
        for replica in Replicas(ledger).all()
        if replica.alias == small
        for name in sorted(replica.adapters)
        if is_served_name(name)
    }
    named = {deployed.candidate: ON_TRIAL, deployed.student: IN_SERVICE}
    return loaded | {served_name(student): note for student, note in named.items() if student}


def _tier(alias: str, task: TaskSettings, small: str | None) -> Tier | None:
    if alias == task.strong:
        return Tier.STRONG
    return Tier.SMALL if alias == small else None
