"""One look at one server: it is made to have what is wanted, and what it was found to have is told.

Invariant: whatever is wrong with the server or with a student, the others get what they should. Asks the
server, and neither reads nor writes the ledger, so that servers can be visited at the same time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from distill.serving.fitness import unfit
from distill.serving.plan import Adapter, Card, Deed, Step, plan
from distill.serving.vllm import ServerAway, VllmServer
from stepdown.errors import ServingError
from stepdown.replicas import Replica, State
from stepdown.students import Manifest, Store, is_served_name

REFUSED_WAIT = timedelta(seconds=30)
DIED_WAIT = timedelta(minutes=10)
LONGEST_WAIT = timedelta(hours=6)
GROWTH = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What a visit is for.

    Attributes:
        alias: The model.
        loads: Whether students come to its servers as adapters.
        bases: The checkpoints that it serves, as the settings name them.
        unloads: Whether those that are not wanted go.
        sleeps: Whether its servers are to sleep now.
        manifests: The students that are wanted, by served name, the most important first.
        store: Where their files are.
        left: When traffic last had reason to ask for a student, by served name.
        grace: How long after that it is kept.
        refused: What the server did not take before, as in `Replica.refused`.
    """

    alias: str
    loads: bool
    sleeps: bool
    unloads: bool = True
    manifests: Mapping[str, Manifest]
    store: Store
    left: Mapping[str, datetime]
    grace: timedelta
    at: datetime
    refused: Mapping[str, Any] = field(default_factory=dict)
    bases: Sequence[str] = ()

    @property
    def adapters(self) -> list[Adapter]:
        """What is wanted."""
        return [Adapter(name, str(self.store.served_path(m))) for name, m in self.manifests.items()]


class Visit:
    """A visit of one server.

    Attributes:
        did: What was done, in words.
        wrong: What is wrong, in words.
        refused: What the server did not take, as in `Replica.refused`.
        hopeless: Why a student is not there, by served name, where another look at once would not help.
    """

    def __init__(self, server: VllmServer, errand: Errand) -> None:
        self._server = server
        self._errand = errand
        self._has: list[Card] = []
        self.did: list[str] = []
        self.wrong: list[str] = []
        self.hopeless: dict[str, str] = {}
        self.refused = dict(errand.refused)
        if errand.unloads:
            self.refused = {name: why for name, why in errand.refused.items() if name in errand.manifests}

    def make(self) -> Replica:
        """Do what is to be done; returns what the server was found to have at last."""
        try:
            state = self._make()
        except ServingError as error:
            self.wrong.append(str(error))
            away = isinstance(error, ServerAway)
            state = State.ASLEEP if self._errand.sleeps else State.AWAY if away else State.SERVING
            self._has = [] if away else self._has
        return Replica(
            url=self._server.url,
            alias=self._errand.alias,
            at=self._errand.at,
            state=state,
            adapters={card.name: card.root for card in self._has if is_served_name(card.name)},
            refused=self.refused,
            note="; ".join(self.wrong),
        )

    def _make(self) -> State:
        server, errand = self._server, self._errand
        server.check_health()
        asleep = server.is_asleep()
        if errand.sleeps:
            if asleep is False:
                server.sleep()
                self._say("put to sleep")
            return State.ASLEEP
        if asleep:
            server.wake()
            self._say("woken: it slept though nothing is trained")
        self._has = server.cards()
        if errand.loads:
            self._bring()
        there = {card.name for card in self._has}
        self.refused = {name: why for name, why in self.refused.items() if name not in there}
        return State.SERVING

    def _bring(self) -> None:
        errand = self._errand
        steps = plan(errand.adapters, self._has, left=errand.left, at=errand.at, grace=errand.grace)
        steps = [step for step in steps if errand.unloads or step.deed is not Deed.UNLOAD]
        if not steps:
            return
        self._server.check_loads()
        max_rank = self._server.max_rank()
        for step in steps:
            self._do(step, max_rank)
        self._has = self._server.cards()

    def _do(self, step: Step, max_rank: int | None) -> None:
        try:
            if step.deed is Deed.UNLOAD:
                self._server.unload(step.name)
            elif not self._load(step, max_rank):
                return
        except ServerAway as error:
            why = f"{error}, while it was to {step.deed} {step.name!r}"
            self._note_refusal(step.name, why, DIED_WAIT)
            raise ServerAway(why) from error
        except ServingError as error:
            self._note_refusal(step.name, str(error), REFUSED_WAIT)
            self.wrong.append(str(error))
            return
        self._say(f"{step.deed}ed {step.name!r}")

    def _load(self, step: Step, max_rank: int | None) -> bool:
        """Load or reload; False where it is not tried."""
        if step.deed is Deed.RELOAD:  # whatever comes of it, no weights but its own answer under a name
            self._server.unload(step.name)
        manifest = self._errand.manifests[step.name]
        before = self.refused.get(step.name)
        if before is not None and self._errand.at < datetime.fromisoformat(before["again"]):
            tried = f"tried {before['tries']} times, again at {before['again'][:19]}"
            self._give_up(step.name, f"{before['why']} ({tried})")
            return False
        if (why := self._unfit(manifest, max_rank)) is not None:
            self._give_up(step.name, f"student {step.name!r} is not sent to {self._server.url}: {why}")
            return False
        self._server.load(step.name, step.path)
        return True

    def _unfit(self, manifest: Manifest, max_rank: int | None) -> str | None:
        errand = self._errand
        return unfit(manifest, errand.store, self._has, max_rank, errand.bases)

    def _note_refusal(self, name: str, why: str, wait: timedelta) -> None:
        """Wait longer after each refusal: what kills a server must not do so again and again."""
        tries = self.refused.get(name, {}).get("tries", 0) + 1
        again = self._errand.at + min(wait * GROWTH ** min(tries - 1, 8), LONGEST_WAIT)
        self.hopeless[name] = why
        self.refused[name] = {"why": why, "tries": tries, "again": again.isoformat()}

    def _give_up(self, name: str, why: str) -> None:
        self.hopeless[name] = why
        self.wrong.append(why)

    def _say(self, what: str) -> None:
        self.did.append(f"server {self._server.url}: {what}")


def lines_of(visits: Sequence[Visit]) -> list[str]:
    """What visits did and what is wrong, in words."""
    return [line for visit in visits for line in (*visit.did, *visit.wrong)]
