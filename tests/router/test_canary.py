"""A candidate on live traffic: mirrored in the shadow, drawn by conversation in the canary, gone at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest

from router.live_policy import LivePolicy
from router.metrics import Metrics
from router.policy import place_of
from stepdown.ids import now
from stepdown.ledger import Ledger
from stepdown.records import Arm, Deployed, Mode, Reason, Role, Tier
from stepdown.registry import Registry
from stepdown.replicas import Replica, Replicas, State
from stepdown.settings import ModelSettings, Settings, TaskSettings
from stepdown.students import served_name
from tests.fakes import Asked, FakeModel, Reply, error, plain
from tests.router.driver import Client, serving, settings_for
from tests.router.ledgers import calls_of, decision_of, promote, router_that_prefers

OLD, NEW = "a" * 64, "b" * 64
CANDIDATE = served_name(NEW)
TASKS = {"default": TaskSettings(small="small", exploration=0.0)}
MODELS = {"strong": ModelSettings(model="gpt"), "small": ModelSettings(model="mini")}


def put(ledger: Ledger, deployed: Deployed) -> None:
    registry = Registry(ledger)
    current = registry.current("default")
    after = current.sequence if current else 0
    assert registry.promote("default", deployed, actor="t", reason="t", evidence={}, after=after)


def a_router(ledger: Ledger, student: str, *, small: bool = True) -> str:
    content = router_that_prefers(small=small).to_bytes()
    return Registry(ledger).keep("router", "default", content, settings={"student": student}, summary={}).id


def on_trial(ledger: Ledger, share: float, control: Deployed | None = None) -> Deployed:
    """A candidate with a share, beside a control that keeps to strong unless another is given."""
    trial = (control or Deployed(Mode.SHADOW))._replace(
        candidate=NEW, candidate_router=a_router(ledger, NEW), candidate_share=share
    )
    put(ledger, trial)
    return trial


@asynccontextmanager
async def proxy(ledger: Ledger, strong: FakeModel, small: FakeModel, **task: Any) -> AsyncIterator[Client]:
    task = {"exploration": 0.0, "shadow_share": 0.0, **task}
    settings: Settings = settings_for(strong.settings("gpt"), small.settings("mini"), **task)
    async with serving(settings, ledger, draw=lambda: 0.5) as client:
        yield client


async def reloaded(client: Client, ledger: Ledger) -> None:
    """Wait until the proxy has what was promoted last."""
    wanted = f"stepdown_policy_revision {Registry(ledger).revision()}.0\n".encode()
    for _ in range(500):
        if wanted in (await client.send("GET", "/metrics")).body:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the proxy does not serve what the ledger says")


def asked_for(small: FakeModel) -> Counter[str]:
    return Counter(asked.json["model"] for asked in small.asked)


async def test_in_the_shadow_a_candidate_is_asked_unseen(
    ledger: Ledger, strong: FakeModel, small: FakeModel
) -> None:
    on_trial(ledger, 0.0)
    async with proxy(ledger, strong, small, shadow_share=1.0) as client:
        answers = [await client.chat() for _ in range(5)]
    assert {answer.headers["x-stepdown-model"] for answer in answers} == {"gpt"}
    assert asked_for(small) == {CANDIDATE: 5, "mini": 5}  # the mirror, and the shadow of the mode
    decision = decision_of(ledger, answers[0].id)
    assert (decision.arm, decision.student) == (None, None)
    roles = {(call.role, call.tier, call.model) for call in calls_of(ledger, answers[0].id)}
    assert (Role.SHADOW, Tier.SMALL, CANDIDATE) in roles


async def test_only_the_share_is_mirrored_and_nothing_that_names_its_model(
    ledger: Ledger, strong: FakeModel, small: FakeModel
) -> None:
    on_trial(ledger, 0.0)
    async with proxy(ledger, strong, small, shadow_share=0.5) as client:  # the draw is 0.5
        await client.chat()
        await client.chat(model="strong")
        await client.chat(tools=[{"type": "function", "function": {"name": "f"}}])
    assert asked_for(small)[CANDIDATE] == 0
    async with proxy(ledger, strong, small, shadow_share=0.51) as client:
        await client.chat(model="strong")
        await client.chat(tools=[{"type": "function", "function": {"name": "f"}}])  # it cannot take them
        assert asked_for(small)[CANDIDATE] == 0
        await client.chat()
    assert asked_for(small)[CANDIDATE] == 1


async def test_a_failing_candidate_in_the_shadow_harms_no_answer(
    ledger: Ledger, strong: FakeModel, small: FakeModel
) -> None:
    on_trial(ledger, 0.0)
    small.behaviour = lambda asked: error(500)
    async with proxy(ledger, strong, small, shadow_share=1.0) as client:
        answer = await client.chat()
    assert (answer.status, answer.headers["x-stepdown-model"]) == (200, "gpt")
    failed = [call for call in calls_of(ledger, answer.id) if call.model == CANDIDATE]
    assert [(call.status, call.complete) for call in failed] == [(500, False)]


async def test_the_canary_decides_its_share_and_says_so(
    ledger: Ledger, strong: FakeModel, small: FakeModel
) -> None:
    trial = on_trial(ledger, 0.3)
    async with proxy(ledger, strong, small) as client:
        answers = [await client.chat() for _ in range(60)]
    drawn: Counter[str] = Counter()
    for answer in answers:
        decision = decision_of(ledger, answer.id)
        canary = place_of(answer.id, NEW) < 0.3
        assert decision.arm == (Arm.CANARY if canary else Arm.CONTROL)
        assert decision.student == (NEW if canary else None)
        assert decision.policy == (trial.candidate_router if canary else "none")
        assert answer.headers["x-stepdown-model"] == (CANDIDATE if canary else "gpt")
        drawn[decision.arm] += 1
    assert asked_for(small) == {CANDIDATE: drawn[Arm.CANARY]}
    assert 5 < drawn[Arm.CANARY] < 35


async def test_control_keeps_the_student_that_was_in_service(
    ledger: Ledger, strong: FakeModel, small: FakeModel
) -> None:
    on_trial(ledger, 0.5, Deployed(Mode.ROUTE, a_router(ledger, OLD), OLD))
    async with proxy(ledger, strong, small) as client:
        answers = [await client.chat() for _ in range(30)]
    for answer in answers:
        decision = decision_of(ledger, answer.id)
        student = NEW if decision.arm == Arm.CANARY else OLD
        assert decision.student == student
        assert answer.headers["x-stepdown-model"] == served_name(student)


async def test_a_conversation_stays_in_its_arm_as_the_share_grows(
    ledger: Ledger, strong: FakeModel, small: FakeModel
) -> None:
    trial = on_trial(ledger, 0.2)
    names = [f"talk {n}" for n in range(40)]
    arms: list[dict[str, str]] = []
    async with proxy(ledger, strong, small) as client:
        for share in (0.2, 0.6, 0.9):
            if share != trial.candidate_share:
                put(ledger, trial._replace(candidate_share=share))
                await reloaded(client, ledger)
            answers = [await client.chat(metadata={"stepdown.conversation": name}) for name in names]
            again = [await client.chat(metadata={"stepdown.conversation": name}) for name in names]
            arms += [
                {n: decision_of(ledger, a.id).arm for n, a in zip(names, turn, strict=True)}
                for turn in (answers, again)
            ]
    for earlier, later in pairwise(arms):
        assert not [name for name in names if earlier[name] == "canary" and later[name] != "canary"]
    shares = [sum(arm == "canary" for arm in turn.values()) for turn in arms]
    assert shares[0] == shares[1] < shares[2] == shares[3] < shares[4] == shares[5]


async def test_where_the_candidate_fails_strong_answers_and_the_arm_keeps_the_failure(
    ledger: Ledger, strong: FakeModel, small: FakeModel
) -> None:
    on_trial(ledger, 0.999999)
    small.behaviour = lambda asked: error(503)
    async with proxy(ledger, strong, small) as client:
        answer = await client.chat()
    decision = decision_of(ledger, answer.id)
    assert (answer.status, answer.headers["x-stepdown-model"]) == (200, "gpt")
    assert (decision.arm, decision.student, decision.reason) == (Arm.CANARY, NEW, Reason.FALLBACK)
    assert [(call.model, call.status) for call in calls_of(ledger, answer.id)] == [
        (CANDIDATE, 503),
        ("gpt", 200),
    ]


async def test_named_models_are_in_no_arm(ledger: Ledger, strong: FakeModel, small: FakeModel) -> None:
    on_trial(ledger, 0.5)
    async with proxy(ledger, strong, small) as client:
        answers = [await client.chat(model=name) for name in ("strong", "small") for _ in range(4)]
    assert {decision_of(ledger, answer.id).arm for answer in answers} == {None}
    assert asked_for(small) == {"mini": 4}


async def test_a_rollback_takes_the_canary_off_at_the_next_reload(
    ledger: Ledger, strong: FakeModel, small: FakeModel
) -> None:
    trial = on_trial(ledger, 0.5)
    async with proxy(ledger, strong, small) as client:
        for _ in range(20):
            await client.chat()
        assert asked_for(small)[CANDIDATE] > 0
        put(ledger, trial.settled)
        await reloaded(client, ledger)
        small.asked.clear()
        answers = [await client.chat() for _ in range(20)]
    assert {decision_of(ledger, answer.id).arm for answer in answers} == {None}
    assert not small.asked
    assert {answer.headers["x-stepdown-model"] for answer in answers} == {"gpt"}


async def test_a_candidate_that_went_live_answers_all_that_its_router_sends(
    ledger: Ledger, strong: FakeModel, small: FakeModel
) -> None:
    put(ledger, Deployed(Mode.ROUTE, a_router(ledger, NEW), NEW))
    async with proxy(ledger, strong, small) as client:
        answers = [await client.chat() for _ in range(10)]
    assert asked_for(small) == {CANDIDATE: 10}
    assert {(decision_of(ledger, a.id).arm, decision_of(ledger, a.id).student) for a in answers} == {
        (None, NEW)
    }


async def test_the_answer_of_the_right_model_reaches_each_client(
    ledger: Ledger, strong: FakeModel, small: FakeModel
) -> None:
    def by_name(asked: Asked) -> Reply:
        return plain(f"I am {asked.json['model']}.")

    strong.behaviour = small.behaviour = by_name
    on_trial(ledger, 0.5, Deployed(Mode.ROUTE, a_router(ledger, OLD), OLD))
    async with proxy(ledger, strong, small) as client:
        for _ in range(10):
            answer = await client.chat()
            student = served_name(decision_of(ledger, answer.id).student)
            assert answer.json["choices"][0]["message"]["content"] == f"I am {student}."


@pytest.fixture
def live(ledger: Ledger) -> LivePolicy:
    return LivePolicy(Registry(ledger), TASKS, MODELS, Metrics(), Replicas(ledger))


async def test_a_candidate_whose_router_cannot_be_loaded_gets_no_traffic(
    live: LivePolicy, ledger: Ledger
) -> None:
    for router in (Registry(ledger).keep("router", "default", b"junk", settings={}, summary={}).id, "c" * 64):
        put(ledger, Deployed(Mode.SHADOW, None, None, NEW, router, 0.9))
        await live.refresh()
        for unit in map(str, range(50)):
            policy = live.of("default", unit)
            assert (policy.mode, policy.arm, policy.student) == (Mode.SHADOW, None, None)
            assert not policy.refused


async def test_a_canary_without_a_router_keeps_to_strong(live: LivePolicy, ledger: Ledger) -> None:
    put(ledger, Deployed(Mode.SHADOW, None, None, NEW, None, 0.999999))
    await live.refresh()
    policy = live.of("default", "unit")
    assert (policy.arm, policy.student, policy.scorer) == (Arm.CANARY, NEW, None)


async def test_a_control_that_cannot_be_loaded_stops_the_canary_too(live: LivePolicy, ledger: Ledger) -> None:
    put(ledger, Deployed(Mode.ROUTE, "c" * 64, OLD, NEW, a_router(ledger, NEW), 0.5))
    await live.refresh()
    policies = [live.of("default", str(n)) for n in range(20)]
    assert all(policy.refused and policy.arm is None for policy in policies)


async def test_a_model_whose_servers_all_sleep_is_neither_asked_nor_mirrored(
    live: LivePolicy, ledger: Ledger
) -> None:
    replicas = Replicas(ledger)
    promote(ledger, Mode.ROUTE, router_that_prefers(small=True).to_bytes())
    for name in ("one", "two"):
        replicas.note(Replica(url=f"http://{name}", alias="small", at=now(), state=State.ASLEEP))
    await live.refresh()
    assert live.of("default").asleep
    replicas.note(Replica(url="http://two", alias="small", at=now(), state=State.SERVING))
    await live.refresh()
    assert not live.of("default").asleep  # without any promotion


async def test_strong_answers_while_small_sleeps(ledger: Ledger, strong: FakeModel, small: FakeModel) -> None:
    on_trial(ledger, 0.0, Deployed(Mode.ROUTE, a_router(ledger, OLD), OLD))
    Replicas(ledger).note(Replica(url="http://x", alias="small", at=now(), state=State.ASLEEP))
    async with proxy(ledger, strong, small, shadow_share=1.0) as client:
        answer = await client.chat()
    assert (answer.reason, answer.headers["x-stepdown-model"]) == ("small_model_asleep", "gpt")
    assert not small.asked
