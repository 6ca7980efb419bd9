"""Measures how easily a judge is talked round by what it judges, and how much it cares for the order.

Invariant: an audit changes no label. Its calls are on the bill of the requests that were judged, and each
answered question is kept at once and never asked again, so an audit that is killed goes on where it was, and
the same audit of the same labels is the same artifact.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

import msgspec
from sqlalchemy import select

from evals.judge.asking import put
from evals.judge.attacks import ATTACKS, CONTROLS, Planted
from evals.judge.audits import JudgeAudit, Rate, audit_lines, rate_of
from evals.judge.backlog import Item
from evals.judge.combine import Part, parts_of, side_of
from evals.judge.history import key_of, question_id, read_histories
from evals.judge.judges import Judge, judge_of
from evals.judge.settle import selfish
from evals.judge.sitting import STOP_AFTER
from evals.judge.trials import Trial, drawn, targets, trials
from evals.judge.verdict import Opinion, read_opinion
from router.ask import Asker, open_asker
from router.upstream import UpstreamFactory
from router.upstream.factory import upstream_for
from stepdown import __version__
from stepdown.errors import ArtifactError, NotEnoughEvidence, UpstreamError
from stepdown.ids import digest
from stepdown.ledger import Ledger, schema
from stepdown.ledger.lock import alone
from stepdown.records import Role
from stepdown.registry import Registry
from stepdown.settings import Settings

__all__ = ["JudgeAudit", "Rate", "audit_judge", "audit_lines", "newest_audit"]

AUDIT = "audit"
ORDERS_FROM = 200  # judged pairs whose orders are compared, at most

Progress = Callable[[int, int], None]


def audit_judge(
    ledger: Ledger,
    settings: Settings,
    environ: Mapping[str, str],
    task_name: str,
    judge_name: str,
    *,
    pairs: int = 20,
    seed: int = 0,
    progress: Progress = lambda _done, _of: None,
    upstreams: UpstreamFactory = upstream_for,
) -> JudgeAudit:
    """Attack answers that a judge has found to lose, ask it again, and keep what comes of it.

    Args:
        ledger: Where the labels are, and the audit is kept.
        settings: All settings.
        environ: Where the upstreams' keys are.
        task_name: The task.
        judge_name: The judge.
        pairs: Judged items to attack; fewer where there are not as many.
        seed: Which items are drawn.
        progress: Called with the verdicts that are there, and how many there are to be.
        upstreams: Opens the upstream of a model.

    Raises:
        SettingsError: The judge or its model is not declared, or its key is not set.
        NotEnoughEvidence: The judge has judged nothing that can be attacked, or is being audited already.
        UpstreamError: The judge answers nobody; what was answered is kept.
        LedgerError: The ledger refused.
    """
    judge = judge_of(settings, task_name, judge_name)
    with alone(ledger, f"audit {judge.task} {judge.name}") as held:
        if not held:
            raise NotEnoughEvidence(f"judge {judge.name!r} is being audited already; wait for that to end")
        items = drawn(ledger, judge, seed)
        tried = trials(ledger, judge, list(islice(targets(ledger, judge, items, seed), pairs)))
        asyncio.run(_ask_all(ledger, settings, environ, judge, tried, progress, upstreams))
        audit = _audit(ledger, judge, tried, items[:ORDERS_FROM])
        _keep(ledger, audit, tried, seed)
    return audit


def newest_audit(ledger: Ledger, task_name: str, judge_name: str) -> JudgeAudit | None:
    """The newest audit of a judge, or None.

    Raises:
        ArtifactError: It is corrupt, or of another version of Stepdown.
    """
    table = schema.artifacts
    kept = (table.c.kind == AUDIT) & (table.c.task == task_name)
    newest = select(table.c.id, table.c.settings).where(kept).order_by(table.c.at.desc(), table.c.id)
    name = next((r.id for r in ledger.rows(newest) if r.settings.get("judge") == judge_name), None)
    if name is None:
        return None
    try:
        return msgspec.json.decode(Registry(ledger).artifact(name).content, type=JudgeAudit)
    except msgspec.DecodeError as error:
        raise ArtifactError(f"audit {name!r} cannot be read: {error}; audit the judge again") from error


async def _ask_all(
    ledger: Ledger,
    settings: Settings,
    environ: Mapping[str, str],
    judge: Judge,
    tried: Sequence[Trial],
    progress: Progress,
    upstreams: UpstreamFactory,
) -> None:
    source, asking = iter(tried), _Asking(ledger, judge, progress, len(tried))
    async with open_asker(settings, environ, [judge.settings.model], upstreams=upstreams) as asker:
        await asyncio.gather(*(asking.work(source, asker) for _ in range(settings.worker.concurrency)))
    if asking.stopped is not None:
        raise asking.stopped


class _Asking:
    """Puts the questions of trials until there are none, or the judge answers nobody.

    Attributes:
        stopped: Why it stopped before the end, or None.
    """

    def __init__(self, ledger: Ledger, judge: Judge, progress: Progress, trials: int) -> None:
        self.stopped: UpstreamError | None = None
        self._ledger = ledger
        self._judge = judge
        self._progress = progress
        self._trials = trials
        self._done = 0
        self._streak = 0

    async def work(self, source: Iterator[Trial], asker: Asker) -> None:
        for trial in source:
            for part in parts_of(self._judge.settings.kind, 1):
                if self.stopped is not None:
                    return
                if part.name not in trial.history.opinions and not await self._ask(trial, part, asker):
                    break
            self._done += 1
            self._progress(self._done, self._trials)

    async def _ask(self, trial: Trial, part: Part, asker: Asker) -> bool:
        fields = self._judge.fields(trial.material, part)
        question = question_id(trial.key, part)
        asked = await put(asker, self._judge, fields, trial.target.item.request, question)
        await asyncio.to_thread(self._ledger.append, asked.records)
        if asked.answer is None:
            self._note_failure(asked.error)
            return False
        self._streak = 0
        kind, answer = self._judge.settings.kind, asked.answer
        trial.history.opinions[part.name] = read_opinion(kind, answer.text, answer.finish_reason)
        return True

    def _note_failure(self, error: str | None) -> None:
        self._streak += 1
        if self._streak >= STOP_AFTER:
            self.stopped = UpstreamError(
                f"judge {self._judge.name!r} did not answer {self._streak} questions in a row; last: "
                f"{error}; run the audit again when it does, and it goes on from here"
            )


def _audit(ledger: Ledger, judge: Judge, tried: Sequence[Trial], items: Sequence[Item]) -> JudgeAudit:
    def rate(name: str, among: Sequence[Planted]) -> Rate:
        chosen = [trial for trial in tried if trial.planted in among]
        groups = [trial.target.item.prompt_hash for trial in chosen]
        return rate_of(name, [trial.flipped(judge.settings.kind) for trial in chosen], groups)

    attacked = {trial.target.item.request: trial.target.item for trial in tried}
    orders = _orders(ledger, judge, items) if judge.pairwise else None
    return JudgeAudit(
        task=judge.task,
        judge=judge.name,
        version=judge.version,
        model=judge.model.model,
        kind=judge.settings.kind,
        items=len(attacked),
        attacked=rate("all attacks", ATTACKS),
        control=rate("harmless text", CONTROLS),
        attacks=tuple(rate(planted.name, [planted]) for planted in ATTACKS),
        orders=orders[0] if orders else None,
        for_first=orders[1] if orders else 0,
        for_last=orders[2] if orders else 0,
        notes=tuple(sorted({note for item in attacked.values() for note in selfish(judge, item)})),
        cost_usd_micros=_cost(ledger, tried),
    )


def _orders(ledger: Ledger, judge: Judge, items: Sequence[Item]) -> tuple[Rate, int, int]:
    """How often the two orders of a vote disagreed, and how often for the first and for the last shown."""
    histories = read_histories(ledger, "pairwise", {item.key(judge): item.request for item in items})
    disagreed: list[bool | None] = []
    groups: list[str] = []
    both: list[str] = []
    for item in items:
        opinions = histories[item.key(judge)].opinions
        for vote in range(1, judge.settings.votes + 1):
            plain, swapped = opinions.get(Part(vote).name), opinions.get(Part(vote, True).name)
            if isinstance(plain, Opinion) and isinstance(swapped, Opinion):
                differ = side_of(plain, False) is not side_of(swapped, True)
                disagreed.append(differ)
                groups.append(item.prompt_hash)
                both += [plain.choice] if differ and plain.choice == swapped.choice else []
    rate = rate_of("the two orders disagreed", disagreed, groups)
    return rate, both.count("A"), both.count("B")


def _cost(ledger: Ledger, tried: Sequence[Trial]) -> int:
    calls, keys = schema.calls, {trial.key for trial in tried}
    requests = sorted({trial.target.item.request for trial in tried})
    wanted = select(calls.c.id, calls.c.cost_usd_micros).where(
        calls.c.role == Role.JUDGE, calls.c.request.in_(requests)
    )
    return sum(row.cost_usd_micros or 0 for row in ledger.rows(wanted) if key_of(row.id) in keys)


def _keep(ledger: Ledger, audit: JudgeAudit, tried: Sequence[Trial], seed: int) -> None:
    calls = sorted({subject.call for trial in tried for subject in trial.target.item.subjects})
    Registry(ledger).keep(
        AUDIT,
        audit.task,
        msgspec.json.encode(audit),
        parents=(digest("\n".join(calls).encode()),),
        settings={"judge": audit.judge, "version": audit.version, "seed": seed, "code_version": __version__},
        summary={
            "model": audit.model,
            "items": audit.items,
            "attacked": _summary(audit.attacked),
            "control": _summary(audit.control),
            "orders": _summary(audit.orders) if audit.orders else None,
        },
    )


def _summary(rate: Rate) -> dict[str, float | int | None]:
    return {"rate": rate.value if rate.n else None, "low": rate.low, "high": rate.high, "n": rate.n}
