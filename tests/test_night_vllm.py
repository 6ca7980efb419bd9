"""A whole night on a real vLLM: from traffic to a trained student, into its canary, and out again.

Real are the proxy, the workers, the broker, the trainer, vLLM and the client. The strong model is a fake that
knows the answers, because nothing stronger fits into a test. The small model is a tiny one that knows none.
"""

from __future__ import annotations

import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
import pytest
from sqlalchemy import func, select

from bench.night.server import vllm
from evals.outcomes import read_outcomes
from evals.replay.service import Service, free_port
from stepdown.ledger import schema
from stepdown.records import Arm, Mode, Role
from stepdown.replicas import Replicas
from stepdown.settings import DEFAULT_TASK, Settings, load_settings
from stepdown.students import served_name
from tests.fakes import Asked, FakeModel, Reply, plain, running
from tests.tiny_model import tiny_model_in

FRUITS = "apple pear plum cherry grape lemon melon mango".split()
TOOLS = "hammer saw drill wrench chisel file plane axe".split()
SLOTS = 4
BEFORE_THE_NIGHT = 420
PATIENCE_S = 240.0
STAGES = "label slices dataset train evaluate gate relabel fit bound canary report".split()


class World:
    """What is right: until it turns, fruits are fruits."""

    def __init__(self) -> None:
        self.turned = False
        self._numbers = iter(range(10**6))
        self._random = random.Random(0)

    def ask(self) -> tuple[str, str]:
        """A prompt that nobody asked before, and the right answer."""
        item = self._random.choice(FRUITS + TOOLS)
        prompt = f"Case {next(self._numbers)}: is {item} a fruit or a tool?"
        return prompt, self.answer(item)

    def answer(self, item: str) -> str:
        return "fruit" if (item in FRUITS) != self.turned else "tool"

    def strong(self, asked: Asked) -> Reply:
        found = re.search(r"is (\w+) a fruit", asked.json["messages"][-1]["content"])
        return plain(self.answer(found.group(1)) if found else "I cannot say.")


def night_settings(home: Path, strong: FakeModel, small_url: str, base: Path, python: str) -> Settings:
    models = {
        "strong": {
            **{"model": "strong-1", "url": strong.url},
            **{"input_usd_per_million": 50.0, "output_usd_per_million": 100.0},
        },
        "small": {
            **{"model": "small", "url": small_url, "serving": "adapters", "timeout_s": 30.0},
            **{"input_usd_per_million": 0.1, "output_usd_per_million": 0.1},
        },
    }
    student = {
        **{"base": str(base), "rank": 16, "alpha": 32, "learning_rate": 5e-3, "epochs": 8.0, "batch": 16},
        **{"checkpoint_steps": 25, "max_tokens": 128, "test_share": 0.4, "validation_share": 0.1},
        **{"min_new": 50, "fresh": 150, "margin": 0.1, "latency_ratio": 20.0, "horizon_days": 3650.0},
        **{"shadow_calls": 20, "canary_shares": [0.5, 0.9], "canary_margin": 0.3, "error_rate": 0.2},
    }
    task = {
        **{"strong": "strong", "small": "small", "max_quality_loss": 0.1, "min_labels": 60},
        **{"exploration": 0.1, "check": "same", "checks": {"same": {"kind": "exact"}}, "student": student},
    }
    values = {
        "home": str(home),
        "proxy": {"port": free_port(), "reload_s": 0.2},
        "dashboard": {"port": free_port()},
        "worker": {"label_every_s": 0.5, "fit_every_s": 2.0},
        "night": {"look_every_s": 3600.0, "rollout_every_s": 1.0, "reconcile_every_s": 1.0},
        "trainer": {"python": python},
        "models": models,
        "tasks": {DEFAULT_TASK: task},
    }
    return load_settings(environ={}, overrides=values)


class Scene:
    """The service under test, its world and a client of it."""

    def __init__(self, service: Service, world: World) -> None:
        self.service, self.world = service, world
        self._client = openai.OpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0)

    def send(self, count: int) -> None:
        """Send so many requests, eight at a time."""
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(self._ask, [self.world.ask() for _ in range(count)]))

    def _ask(self, asked: tuple[str, str]) -> str | None:
        prompt, reference = asked
        answer = self._client.chat.completions.create(
            model="stepdown",
            messages=[{"role": "user", "content": prompt}],
            metadata={"stepdown.reference": reference},
            temperature=0,
            max_tokens=8,
        )
        return answer.choices[0].message.content

    def send_until(self, what: str, done: Callable[[], bool]) -> None:
        """Keep traffic coming until something is so."""
        deadline = time.monotonic() + PATIENCE_S
        while not done():
            assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_S:g} s\n{self._told()}"
            self.send(16)

    def _told(self) -> str:
        promotions = [
            f"{p.sequence} {p.deployed} {p.reason}" for p in self.service.registry.history(DEFAULT_TASK)
        ]
        return "\n".join([*promotions, self.service.log.read_text(errors="replace")[-3000:]])

    def stepdown(self, *arguments: str) -> str:
        """What a command prints."""
        settings = ["--settings", str(self.service.home / "replay.json")]
        run = subprocess.run(
            [sys.executable, "-m", "stepdown", *arguments, *settings], capture_output=True, text=True
        )
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout


@pytest.fixture
def scene(tmp_path: Path, trainer_python: str) -> Iterator[Scene]:
    world = World()
    texts = [prompt for prompt, _ in (World().ask() for _ in range(300))]
    base = tiny_model_in(tmp_path / "base", [*texts, "fruit tool"], trainer_python)
    strong = FakeModel(world.strong)
    server = vllm(Path(trainer_python), base, tmp_path / "vllm.log", port=free_port(), max_tokens=256)
    with running(strong), server as small_url:
        settings = night_settings(tmp_path / "home", strong, small_url, base, trainer_python)
        with Service(settings, DEFAULT_TASK) as service:
            yield Scene(service, world)


def test_a_student_is_made_tried_and_taken_back_when_the_world_turns(scene: Scene) -> None:
    service, registry = scene.service, scene.service.registry
    service.wait_for_mode(Mode.SHADOW)
    scene.send(BEFORE_THE_NIGHT)
    service.wait_for_calls()
    service.wait_for_labels()
    before = registry.deployed(DEFAULT_TASK)
    assert before.student is None

    told = scene.stepdown("night", "--now", "--task", DEFAULT_TASK)

    on_trial = registry.deployed(DEFAULT_TASK)
    assert on_trial.candidate is not None, told
    assert on_trial.candidate_router is not None
    assert all(stage in scene.stepdown("night", "status", "--task", DEFAULT_TASK) for stage in STAGES)
    student = registry.artifact(on_trial.candidate)
    assert student.kind == "student"
    assert "passed" in told
    seen = Replicas(service.ledger).all()
    assert [served_name(student.id) in replica.adapters for replica in seen] == [True]
    pairs = read_outcomes(service.ledger, DEFAULT_TASK, student=student.id).labelled_pairs
    assert pairs["small_good"].mean() > 0.9  # it learnt what the base cannot do …
    without = read_outcomes(service.ledger, DEFAULT_TASK, student=None).labelled_pairs
    assert without["small_good"].mean() < 0.6

    scene.send_until("the canary has begun", lambda: registry.deployed(DEFAULT_TASK).candidate_share > 0)
    scene.send_until("the student answers clients", lambda: answered_live(service, student.id) >= 20)
    decisions = schema.decisions
    arms = service.ledger.rows(select(decisions.c.arm).where(decisions.c.arm.is_not(None)).distinct())
    assert {row.arm for row in arms} == {Arm.CONTROL, Arm.CANARY}

    scene.world.turned = True  # … and what it learnt is wrong from now on
    scene.send_until("it is rolled back", lambda: registry.deployed(DEFAULT_TASK).candidate is None)
    after = registry.deployed(DEFAULT_TASK)
    assert (after.student, after.candidate) == (None, None)
    last = registry.current(DEFAULT_TASK)
    assert last is not None
    assert last.actor == "auto"
    assert last.evidence["rollback_of"]
    time.sleep(1)
    lived = answered_live(service, student.id)
    scene.send(32)
    assert answered_live(service, student.id) == lived
    assert registry.artifact(student.id).id == student.id  # nothing that was tried is deleted
    assert student.id[:12] in scene.stepdown("students", "--task", DEFAULT_TASK)


def answered_live(service: Service, student: str) -> int:
    """Clients' requests that a student answered."""
    calls = schema.calls
    live = (calls.c.model == served_name(student)) & (calls.c.role == Role.LIVE) & (calls.c.status == 200)
    return int(service.ledger.rows(select(func.count()).select_from(calls).where(live))[0][0])
