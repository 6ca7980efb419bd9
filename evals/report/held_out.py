"""Which router of a task is shown, and which pairs had no part in fitting it.

Invariant: pairs are parted by the hash of their prompt, as the fit parted them; what came after the
router was fitted is held out unless its prompt is known from before.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd

from evals.outcomes import Prompts
from evals.report.curves import Parts
from router.fitting.fit import CALIBRATION_SHARE
from router.fitting.splits import calibration_mask
from router.model import RouterModel
from stepdown.ledger import Ledger
from stepdown.records import Artifact, Promotion
from stepdown.registry import Registry

FITTED_AT = "fitted_at"


def shown_router(ledger: Ledger, task: str, promotion: Promotion | None) -> Artifact | None:
    """The router in force; where none is, the newest one.

    Raises:
        ArtifactError: It is missing or corrupt.
    """
    registry = Registry(ledger)
    if promotion is not None and promotion.artifact is not None:
        return registry.artifact(promotion.artifact)
    return registry.newest("router", task, student=promotion.student if promotion else None)


def fitted_at(router: Artifact) -> datetime:
    """When a router's heads were fitted: before it was kept, where only its threshold was chosen anew."""
    kept = router.settings.get(FITTED_AT)
    return datetime.fromisoformat(kept) if kept else router.at


def parted(router: Artifact, model: RouterModel, pairs: pd.DataFrame, prompts: Prompts) -> Parts:
    """Part the pairs as the fit did, by the hash of the prompt; what came later is held out if it is new.

    Args:
        router: Whose fit.
        model: What is in it.
        pairs: Labelled pairs; those whose prompt cannot be read are left out.
        prompts: Of their bodies.
    """
    pairs = pairs[pairs["body"].isin(prompts.by_body)].reset_index(drop=True)
    asked = [prompts.by_body[body] for body in pairs["body"]]
    pairs = pairs.assign(text=[prompt.text for prompt in asked], later=pairs["at"] > fitted_at(router))
    share, seed = router.settings.get("calibration_share", CALIBRATION_SHARE), router.settings.get("seed", 0)
    calibration = calibration_mask(pairs["prompt_hash"].tolist(), float(share), int(seed))
    known = set(pairs.loc[~pairs["later"] & ~calibration, "prompt_hash"])
    fit = pairs["prompt_hash"].isin(known)
    logged = (pairs["policy"] == router.id) & pairs["gain"].notna()
    scored = np.array(
        [
            np.nan if is_fit else float(gain) if has_gain else model.score(prompt).gain
            for is_fit, has_gain, gain, prompt in zip(fit, logged, pairs["gain"], asked, strict=True)
        ],
        dtype=float,
    )
    drawn = pairs["strong_drawn"] & pairs["small_drawn"]  # what was asked for as interesting is not counted
    held_out = pairs.assign(gain=scored)[~fit & drawn]
    return Parts(pairs[fit & ~pairs["later"]].reset_index(drop=True), held_out.reset_index(drop=True))
