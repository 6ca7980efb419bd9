"""Suites: cases that models are tried on, and how their answers are scored.

Invariant: a suite's hash is that of its cases and of what scores them, whatever order they stand in and
however the suite is called; so equal hashes mean comparable runs. A line that cannot be used is named by
its number, and nothing is guessed for it. The module knows no model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec

from evals.checks import Check
from stepdown.ids import digest
from stepdown.settings import JudgeSettings

CHAT_FIELDS = (
    "messages",
    "temperature",
    "top_p",
    "max_tokens",
    "max_completion_tokens",
    "stop",
    "seed",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "functions",
    "function_call",
    "response_format",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "reasoning_effort",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One question of a suite.

    Attributes:
        id: Names it within the suite: the line's own id, or else the beginning of its key.
        line: Of the file of cases.
        fields: The chat request's fields but the model's name.
        prompt: Its text, as the router sees it.
        prompt_hash: Cases that share it are duplicates: one group.
        reference: What a check compares an answer with; None where there is none.
        check: Name of the check that scores it; None leaves it to the judge.
    """

    id: str
    line: int
    fields: Mapping[str, Any]
    prompt: str
    prompt_hash: str
    reference: Any
    check: str | None
    slice: str | None

    @property
    def key(self) -> str:
        """Hash of all that matters of it."""
        return case_key(self.fields, self.reference, self.check, self.slice)


def case_key(fields: Mapping[str, Any], reference: Any, check: str | None, kind: str | None) -> str:
    """Hash of what is asked and how it is scored."""
    return digest(msgspec.json.encode([fields, reference, check, kind], order="sorted"))


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that cannot be used, and why."""

    line: int
    why: str


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Cases and what scores them.

    Attributes:
        task: The task whose questions they are.
        checks: Every check that a case names, by name.
        judge: What scores the cases that name no check, and its name; None where all name one.
        partial_credit: Whether a check's score counts, where it gives one in parts; else only whether the
            answer is good.
        baseline: Alias of the model that the others are compared with, or None.
        scoring: Settings of the checks and of the judge, as they were declared.
        bad_lines: Lines that were left out.
    """

    name: str
    description: str
    task: str
    cases: Sequence[Case]
    checks: Mapping[str, Check]
    judge: tuple[str, JudgeSettings] | None
    partial_credit: bool
    baseline: str | None
    scoring: Mapping[str, Any]
    bad_lines: Sequence[BadLine] = field(default=())

    @cached_property
    def cases_hash(self) -> str:
        """Hash of the cases, in any order."""
        return hash_of_cases(self.cases)

    @cached_property
    def hash(self) -> str:
        """Hash of the cases and of what scores them, the versions of the checks included."""
        used = {case.check for case in self.cases} - {None}
        versions = {name: self.checks[name].version for name in used if name}
        judge = self.judge[0] if self.judge and any(c.check is None for c in self.cases) else None
        settings = {name: self.scoring.get("checks", {}).get(name) for name in versions}
        judging = self.scoring.get("judges", {}).get(judge)
        content = [self.cases_hash, versions, settings, judging, self.partial_credit]
        return digest(json.dumps(content, sort_keys=True, default=str).encode())

    @property
    def duplicates(self) -> list[list[Case]]:
        """The cases that ask the same as another one, group by group."""
        groups: dict[str, list[Case]] = {}
        for case in self.cases:
            groups.setdefault(case.prompt_hash, []).append(case)
        return [group for group in groups.values() if len(group) > 1]


def hash_of_cases(cases: Sequence[Case]) -> str:
    """Hash of cases, in any order."""
    return digest("\n".join(sorted(f"{case.id} {case.key}" for case in cases)).encode())
