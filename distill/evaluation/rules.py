"""What the settings ask of a candidate. Pure."""

from __future__ import annotations

from distill.evidence import Rules
from stepdown.settings import StudentSettings, TaskSettings


def rules_of(task: TaskSettings) -> Rules:
    """The gate's rules by a task's settings."""
    student = task.student or StudentSettings(base="-")
    return Rules(
        margin=student.margin,
        general_margin=student.margin,
        alpha=round(1 - task.confidence, 12),
        latency_ratio=student.latency_ratio,
        failed_calls=student.error_rate,
        horizon_days=student.horizon_days,
    )
