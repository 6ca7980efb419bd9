"""Looks at a rollout, as its tests take them."""

from __future__ import annotations

import json
from typing import Any

from distill.rollout.look import look
from stepdown.ledger import Ledger
from stepdown.records import Promotion
from stepdown.registry import Registry
from stepdown.settings import Settings
from tests.distill.rollout.traffic import (
    TASK,
    settings_of,
)

SETTINGS = settings_of()


def newest(ledger: Ledger) -> Promotion:
    """What is in force, with evidence that is JSON."""
    found = Registry(ledger).current(TASK)
    assert found is not None
    json.dumps(found.evidence, allow_nan=False)
    return found


def looked(ledger: Ledger, settings: Settings = SETTINGS, **how: Any) -> str:
    """Look, and then again: the same evidence is no reason to do more."""
    done = look(ledger, settings, TASK, **how)
    assert done is not None
    assert look(ledger, settings, TASK, **how) is None
    return done
