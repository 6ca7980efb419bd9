"""The agent beside one server that serves whole checkpoints: it swaps them when what is in force changes.

Invariant: servers are swapped one after another, and the last that serves what traffic points at is not
swapped for something else. A checkpoint that does not start leaves the old one in its place.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

from distill.serving.assignment import Assignment, assign
from distill.serving.child import Checkpoint, ServerChild
from distill.serving.servers import asked_for, is_to_sleep, turn
from distill.serving.vllm import ServerAway, VllmServer
from distill.serving.wanted import Wanted, wanted_of
from stepdown.errors import ArtifactError, ServingError
from stepdown.ids import now
from stepdown.ledger import Ledger
from stepdown.registry import Registry
from stepdown.replicas import Replica, Replicas, State
from stepdown.settings import Settings
from stepdown.students import Store, manifest_of, served_name

WHOLE = ("merged", "int8", "fp8")
RELOADS = 2
DRAIN_S = 120.0
TICK_S = 0.1
STALE_S = 1800.0  # as long as the start of another server may take, during which nobody else notes anything
TRY_AGAIN_S = 600.0


class Agent:
    """The agent of one server.

    Args:
        ledger: Where the registry is, and what is served is noted.
        settings: All settings.
        alias: The model.
        servers: Clients of all its servers.
        url: Of this server, as the settings name it.
        child: This server.
        server: A client of it.
        store: The folder of students as it is seen here.
        say: Gets one line for each event.
    """

    def __init__(
        self,
        ledger: Ledger,
        settings: Settings,
        alias: str,
        servers: Sequence[VllmServer],
        url: str,
        child: ServerChild,
        server: VllmServer,
        store: Store,
        say: Callable[[str], None],
    ) -> None:
        self._ledger, self._settings, self._alias, self._url = ledger, settings, alias, url
        self._servers, self._child, self._server, self._store = servers, child, server, store
        self._say = say
        self._failed: dict[str, tuple[float, str]] = {}

    def look(self) -> None:
        """See what this server is to serve, and bring that about.

        Raises:
            LedgerError: The ledger refused.
        """
        with turn(self._ledger, self._alias) as held:
            if not held:
                return  # another server is being swapped
            if is_to_sleep(self._ledger, self._alias):
                self._note(State.ASLEEP)
            elif (why := self._asleep_still()) is not None:
                self._note(State.ASLEEP, why)
            else:
                self._look()

    def _asleep_still(self) -> str | None:
        """Wake a server that sleeps though nothing is trained; returns why it does not wake."""
        if self._child.checkpoint is None:
            return None
        try:
            if self._server.is_asleep():
                self._server.wake()
                self._say("woken: it slept though nothing is trained")
        except ServerAway:
            return None  # nothing can be said of it
        except ServingError as error:
            return str(error)
        return None

    def _look(self) -> None:
        wanted = wanted_of(self._ledger, self._settings, self._alias)
        assignment = self._assignment(wanted)
        target, serves = assignment.models[self._url], self._child.checkpoint
        notes = [self._said_of(assignment, name) for name in assignment.unplaced]
        if serves is None or serves.name != target:
            notes += self._change(target, serves, wanted)
        self._note(State.SERVING if self._child.checkpoint else State.AWAY, "; ".join(notes))

    def _said_of(self, assignment: Assignment, name: str) -> str:
        return (
            f"{name!r} finds no server: each of {len(assignment.models)} serves one checkpoint, and what is "
            f"in force goes first; it cannot be tried before models.{self._alias}.replicas names more"
        )

    def _change(self, target: str, serves: Checkpoint | None, wanted: Wanted) -> list[str]:
        """Start or swap; returns what is wrong."""
        try:
            if self._is_last(serves, wanted):
                return [
                    f"{target!r} waits: no other server has {serves.name!r}, which traffic is for"
                    if serves
                    else ""
                ]
            self._check_not_failed(target)
            checkpoint = self._checkpoint(target, wanted)
            if serves is not None:
                self._drain(target)
            self._start(checkpoint)
        except (ServingError, ArtifactError) as error:
            self._fail(target, str(error))
            return [str(error), *self._put_back(serves)]
        return []

    def _put_back(self, serves: Checkpoint | None) -> list[str]:
        """Have the server serve what it did, or else the model as declared."""
        if self._child.checkpoint is not None:
            return []
        old = serves or self._base()
        try:
            self._start(old)
        except ServingError as error:
            return [str(error)]
        return [f"back to {old.name!r}"]

    def _start(self, checkpoint: Checkpoint) -> None:
        self._child.start(checkpoint)
        self._say(f"serves {checkpoint.name!r} from {checkpoint.path!r}")

    def _check_not_failed(self, target: str) -> None:
        again, why = self._failed.get(target, (0.0, ""))
        if time.monotonic() < again:
            raise ServingError(f"{why} (tried again after {TRY_AGAIN_S:g} s)")

    def _fail(self, target: str, why: str) -> None:
        again, _ = self._failed.get(target, (0.0, ""))
        if time.monotonic() >= again:
            self._failed[target] = (time.monotonic() + TRY_AGAIN_S, why)
            self._say(why)

    def _is_last(self, serves: Checkpoint | None, wanted: Wanted) -> bool:
        """Whether this server is the only one with what traffic points at."""
        if serves is None or serves.name not in self._names(wanted.in_force):
            return False
        return not any(_answers_as(other, serves.name) for other in self._servers if other.url != self._url)

    def _drain(self, target: str) -> None:
        """Have the proxies send this server nothing, and wait for what is under way."""
        self._note(State.AWAY, f"is about to serve {target!r}")
        time.sleep(RELOADS * self._settings.proxy.reload_s)
        deadline = time.monotonic() + DRAIN_S
        while self._server.busy() and time.monotonic() < deadline:
            time.sleep(TICK_S)

    def _assignment(self, wanted: Wanted) -> Assignment:
        return assign(
            self._settings.models[self._alias].servers,
            self._has(),
            in_force=self._names(wanted.in_force),
            on_trial={served_name(student): share for student, share in wanted.on_trial.items()},
            asked_for=self._names(self._asked_for(wanted)),
        )

    def _has(self) -> dict[str, str]:
        """What each server was lately seen to serve, and this one serves."""
        seen = {
            replica.url: next(iter(replica.adapters), self._base().name)
            for replica in Replicas(self._ledger).all()
            if replica.alias == self._alias and replica.state is State.SERVING and not self._is_stale(replica)
        }
        seen.pop(self._url, None)
        serves = self._child.checkpoint
        return seen if serves is None else {**seen, self._url: serves.name}

    def _is_stale(self, replica: Replica) -> bool:
        return now() - replica.at > timedelta(seconds=STALE_S)

    def _asked_for(self, wanted: Wanted) -> list[str]:
        """Of what unfinished nights made, what somebody asked to be served, the latest first."""
        beats = {
            student: self._ledger.last_beat(asked_for(served_name(student))) for student in wanted.tonight
        }
        asked = [(beat, student) for student, beat in beats.items() if beat is not None]
        return [student for _, student in sorted(asked, reverse=True)]

    def _names(self, students: Sequence[str | None]) -> list[str]:
        return [self._base().name if student is None else served_name(student) for student in students]

    def _base(self) -> Checkpoint:
        """The model as declared."""
        model = self._settings.models[self._alias].model
        tasks = self._settings.tasks.values()
        bases = [
            task.student.base for task in tasks if task.small == self._alias and task.student is not None
        ]
        return Checkpoint(model, bases[0] if bases else model)

    def _checkpoint(self, name: str, wanted: Wanted) -> Checkpoint:
        """What to start for a name, its files verified.

        Raises:
            ServingError: It is no whole checkpoint, or its files are not as they were made.
            ArtifactError: It is missing, or corrupt.
        """
        if name == self._base().name:
            return self._base()
        student = next(student for student in wanted.students if served_name(student) == name)
        manifest = manifest_of(Registry(self._ledger).artifact(student))
        if manifest.variant not in WHOLE:
            raise ServingError(
                f"student {name!r} is of variant {manifest.variant!r}, and {self._alias!r} is served with "
                f"whole checkpoints: export one of {', '.join(WHOLE)}"
            )
        if (complaint := self._store.complaint(manifest)) is not None:
            raise ServingError(f"student {name!r} is not started: {complaint}")
        return Checkpoint(name, str(self._store.path(manifest)))

    def _note(self, state: State, note: str = "") -> None:
        serves = self._child.checkpoint
        has: Mapping[str, str] = {}
        if serves is not None and serves.name != self._base().name:
            has = {serves.name: serves.path}
        Replicas(self._ledger).note(Replica(self._url, self._alias, now(), state, has, note=note))


def _answers_as(server: VllmServer, name: str) -> bool:
    """Whether a server has a model, by its own word."""
    try:
        return name in [card.name for card in server.cards()]
    except ServingError:
        return False
