"""Suites and models for the harness's tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.harness.contender import Contender
from evals.harness.form import Evaluation, Sample
from evals.harness.load import Reading, load_suite
from evals.harness.measure import Tried, measure
from evals.harness.policy import PolicyColumn
from evals.harness.suite import Suite
from stepdown.settings import ModelSettings
from tests.fakes import Asked, Reply, plain

READING = Reading(tasks={})
CHECKS = '[checks.number]\nkind = "number"\n[checks.exact]\nkind = "exact"\n'


def sums(count: int, **more: Any) -> list[dict[str, Any]]:
    """Lines of cases: sums of two numbers, in two slices."""
    return [
        {"prompt": f"{n} + {n}?", "reference": 2 * n, "slice": "even" if n % 2 == 0 else "odd", **more}
        for n in range(count)
    ]


def write_suite(
    folder: Path, lines: Iterable[Mapping[str, Any] | str], *, head: str = "", checks: str = CHECKS
) -> Path:
    """A suite in a folder; returns its TOML file."""
    folder.mkdir(parents=True, exist_ok=True)
    written = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    (folder / "cases.jsonl").write_text("".join(line + "\n" for line in written))
    file = folder / "suite.toml"
    file.write_text(f'cases = "cases.jsonl"\ncheck = "number"\n{head}\n{checks}')
    return file


def read(folder: Path, lines: Iterable[Mapping[str, Any] | str], **how: Any) -> Suite:
    """A suite, written and read."""
    return load_suite(write_suite(folder, lines, **how), READING)


def asked_text(asked: Asked) -> str:
    """The last user message that a fake was sent."""
    return str(asked.json["messages"][-1]["content"])


def adding(wrong: Callable[[int], bool] = lambda _: False) -> Callable[[Asked], Reply]:
    """A model that adds, wrongly where it is told to."""

    def answer(asked: Asked) -> Reply:
        number = int(asked_text(asked).split()[0])
        return plain(f"Answer: {2 * number + (1 if wrong(number) else 0)}")

    return answer


Score = float | None | Sequence[float | None]


def evaluated(
    suite: Suite,
    scores: Mapping[str, Sequence[Score]],
    *,
    baseline: str | None = None,
    policy: PolicyColumn | None = None,
    cost: Mapping[str, int | None] | None = None,
    why: str = "got 1, wanted 2",
) -> Evaluation:
    """An evaluation of models whose scores are given, case by case; None is a failure."""
    names = list(scores)
    samples = {
        (name, case.id): [
            _sample(one, (cost or {}).get(name, 100), why)
            for one in (score if isinstance(score, Sequence) else [score])
        ]
        for name in names
        for case, score in zip(suite.cases, scores[name], strict=True)
    }
    return measure(
        Tried(
            purpose="eval",
            suite=suite,
            contenders=[Contender(name=name, alias=name) for name in names],
            models={name: ModelSettings(model=f"model-{name}") for name in names},
            samples=samples,
            incomplete=frozenset(),
            policy=policy,
            baseline=baseline or names[0],
            confidence=0.95,
        )
    )


def _sample(score: float | None, cost: int | None, why: str) -> Sample:
    if score is None:
        return Sample(score=None, why="model 'x' answered 500", answered=False)
    return Sample(score=score, why=why, answered=True, text="1", latency_ms=10.0, cost_usd_micros=cost)
