"""A judge for tests: a fake model that marks by rule, and a task that declares it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Protocol

from sqlalchemy import select

from evals.judge.counts import JudgeCounts
from evals.judge.sweep import judge_all
from stepdown.ledger import Ledger, schema
from stepdown.settings import JudgeSettings, ModelSettings, Settings, TaskSettings, WorkerSettings
from tests.fakes import Asked, FakeModel, Reply, plain

QUOTED = re.compile(r"<<<BEGIN ([A-Z ]+) \w+>>>\n(.*?)\n<<<END", re.DOTALL)


class Served(Protocol):
    """A fake that can be named in settings."""

    def settings(self, model: str, **more: Any) -> ModelSettings:
        """Settings that name it."""


Judging = Callable[[dict[str, str]], str]


def quoted(asked: Asked) -> dict[str, str]:
    """The material of a question, by name."""
    return quoted_in(asked.json["messages"][1]["content"])


def quoted_in(content: str) -> dict[str, str]:
    """The material of a question's words, by name."""
    return dict(QUOTED.findall(content))


def verdict(choice: str, key: str = "winner", reason: str = "because") -> str:
    """A judge's answer, in form."""
    return json.dumps({"reason": reason, key: choice})


def longer_wins(material: dict[str, str]) -> str:
    """A judge without regard to the order: the longer answer is better."""
    a, b = len(material["ANSWER A"]), len(material["ANSWER B"])
    return verdict("A" if a > b else "B" if b > a else "tie")


def first_wins(_: dict[str, str]) -> str:
    """A judge that only looks at the place."""
    return verdict("A")


def judge_model(judging: Judging = longer_wins) -> FakeModel:
    """A model that judges."""
    return FakeModel(lambda asked: says(judging(quoted(asked))))


def says(text: str) -> Reply:
    """A judge's whole answer: 100 tokens read, 10 written."""
    return plain(text, prompt=100, answer=10)


def settings_for(model: Served, *, concurrency: int = 4, home: str = ".", **judge: Any) -> Settings:
    """A task `sums` with one judge `j`, whose model costs a dollar a million tokens."""
    own = ("batch", "batch_price", "timeout_s")
    of_model: dict[str, Any] = {name: judge.pop(name) for name in own if name in judge}
    priced: dict[str, Any] = {"input_usd_per_million": 1.0, "output_usd_per_million": 1.0, **of_model}
    other = ModelSettings(model="other", url="http://127.0.0.1:9/v1")
    declared = JudgeSettings(**{"model": "referee", **judge})
    return Settings(
        home=home,
        models={"referee": model.settings("referee-1", **priced), "strong": other, "small": other},
        tasks={"sums": TaskSettings(small="small", judges={"j": declared})},
        worker=WorkerSettings(concurrency=concurrency),
    )


def sweep(ledger: Ledger, settings: Settings, budget_s: float = 60.0, **how: Any) -> JudgeCounts:
    """One sweep of all judges."""
    return judge_all(ledger, settings, {}, budget_s=budget_s, **how)


def labels(ledger: Ledger) -> dict[str, tuple[str, float | None]]:
    """Verdict and score of each call that has a label."""
    return {row.subject: (row.verdict, row.score) for row in ledger.rows(select(schema.labels))}


def evidence(ledger: Ledger) -> dict[str, str]:
    """The evidence of each label."""
    return {row.subject: row.evidence for row in ledger.rows(select(schema.labels))}


def judge_calls(ledger: Ledger) -> list[Any]:
    """All calls of judges."""
    table = schema.calls
    return list(ledger.rows(select(table).where(table.c.role == "judge").order_by(table.c.at, table.c.id)))
