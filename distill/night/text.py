"""Nights as plain text. Pure."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from distill.night.account import NightAccount, StageAccount
from distill.night.status import NightStatus
from evals.report.layout import UNKNOWN, dollars, wrapped_pairs


def render_status(status: NightStatus) -> str:
    """A task's newest night and when the next one begins."""
    when = f"{status.next_at:%Y-%m-%d %H:%M} {status.timezone}"
    following = f"next night: {'due since ' if status.is_due else ''}{when}\n"
    if status.night is None:
        return f"NIGHT  task {status.task}: there was none yet\n{following}"
    return render_night(status.night, status.timezone) + following


def render_night(night: NightAccount, timezone: str) -> str:
    """A night: its stages with their outcomes, reasons and durations, the gate's tables, its cost."""
    began = f"{night.began_at.astimezone(ZoneInfo(timezone)):%Y-%m-%d %H:%M:%S} {timezone}"
    cost = UNKNOWN if night.cost_usd_micros is None else dollars(night.cost_usd_micros)
    lines = [
        f"NIGHT  {night.id}, begun {began} by {night.actor}: {night.conclusion}",
        "",
        *wrapped_pairs([(stage.stage, _line(stage, timezone)) for stage in night.stages]),
        "",
        *(_gates(night)),
        *([f"cost: {cost}"] if night.over else []),
    ]
    return "\n".join(lines) + "\n"


def _line(stage: StageAccount, timezone: str) -> str:
    parts = [stage.state if stage.seconds is None else f"{stage.state} in {duration(stage.seconds)}"]
    if stage.seconds is None and stage.began_at is not None:
        parts = [f"{stage.state} {_clock(stage.began_at, timezone)}"]
    if stage.attempts > 1:
        parts.append(f"begun {stage.attempts} times")
    return ", ".join(parts) + (f": {stage.reason}" if stage.reason else "")


def _clock(at: datetime, timezone: str) -> str:
    return f"{at.astimezone(ZoneInfo(timezone)):%H:%M:%S}"


def _gates(night: NightAccount) -> list[str]:
    lines: list[str] = []
    for stage in night.stages:
        for gate in stage.found.get("gates", ()):
            said = "passed" if gate["passed"] else "not passed"
            lines += [f"GATE  {gate['variant']} {gate['student']}: {said}", *gate["table"].splitlines(), ""]
    return lines


def duration(seconds: float) -> str:
    """Seconds in the unit that reads best."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
