"""Small ledgers for tests, written record by record as the proxy and the workers write them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from router.prompt import prompt_hash
from router.wire import read_prompt
from stepdown.ledger import Body, Record
from stepdown.records import Call, Decision, Label, Mode, Reason, Request, Role, Tier, Verdict
from tests.gathering import Gathering

START = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
MODELS = {Tier.STRONG: "large-1", Tier.SMALL: "tiny-1"}


@dataclass
class Writer(Gathering):
    """Writes requests of one task, one a minute, under ids that count up."""

    task: str = "default"
    numbers: count[int] = field(default_factory=lambda: count(1))
    label_numbers: count[int] = field(default_factory=lambda: count(1))

    def request(self, prompt: str, *, kind: str | None = None, status: int = 200, **decision: Any) -> str:
        """Write a request and its decision; returns its id."""
        number = next(self.numbers)
        name, at = f"r{number:05d}", START + timedelta(minutes=number)
        body = json.dumps({"model": "stepdown", "messages": [{"role": "user", "content": prompt}]}).encode()
        self.keep(
            Body.of(body),
            Request(
                id=name,
                at=at,
                task=self.task,
                tenant="",
                conversation=None,
                model_asked="stepdown",
                stream=False,
                prompt_hash=prompt_hash(read_prompt(body)),
                body=Body.of(body).digest,
                reference=None,
                check=None,
                slice=kind,
                status=status,
                latency_ms=10.0,
            ),
            Decision(
                **{
                    "request": name,
                    "at": at,
                    "mode": Mode.STRONG,
                    "policy": "none",
                    "chosen": Tier.STRONG,
                    "reason": Reason.MODE_STRONG,
                    **decision,
                }
            ),
        )
        return name

    def call(
        self,
        request: str,
        tier: Tier,
        good: bool | None = None,
        *,
        role: Role = Role.LIVE,
        cost: int | None = 0,
        tokens: tuple[int, int] | None = None,
        status: int = 200,
        model: str | None = None,
    ) -> str:
        """Write a call and, unless `good` is None, its label; returns its id."""
        number = next(self.numbers)
        name, at = f"c{number:05d}", START + timedelta(minutes=number)
        records: list[Record] = [
            Call(
                id=name,
                request=request,
                at=at,
                role=role,
                tier=tier,
                model=model or MODELS[tier],
                status=status,
                complete=status == 200,
                latency_ms=5.0,
                prompt_tokens=tokens[0] if tokens else None,
                completion_tokens=tokens[1] if tokens else None,
                cost_usd_micros=cost,
            )
        ]
        self.keep(*records)
        if good is not None:
            self.label(name, Verdict.GOOD if good else Verdict.BAD)
        return name

    def label(
        self, call: str, verdict: Verdict, *, labeller: str = "check:exact", version: str = "1", cost: int = 0
    ) -> None:
        """Write a label; each is newer than the one before."""
        self.keep(
            Label(
                subject=call,
                labeller=labeller,
                version=version,
                at=START + timedelta(seconds=next(self.label_numbers)),
                verdict=verdict,
                score=None,
                evidence="",
                cost_usd_micros=cost,
            )
        )

    def pair(
        self,
        prompt: str,
        strong: bool | None,
        small: bool | None,
        *,
        costs: tuple[int | None, int | None] = (100, 10),
        tokens: tuple[int, int] = (10, 20),
        **decision: Any,
    ) -> str:
        """Write a request that strong answered and small was asked in the shadow of."""
        fields = {"mode": Mode.SHADOW, "reason": Reason.MODE_SHADOW, "shadowed": True, **decision}
        request = self.request(prompt, **fields)
        self.call(request, Tier.STRONG, strong, cost=costs[0], tokens=tokens)
        self.call(request, Tier.SMALL, small, role=Role.SHADOW, cost=costs[1], tokens=tokens)
        return request

    def explored(self, prompt: str, strong: bool | None, small: bool | None, gain: float, **more: Any) -> str:
        """Write an explored request of mode route, whose threshold is 0."""
        return self.pair(
            prompt,
            strong,
            small,
            mode=Mode.ROUTE,
            reason=Reason.EXPLORED,
            explored=True,
            propensity=0.1,
            gain=gain,
            **{"threshold": 0.0, **more},
        )

    def routed(
        self,
        prompt: str,
        tier: Tier,
        good: bool | None = None,
        *,
        cost: int | None = 10,
        tokens: tuple[int, int] | None = (10, 20),
        **decision: Any,
    ) -> str:
        """Write a request that the router sent to a tier."""
        small = tier is Tier.SMALL
        fields = {
            "mode": Mode.ROUTE,
            "chosen": tier,
            "reason": Reason.ROUTED_SMALL if small else Reason.ROUTED_STRONG,
            "gain": -0.1 if small else 0.1,
            "threshold": 0.0,
            "propensity": 0.9,
            **decision,
        }
        request = self.request(prompt, **fields)
        self.call(request, tier, good, cost=cost, tokens=tokens)
        return request
