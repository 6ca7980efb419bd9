"""A task whose students are made from its traffic: its models, its clients, its nights.

All is real but the models and the training: the proxy, the ledger, labels, datasets, the gate, routers, the
rollout, and what the servers are told.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from distill.dataset import approximate_tokens, build_dataset, keep_dataset
from distill.night.book import Book
from distill.night.machine import ENDED
from distill.night.parts import Parts
from distill.night.run import look
from distill.rollout.look import look as look_at_trial
from distill.serving import reconcile
from evals.labelling import label_all
from evals.refit import refit
from stepdown.ids import now
from stepdown.ledger import Ledger, schema
from stepdown.records import Artifact, Deployed, NightEvent, Promotion
from stepdown.registry import Registry
from stepdown.settings import ProxySettings, Settings, StudentSettings, TaskSettings
from stepdown.students import STUDENT, Manifest, files_of, served_name
from tests.distill.serving.students import weights
from tests.fake_vllm import FakeVllm
from tests.fakes import Asked, FakeModel, Reply, plain, running
from tests.router.driver import Client, serving

TASK = "default"
KINDS: Mapping[str, Callable[[int, int], int]] = {
    "Add the numbers {} and {}.": lambda a, b: a + b,
    "Multiply the number {} by {}.": lambda a, b: a * b,
    "Subtract from the value {} the value {}.": lambda a, b: a - b,
}
ADD, MULTIPLY, SUBTRACT = KINDS
# Until its router has learnt of it, the student in service may be given all of a kind that it cannot do.
# So that kind is rarer than `max_quality_loss` allows, or chance decides whether its watch takes it out.
SHIFTED = (*(ADD, MULTIPLY) * 6, SUBTRACT)
SEED = 7
FEW, MOST_BATCHES = 60, 40

Answering = Callable[[str], bool]
Ends = dict[str, NightEvent]


def kind_of(prompt: str) -> str:
    return next(kind for kind in KINDS if prompt.startswith(kind.split()[0]))


def truth(prompt: str) -> int:
    first, second = map(int, re.findall(r"\d+", prompt))
    return KINDS[kind_of(prompt)](first, second)


def right_on(*kinds: str) -> Answering:
    """A model that is right on some kinds of question, and on others never."""
    return lambda prompt: kind_of(prompt) in kinds


def half_right(prompt: str) -> bool:
    """A model that is right on every second sum."""
    return kind_of(prompt) == ADD and truth(prompt) % 2 == 0


@dataclass
class School:
    """Which student comes of tonight's training, and what each says.

    Attributes:
        tonight: What the student is able to do that is made tonight.
        able: What each student is able to do, by the name under which it is served.
    """

    tonight: Answering = half_right
    able: dict[str, Answering] = field(default_factory=dict)

    def says(self, model: str, body: Mapping[str, Any]) -> str:
        """What the small model's server answers."""
        prompt = body["messages"][-1]["content"]
        if not prompt.startswith(tuple(kind.split()[0] for kind in KINDS)):
            return f"I am {model}."  # it was only to show that it is there
        able = self.able.get(model, half_right)
        return f"The answer is {truth(prompt) if able(prompt) else 0}."


def rooms(school: School) -> Callable[[Ledger, Settings, Mapping[str, str], str], Parts]:
    """The rooms of a night as they are, but for the trainer."""

    class Trained(Parts):
        def build_dataset(self) -> Artifact:
            made = build_dataset(self.ledger, self.settings, self.task, count=approximate_tokens)
            return keep_dataset(self.ledger, made)

        def train(self, dataset: Artifact, deadline: float) -> Artifact:
            name = f"run-{dataset.id[:12]}"
            folder = self.settings.students_folder / name
            folder.mkdir(parents=True, exist_ok=True)
            config = {"peft_type": "LORA", "r": 4, "base_model_name_or_path": "base"}
            (folder / "adapter_config.json").write_text(json.dumps(config))
            (folder / "adapter_model.safetensors").write_bytes(weights(name, 4))
            manifest = Manifest(
                base="base",
                base_hash="0" * 64,
                variant="adapter",
                method="lora",
                rank=4,
                folder=name,
                files=files_of(folder),
                run=name,
            )
            made = Registry(self.ledger).keep(
                STUDENT,
                self.task,
                manifest.to_bytes(),
                parents=(dataset.id,),
                settings={"run": name},
                summary={},
            )
            school.able[served_name(made.id)] = school.tonight
            return made

    return Trained


def strong_says(asked: Asked) -> Reply:
    return plain(f"The answer is {truth(asked.json['messages'][-1]['content'])}.", prompt=20, answer=10)


@dataclass
class World:
    """A task with its models and its clients.

    Attributes:
        eve: The day before the first night; None is today.
    """

    ledger: Ledger
    settings: Settings
    school: School
    vllm: FakeVllm
    task: str = TASK
    chance: random.Random = field(default_factory=lambda: random.Random(SEED))
    nights: int = 0
    eve: datetime | None = None

    @property
    def history(self) -> list[Promotion]:
        return Registry(self.ledger).history(self.task)

    @property
    def deployed(self) -> Deployed:
        return Registry(self.ledger).deployed(self.task)

    def ask(self, count: int, *kinds: str) -> None:
        """Clients ask questions through the proxy, and what was answered is labelled."""
        asyncio.run(self._ask([self.prompt(self.chance.choice(kinds)) for _ in range(count)]))
        label_all(self.ledger, self.settings.tasks, batch=500, budget_s=60)
        refit(self.ledger, self.task, self.settings.tasks[self.task])

    async def _ask(self, prompts: list[str]) -> None:
        async with serving(self.settings, self.ledger, draw=self.chance.random) as client:
            left = iter(prompts)
            await asyncio.gather(*(self._client(client, left) for _ in range(4)))

    async def _client(self, client: Client, prompts: Iterator[str]) -> None:
        for prompt in prompts:
            message = [{"role": "user", "content": prompt}]
            answer = await client.chat(
                {"x-stepdown-task": self.task},
                messages=message,
                metadata={"stepdown.reference": truth(prompt)},
            )
            assert answer.status == 200

    def prompt(self, kind: str) -> str:
        return kind.format(self.chance.randint(100, 99999), self.chance.randint(2, 99))

    def night(self, tonight: Answering) -> Ends:
        """The next night, in which a student comes out so; the end of each stage."""
        self.school.tonight = tonight
        self.nights += 1
        at = (self.eve or now()) + timedelta(days=self.nights)
        done = look(self.ledger, self.settings, {}, self.task, at=at, parts=rooms(self.school))
        assert done is not None
        reconcile(self.ledger, self.settings, {})
        book = Book(self.ledger, self.task)
        events = book.events(book.nights()[-1].id)
        return {e.stage: e for e in events if e.event == ENDED}

    def trial(self, *kinds: str, then: Callable[[Deployed], None] = lambda _: None) -> list[Promotion]:
        """Traffic, and looks at it, until the trial is over; its promotions, the first one included.

        Args:
            kinds: Of questions.
            then: Is told what is in force after each look.
        """
        begun = self.history[-1].sequence
        for _ in range(MOST_BATCHES):
            self.ask(FEW, *kinds)
            look_at_trial(self.ledger, self.settings, self.task)
            then(self.deployed)
            if self.deployed.candidate is None:
                reconcile(self.ledger, self.settings, {})
                return [promotion for promotion in self.history if promotion.sequence >= begun]
        raise AssertionError(f"the trial goes on and on: {[p.reason for p in self.history]}")

    def answered_by(self, student: str) -> int:
        """Requests that a student answered for a client."""
        calls = schema.calls
        live = (calls.c.model == served_name(student)) & (calls.c.role == "live")
        return int(self.ledger.rows(select(func.count()).select_from(calls).where(live))[0][0])


@contextmanager
def a_world(ledger: Ledger, home: Path, task: str = TASK) -> Iterator[World]:
    """A task that distils, over an empty ledger, and its models while the block runs.

    Args:
        ledger: Where everything goes.
        home: Folder of the students.
        task: Name of the task.
    """
    school, strong = School(), FakeModel(behaviour=strong_says)
    with FakeVllm("tiny", school.says) as vllm, running(strong):
        dear = {"input_usd_per_million": 1000.0, "output_usd_per_million": 1000.0}
        cheap = {"input_usd_per_million": 1.0, "output_usd_per_million": 1.0}
        student = StudentSettings(
            base="base",
            min_new=100,
            test_share=0.4,
            fresh=200,
            margin=0.1,
            latency_ratio=50.0,
            shadow_calls=30,
            canary_shares=(0.5,),
            canary_margin=0.3,
            error_rate=0.3,
        )
        declared = TaskSettings(
            small="small",
            max_quality_loss=0.15,
            confidence=0.95,  # each watch over a trial may go off for nothing with the rest
            min_labels=50,
            exploration=0.5,
            check="number",
            checks={"number": {"kind": "number"}},
            student=student,
        )
        settings = Settings(
            home=str(home),
            database=ledger.engine.url.render_as_string(hide_password=False),
            proxy=ProxySettings(reload_s=0.02),
            models={
                "strong": strong.settings("large", **dear),
                "small": vllm.settings(timeout_s=20.0, **cheap),
            },
            tasks={task: declared},
        )
        yield World(ledger, settings, school, vllm, task)


def adds_well(world: World) -> Ends:
    """The first night, after traffic to learn from: its student adds well."""
    refit(world.ledger, world.task, world.settings.tasks[world.task])
    world.ask(400, ADD, MULTIPLY)
    return world.night(right_on(ADD))


def proves_itself(world: World) -> list[Promotion]:
    """The trial of that student, on traffic like that which it was made from."""
    return world.trial(ADD, MULTIPLY)


def shifts(world: World) -> None:
    """Traffic of another mix than the first student was made from; newer routers may come of it."""
    world.ask(240, *SHIFTED)


def forgets_to_add(world: World) -> Ends:
    """The second night: its student knows what is new and nothing else."""
    return world.night(right_on(SUBTRACT))


def adds_and_subtracts(world: World) -> Ends:
    """The third night: its student knows what is new, and has not forgotten."""
    return world.night(right_on(ADD, SUBTRACT))


def turns_bad(world: World) -> list[Promotion]:
    """The trial of that student, which is right on nothing once clients have its answers."""

    def turn(deployed: Deployed) -> None:
        if deployed.candidate is not None and deployed.candidate_share > 0:
            world.school.able[served_name(deployed.candidate)] = right_on()

    return world.trial(*SHIFTED, then=turn)


def goes_on(world: World) -> None:
    """Traffic after all of it."""
    world.ask(60, *SHIFTED)


def three_nights(world: World) -> None:
    """A student goes live, one is stopped by the gate, and one falls in its canary."""
    acts = (adds_well, proves_itself, shifts, forgets_to_add, shifts, adds_and_subtracts, turns_bad, goes_on)
    for act in acts:
        act(world)
    assert world.deployed.student is not None, [promotion.reason for promotion in world.history]
