"""A proxy with something of everything: what its `/metrics` can show, it shows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from stepdown.heartbeat import worker_beat
from stepdown.ids import now
from stepdown.ledger import Ledger
from stepdown.records import Deployed, Mode
from stepdown.registry import Registry
from stepdown.replicas import Replica, Replicas, State
from stepdown.settings import (
    CandidateSettings,
    JudgeSettings,
    PortfolioSettings,
    ProxySettings,
    Settings,
    TaskSettings,
)
from stepdown.students import served_name
from stepdown.summaries import Summaries
from tests.fakes import Asked, FakeModel, Reply, error, obliging, plain, running
from tests.processes import wait_until
from tests.proxies import RunningProxy, proxy_process
from tests.router.driver import PRICES
from tests.router.ledgers import promote, router_that_prefers

DRAWN = ('reason="gain_below_threshold"', 'reason="exploration"', 'role="shadow"', 'role="judge"')
STUDENT, STRAY = "a" * 64, "b" * 64
OPERATIONS = {
    "label_backlog": {"default": 12, "drafts": 0},
    "oldest_unlabelled_s": {"default": 90.5, "drafts": None},
    "queue_age_s": {"labels": 90.5, "evals": None},
}


def often_failing(asked: Asked) -> Reply:
    """Answers in its own name, unless it is asked for something that the test wants to fail."""
    if b"fail" in asked.body:
        return error(500)
    return obliging(asked) if asked.json.get("stream") else plain(f"I am {asked.json['model']}.")


def busy_settings(home: Path, strong: FakeModel, small: FakeModel) -> Settings:
    """Three tasks: one that is routed, one whose strong tier is a portfolio, and one with a student.

    The judge of the portfolio says nothing that is a judgement, so its stage of the picker fails.
    """
    candidates = (CandidateSettings(model="strong", samples=2), CandidateSettings(model="other"))
    portfolio = PortfolioSettings(candidates=candidates, picker=("judge", "majority"), judge="unclear")
    served = small.settings("mini", serving="adapters")
    return Settings(
        home=str(home),
        proxy=ProxySettings(port=0, reload_s=0.05),
        models={
            "strong": strong.settings("gpt", **PRICES),
            "other": strong.settings("unpriced"),
            "small": small.settings("tiny", **PRICES),
            "tuned": served,
        },
        tasks={
            "default": TaskSettings(small="small", exploration=0.3),
            "drafts": TaskSettings(portfolio=portfolio, judges={"unclear": JudgeSettings(model="strong")}),
            "sums": TaskSettings(small="tuned"),
        },
    )


def fill(ledger: Ledger, settings: Settings) -> None:
    """What workers and servers leave in the ledger."""
    promote(ledger, Mode.ROUTE, router_that_prefers(small=True).to_bytes())
    deployed = Deployed(Mode.SHADOW, candidate=STUDENT)
    assert Registry(ledger).promote("sums", deployed, actor="t", reason="t", evidence={}, after=0)
    for queue in ("labels", "fits", "evals"):
        ledger.beat(worker_beat(queue))
    ledger.beat("somebody else")
    Summaries(ledger).keep("", "operations", json.dumps(OPERATIONS).encode())
    adapters = {served_name(STRAY): "/b", "base": "/base"}
    seen = Replica(url=settings.models["tuned"].servers[0], alias="tuned", at=now(), state=State.SERVING)
    Replicas(ledger).note(
        Replica(seen.url, seen.alias, now() - timedelta(seconds=1), seen.state, adapters, note="lacks one")
    )


def send_traffic(proxy: RunningProxy) -> None:
    """A few requests of every kind."""
    assert proxy.chat()[0] == 200
    assert proxy.chat(stream=True)[0] == 200
    assert proxy.chat(model="stepdown/drafts")[0] == 200
    assert proxy.chat(model="stepdown/sums")[0] == 200
    assert proxy.chat(messages=[{"role": "user", "content": "fail"}])[0] == 500
    assert proxy.chat(model="nobody")[0] == 404


def everything(proxy: RunningProxy) -> str:
    """What `/metrics` says once there was traffic of every kind; what is drawn at random takes a while."""
    said = ""

    def is_there() -> bool:
        nonlocal said
        send_traffic(proxy)
        said = proxy.metrics()
        return all(one in said for one in DRAWN)

    wait_until("there was traffic of every kind", is_there)
    return said


@contextmanager
def busy_proxy(home: Path) -> Iterator[RunningProxy]:
    """The real proxy over such a ledger, with models that answer; traffic is the test's to send."""
    strong, small = FakeModel(often_failing), FakeModel(often_failing)
    with running(strong, small):
        settings = busy_settings(home, strong, small)
        ledger = Ledger(settings.database_url)
        fill(ledger, settings)
        ledger.close()
        with proxy_process(settings) as proxy:
            yield proxy
