"""The stages of a night by their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from distill.night import admitting, making, report
from distill.night.machine import Ending, Stage
from distill.night.tonight import Tonight

STAGES: Mapping[Stage, Callable[[Tonight], Ending]] = {
    Stage.LABEL: making.label,
    Stage.SLICES: making.slices,
    Stage.DATASET: making.dataset,
    Stage.TRAIN: making.train,
    Stage.EXPORT: making.export,
    Stage.EVALUATE: admitting.evaluate,
    Stage.PRACTICE: admitting.practice,
    Stage.GATE: admitting.gate,
    Stage.RELABEL: admitting.relabel,
    Stage.FIT: admitting.fit,
    Stage.BOUND: admitting.bound,
    Stage.CANARY: admitting.canary,
    Stage.REPORT: report.report,
}
