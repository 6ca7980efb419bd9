"""Every server of a small model is made to have what the registry says, after any restart of either side.

Invariant: a look changes nothing where all is as it should be, and two looks at once do not fight. Whatever
is wrong with a server is noted and said, and stops nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from distill.serving.fitness import bases_of
from distill.serving.plan import grace_of
from distill.serving.servers import asked_for, each, is_to_sleep, my_turn, servers_of, turn
from distill.serving.visit import Errand, Visit, lines_of
from distill.serving.vllm import VllmServer
from distill.serving.wanted import Wanted, wanted_of
from stepdown.errors import ArtifactError, ServingError, SettingsError
from stepdown.ids import now
from stepdown.ledger import Ledger
from stepdown.records import Artifact
from stepdown.registry import Registry
from stepdown.replicas import Replicas, State
from stepdown.settings import Settings
from stepdown.students import Manifest, Store, manifest_of, served_name

LOOK_AGAIN_S = 0.5
REMEDIES = {
    "adapters": 'export the variant adapter, or set serving = "checkpoints"',
    "checkpoints": 'export the variant merged, int8 or fp8, or set serving = "adapters"',
}


def reconcile(
    ledger: Ledger, settings: Settings, environ: Mapping[str, str], *, at: datetime | None = None
) -> list[str]:
    """Look at the servers of every model that is served with adapters or sleeps, and put right what is not.

    A model that was left asleep is looked at whatever the settings say of it now: else its tasks would stay
    on strong for ever.

    Args:
        ledger: Where the registry is, and what was seen is noted.
        settings: All settings.
        environ: Where the servers' keys are.
        at: Now; None asks the clock.

    Returns:
        What was done and what is wrong, in words.

    Raises:
        LedgerError: The ledger refused.
    """
    said: list[str] = []
    replicas = Replicas(ledger)
    asleep = {seen.alias for seen in replicas.all() if seen.state is State.ASLEEP}
    for alias, model in settings.models.items():
        if alias in asleep and not model.servers:
            replicas.forget(alias, but=())  # it is the provider's now, and nobody's servers sleep
        if not model.servers or not (model.serving == "adapters" or model.sleeps or alias in asleep):
            continue
        with turn(ledger, alias) as held:
            if held:
                said += _look(ledger, settings, environ, alias, at or now())
    return said


def _look(
    ledger: Ledger, settings: Settings, environ: Mapping[str, str], alias: str, at: datetime
) -> list[str]:
    try:
        servers = servers_of(settings, environ, alias)
    except SettingsError as error:
        return [str(error)]
    return look_at(ledger, settings, alias, servers, at)


def look_at(
    ledger: Ledger, settings: Settings, alias: str, servers: Sequence[VllmServer], at: datetime
) -> list[str]:
    """Visit a model's servers once and note what was seen; hold the turn.

    Raises:
        LedgerError: The ledger refused.
    """
    replicas = Replicas(ledger)
    replicas.forget(alias, but=[server.url for server in servers])
    refused = {seen.url: seen.refused for seen in replicas.all()}
    wanted, sleeps = wanted_of(ledger, settings, alias), is_to_sleep(ledger, alias)
    loads = settings.models[alias].serving == "adapters"
    manifests, wrong = _manifests(ledger, wanted, alias) if loads else ({}, [])
    visits = [
        Visit(
            server,
            Errand(
                alias=alias,
                loads=loads,
                bases=bases_of(settings, alias),
                sleeps=sleeps,
                manifests=manifests,
                store=store_of(settings),
                left=wanted.left,
                grace=grace_of(settings, alias),
                at=at,
                refused=refused.get(server.url, {}),
            ),
        )
        for server in servers
    ]
    by_server = dict(zip(servers, visits, strict=True))
    for seen in each(servers, lambda server: by_server[server].make()):
        replicas.note(seen)
    return [*wrong, *lines_of(visits)]


def store_of(settings: Settings) -> Store:
    """The folder of students."""
    mounted = settings.trainer.mounted
    return Store(settings.students_folder, Path(mounted) if mounted else None)


def _manifests(ledger: Ledger, wanted: Wanted, alias: str) -> tuple[dict[str, Manifest], list[str]]:
    """The students that are wanted as adapters, by served name, and what is wrong with others."""
    registry = Registry(ledger)
    found: dict[str, Manifest] = {}
    wrong: list[str] = []
    for student in wanted.students:
        try:
            manifest = manifest_of(registry.artifact(student))
        except ArtifactError as error:
            wrong.append(str(error))
            continue
        if manifest.variant == "adapter":
            found[served_name(student)] = manifest
        elif student not in wanted.tonight:
            wrong.append(_unservable(student, manifest, alias, "adapters"))
    return found, wrong


def _unservable(student: str, manifest: Manifest, alias: str, serving: str) -> str:
    return (
        f"student {student[:12]} is of variant {manifest.variant!r}, and model {alias!r} has serving = "
        f"{serving!r}: {REMEDIES[serving]}"
    )


def serve(
    ledger: Ledger,
    settings: Settings,
    environ: Mapping[str, str],
    task: str,
    student: Artifact,
    *,
    patience_s: float,
) -> None:
    """Return when every server of a task's small model has a student, and answers as it.

    Args:
        ledger: Where what was seen is noted.
        settings: All settings.
        environ: Where the servers' keys are.
        task: Name of the task.
        student: The student.
        patience_s: How long to wait for servers that are away.

    Raises:
        ServingError: One does not take it, or is away for too long.
        SettingsError: The task has no small model with a URL, or its key is not set.
        ArtifactError: The artifact is no student.
        LedgerError: The ledger refused.
    """
    alias = settings.tasks[task].small
    if alias is None:
        raise SettingsError(f"task {task!r} has no small model; set tasks.{task}.small")
    servers, manifest = servers_of(settings, environ, alias), manifest_of(student)
    serving = settings.models[alias].serving
    if serving == "as_is":
        raise ServingError(
            f"students do not come to the servers of {alias!r}: set models.{alias}.serving to adapters or "
            "checkpoints"
        )
    if (manifest.variant == "adapter") is not (serving == "adapters") or manifest.variant == "gguf":
        raise ServingError(_unservable(student.id, manifest, alias, serving))
    deadline = time.monotonic() + patience_s
    name = served_name(student.id)
    if serving == "adapters":
        _bring(ledger, settings, alias, servers, (name, manifest), deadline)
    else:
        servers = _await_agents(ledger, alias, servers, name, deadline)
    each(servers, lambda server: server.probe(name))


def _bring(
    ledger: Ledger,
    settings: Settings,
    alias: str,
    servers: Sequence[VllmServer],
    student: tuple[str, Manifest],
    deadline: float,
) -> None:
    """Have every server load a student, patient with those that are away."""
    name, missing = student[0], servers
    while missing:
        with my_turn(ledger, alias, patience_s=max(deadline - time.monotonic(), 0.0)):
            if is_to_sleep(ledger, alias):
                raise ServingError(
                    f"the servers of {alias!r} sleep while a student is trained; serve it then"
                )
            visits = _send(ledger, settings, alias, missing, student)
        if hopeless := [visit.hopeless[name] for visit in visits.values() if name in visit.hopeless]:
            raise ServingError(hopeless[0])
        missing = [server for server, visit in visits.items() if visit.wrong]
        if missing and time.monotonic() >= deadline:
            raise ServingError("; ".join(line for server in missing for line in visits[server].wrong))
        time.sleep(LOOK_AGAIN_S if missing else 0)


def _send(
    ledger: Ledger,
    settings: Settings,
    alias: str,
    servers: Sequence[VllmServer],
    student: tuple[str, Manifest],
) -> dict[VllmServer, Visit]:
    """Visit servers to load one student, which is tried even where it was refused before."""
    name, manifest = student
    replicas = Replicas(ledger)
    refused = {seen.url: dict(seen.refused) for seen in replicas.all()}
    visits = {}
    for server in servers:
        before = refused.get(server.url, {})
        before.pop(name, None)
        errand = Errand(
            alias=alias,
            loads=True,
            bases=bases_of(settings, alias),
            unloads=False,
            sleeps=False,
            manifests={name: manifest},
            store=store_of(settings),
            left={},
            grace=grace_of(settings, alias),
            at=now(),
            refused=before,
        )
        visits[server] = Visit(server, errand)
    for seen in each(servers, lambda server: visits[server].make()):
        replicas.note(seen)
    return visits


def _await_agents(
    ledger: Ledger, alias: str, servers: Sequence[VllmServer], name: str, deadline: float
) -> list[VllmServer]:
    """The servers whose agents have started a student's checkpoint, once there are any."""
    while True:
        ledger.beat(asked_for(name))
        seen = [replica for replica in Replicas(ledger).all() if replica.alias == alias]
        having = {r.url for r in seen if r.state is State.SERVING and name in r.adapters}
        if having:
            return [server for server in servers if server.url in having]
        if time.monotonic() >= deadline:
            notes = "; ".join(replica.note for replica in seen if replica.note)
            why = notes or "does `stepdown serve` run beside it?"
            raise ServingError(f"no server of {alias!r} has started {name!r}: {why}")
        time.sleep(LOOK_AGAIN_S)
