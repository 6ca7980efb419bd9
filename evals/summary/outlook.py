"""What a task is missing, and what it would bring: in numbers and in words.

Invariant: what rests on traffic going on as it was says so, and from when on it was counted. A saving that is
projected for a task without a certificate is no promise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

import numpy as np
import pandas as pd

from evals.metrics.intervals import Floats
from evals.month import DAY, MONTH_DAYS, MONTH_S, WINDOW, Traffic, traffic_of
from evals.outcomes import certifiable, training_examples
from evals.promotion import promise_of
from evals.refit import ROUTER, next_delta
from evals.report.layout import dollars
from evals.summary.alarms import alarms
from evals.summary.documents import Outlook, Saving
from evals.summary.projection import Terms, saving
from evals.summary.scene import CONFIDENCE, Scene
from router.fitting.bound import prompts_needed
from router.fitting.fit import CALIBRATION_SHARE, fit_model
from router.fitting.splits import calibration_mask
from stepdown.errors import NotEnoughEvidence
from stepdown.prices import rent_usd_micros
from stepdown.records import Mode
from stepdown.registry import Registry

LEAST = timedelta(hours=1)
FROM_PROMPTS = 100  # from so many on, a router is fitted to project from
MOST_PROMPTS = 2_000  # the newest, that it is fitted on
SEED = 0


class _Lately(NamedTuple):
    """What came lately.

    Attributes:
        days: Of the last week those since the first request, in which `prompts` were newly labelled.
        traffic: What it makes a month.
    """

    days: float
    prompts: int
    traffic: Traffic

    @property
    def a_month(self) -> int:
        """Requests on which the policy decides."""
        return round(self.traffic.requests_a_month)


def outlook(scene: Scene) -> Outlook:
    """What a task is missing, and what it would bring.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    pairs, task = scene.everything.labelled_pairs, scene.declared
    lately = _lately(scene, pairs)
    may_certify = pairs.loc[certifiable(pairs, task.certify_on), "prompt_hash"].unique().tolist()
    prompts = int(pairs["prompt_hash"].nunique())
    to_router = 0 if _has_router(scene) else max(0, task.min_labels - prompts)
    to_certificate = 0 if scene.router_since else _to_certificate(scene, may_certify)
    rate = lately.prompts / lately.days if lately.prompts else None
    wanted = max(to_router, to_certificate)
    found = _saving(scene, pairs, prompts, lately)
    return Outlook(
        at=scene.at,
        since=scene.since,
        mode=scene.deployed.mode.value,
        prompts=prompts,
        certifiable=len(may_certify),
        min_labels=task.min_labels,
        labels_to_router=to_router,
        labels_to_certificate=to_certificate,
        bound=task.max_quality_loss,
        confidence=task.confidence,
        rate_per_day=rate,
        days_to_go=wanted / rate if rate else None,
        requests_a_month=lately.a_month,
        extrapolated=f"as many as in the last {_words(lately.traffic.counted_days)}, for {MONTH_DAYS} days",
        saving=found,
        lines=tuple(_lines(scene, prompts, (to_router, to_certificate), lately, found)),
        alarms=tuple(alarms(scene)),
    )


def _lately(scene: Scene, pairs: pd.DataFrame) -> _Lately:
    decided = scene.decided["at"]
    first = scene.at - WINDOW if decided.empty else max(scene.at - WINDOW, decided.min().to_pydatetime())
    labelled = pairs.groupby("prompt_hash")["at"].min()
    return _Lately(
        days=max(scene.at - first, LEAST) / DAY,
        prompts=int((labelled >= first).sum()),
        traffic=traffic_of(scene.everything.requests, scene.at),
    )


def _words(days: float) -> str:
    return f"{24 * days:.0f} hours" if days < 2 else f"{days:.0f} days"


def _has_router(scene: Scene) -> bool:
    return Registry(scene.ledger).count(ROUTER, scene.task) > 0


def _to_certificate(scene: Scene, may_certify: Sequence[str]) -> int:
    """Prompts yet to be labelled, of which a share calibrates, until a bound is possible at all."""
    promise = promise_of(scene.declared)
    needed = prompts_needed(promise.epsilon, next_delta(scene.ledger, scene.task, promise))
    have = int(calibration_mask(may_certify, CALIBRATION_SHARE, SEED).sum())
    return math.ceil(max(0, needed - have) / CALIBRATION_SHARE)


def _saving(scene: Scene, pairs: pd.DataFrame, prompts: int, lately: _Lately) -> Saving | None:
    """What routing would bring a task that is not routed yet; what it brings one that is, its bill says."""
    if scene.deployed.mode is Mode.ROUTE or scene.declared.small is None:
        return None
    drawn = scene.outcomes.drawn_pairs
    newest = drawn.drop_duplicates("prompt_hash", keep="last")["prompt_hash"].tail(MOST_PROMPTS)
    drawn = drawn[drawn["prompt_hash"].isin(newest)].reset_index(drop=True)
    gains = _gains(scene, drawn) if prompts >= FROM_PROMPTS else None
    if gains is not None:
        drawn, gains = drawn[~np.isnan(gains)].reset_index(drop=True), gains[~np.isnan(gains)]
    terms = Terms(
        bound=scene.declared.max_quality_loss,
        exploration=scene.declared.exploration,
        requests_a_month=lately.a_month,
        rent_a_month=round(rent_usd_micros(scene.rates.small_usd_per_hour, MONTH_S)),
        confidence=CONFIDENCE,
    )
    return saving(drawn, gains, terms)


def _gains(scene: Scene, drawn: pd.DataFrame) -> Floats | None:
    """The gain of each pair by a router that did not know its prompt; NaN where that cannot be read.

    None where none can be fitted, as where all answers are alike.
    """
    examples = training_examples(scene.ledger, drawn.drop_duplicates("prompt_hash", keep="last"))
    if len(examples) < FROM_PROMPTS:
        return None
    try:
        _, gains, _ = fit_model(examples, seed=SEED)
    except (NotEnoughEvidence, ValueError):
        return None
    by_prompt = dict(zip((example.group for example in examples), gains.tolist(), strict=True))
    return np.array([by_prompt.get(key, math.nan) for key in drawn["prompt_hash"]], dtype=np.float64)


def _lines(
    scene: Scene, prompts: int, wanted: tuple[int, int], lately: _Lately, found: Saving | None
) -> list[str]:
    task, (to_router, to_certificate) = scene.declared, wanted
    lines = []
    if task.small is None:
        lines.append("no small model is configured: set `small` of the task to an alias in [models]")
    if to_router:
        lines.append(
            f"needs about {to_router:,} more labels for a first router: {prompts:,} of {task.min_labels:,} "
            "distinct prompts are labelled for both models"
        )
    if to_certificate:
        lines.append(
            f"needs at least about {to_certificate:,} more labels for a first certificate of at most "
            f"{task.max_quality_loss:.1%} regrets with {task.confidence:.4g} confidence, and more if any of "
            "them is a regret"
        )
    if to_router or to_certificate:
        lines.append(_pace(max(to_router, to_certificate), lately))
    if found is not None:
        lines.append(_said(found, lately))
    return lines


def _pace(wanted: int, lately: _Lately) -> str:
    counted = _words(lately.days)
    if not lately.prompts:
        return f"no prompt was newly labelled for both models in the last {counted}"
    days = wanted * lately.days / lately.prompts
    return f"about {days:,.1f} days to go, if {lately.prompts:,} prompts are labelled every {counted}"


def _said(found: Saving, lately: _Lately) -> str:
    value, low, high, n = found.usd_micros
    ends = f"[{dollars(low)}, {dollars(high)}], n={n:,}"
    first = "could save at most" if found.at_most else "projected saving"
    return (
        f"{first} {dollars(value)} a month {ends}: {found.method}; {lately.a_month:,} requests a month, "
        f"as many as in the last {_words(lately.traffic.counted_days)}"
    )
