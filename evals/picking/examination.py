"""What a check says of candidates, found in a process of its own: `python -m evals.picking.examination`.

A line of JSON comes in (`Examination`), one goes out (a list of `Finding`), until the input ends.

Invariant: whatever a check does to one answer (raise, print, never end), each has a finding, in their order.
The process knows neither who asks nor what becomes of its findings.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from typing import Any, BinaryIO

import msgspec

from evals.checks import Check, Subject, applied, build_check
from evals.checks.outcome import limit_s
from evals.picking.answered import answered
from evals.time_limit import time_limit
from router.wire import ToolCall
from stepdown.errors import CheckError
from stepdown.records import Verdict

LIMIT_S = 5.0


class Said(msgspec.Struct, frozen=True):
    """One answer, as far as a check sees it."""

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    refusal: str = ""


class Examination(msgspec.Struct, frozen=True):
    """Which check is to look at which answers.

    Attributes:
        name: Of the check.
        declared: The settings of all of the task's checks by name, since one may be made of others.
        reference: JSON text, or None where there is none.
        prompt: All text of the request.
        answers: What is examined.
        schema: The JSON Schema that the request asks answers to follow, if it does.
    """

    name: str
    declared: dict[str, dict[str, Any]]
    reference: str | None
    prompt: str
    answers: tuple[Said, ...]
    schema: Any = None


class Finding(msgspec.Struct, frozen=True):
    """What is found of one answer.

    Attributes:
        verdict: `good`, `bad` or `unscored`.
        key: Equal for answers that the check would take for the same; None where nothing is answered.
    """

    verdict: str
    key: str | None


findings = msgspec.json.Decoder(list[Finding])
_examinations = msgspec.json.Decoder(Examination)


def examine(examination: Examination) -> list[Finding]:
    """What the check says of each answer."""
    try:
        check = build_check(examination.name, examination.declared[examination.name], examination.declared)
    except CheckError as error:
        print(f"stepdown: nothing is picked by check {examination.name!r}: {error}", file=sys.stderr)
        return [Finding(Verdict.UNSCORED, None) for _ in examination.answers]
    return [_finding(check, examination, said) for said in examination.answers]


def _finding(check: Check, examination: Examination, said: Said) -> Finding:
    try:
        with time_limit(limit_s(check, LIMIT_S)):
            return Finding(_verdict(check, examination, said), _key(check, said))
    except Exception:  # a check may be anybody's code; that it cannot say is its finding
        return Finding(Verdict.UNSCORED, None)


def _verdict(check: Check, examination: Examination, said: Said) -> str:
    if check.needs_reference and examination.reference is None:
        return Verdict.UNSCORED
    reference = None if examination.reference is None else json.loads(examination.reference)
    subject = Subject(
        text=said.text,
        reference=reference,
        prompt=examination.prompt,
        tool_calls=said.tool_calls,
        finish_reason=said.finish_reason,
        refusal=said.refusal,
        schema=examination.schema,
    )
    return applied(check, subject).verdict


def _key(check: Check, said: Said) -> str | None:
    key = answered(check, said.text or said.refusal)
    return None if key is None else hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def main(out: BinaryIO) -> None:
    """Examine until the input ends."""
    for line in sys.stdin.buffer:
        out.write(msgspec.json.encode(examine(_examinations.decode(line))) + b"\n")
        out.flush()


def own_output() -> BinaryIO:
    """The process's output, kept from whatever a check prints."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return out


if __name__ == "__main__":
    main(own_output())
