"""Checks that compare text: exact and normalised, a choice of options, a pattern."""

from __future__ import annotations

import re
import unicodedata
from typing import Any, ClassVar, Literal

import msgspec

from evals.checks.outcome import Outcome, Subject, judged
from stepdown.errors import CheckError

FENCE = re.compile(r"```(?:[\w+-]*[ \t]*\r?\n)?(.*?)```", re.DOTALL)


def unfenced(text: str) -> str:
    """The content of the first Markdown code fence, or the whole text where there is none."""
    match = FENCE.search(text)
    return (match.group(1) if match else text).strip()


def reference_text(subject: Subject) -> str:
    """The reference as text.

    Raises:
        CheckError: There is no reference, or it is not a string or a number.
    """
    if not isinstance(subject.reference, str | int | float):
        raise CheckError(f"reference {subject.reference!r} is not text; give a string or a number")
    return str(subject.reference)


class Exact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The answer equals the reference, after the normalisation that the settings ask for.

    Attributes:
        ignore_case: Compare without regard to case (Unicode case folding).
        ignore_punctuation: Drop every punctuation character first.
        ignore_space: Drop all white space; otherwise runs of it become one blank.
        strip: Characters to strip from both ends of both texts.
    """

    version: ClassVar[str] = "1"
    ignore_case: bool = True
    ignore_punctuation: bool = False
    ignore_space: bool = False
    strip: str = " \t\r\n`'\".*"

    @property
    def needs_reference(self) -> bool:
        """Whether the check can say nothing without a reference."""
        return True

    def __call__(self, subject: Subject, /) -> Outcome:
        """Label one answer."""
        got, wanted = self._normal(unfenced(subject.text)), self._normal(reference_text(subject))
        return judged(got == wanted, f"got {got!r}, wanted {wanted!r}")

    def _normal(self, text: str) -> str:
        text = unicodedata.normalize("NFKC", text).strip(self.strip)
        if self.ignore_case:
            text = text.casefold()
        if self.ignore_punctuation:
            text = "".join(c for c in text if not unicodedata.category(c).startswith("P"))
        return re.sub(r"\s+", "" if self.ignore_space else " ", text).strip()


class Choice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The answer names the one option that the reference names.

    An option counts where it stands as a word of its own. The first option after the last `answer`
    marker counts; where none follows one, an answer that names several options is wrong.

    Attributes:
        options: The options, letters or words.
        ignore_case: Whether `b` names the option `B`; off by default for one-letter options, so that
            the article "a" is not an answer.
    """

    version: ClassVar[str] = "1"
    options: tuple[str, ...] = ("A", "B", "C", "D")
    ignore_case: bool | None = None

    def __post_init__(self) -> None:
        if len({self._key(option) for option in self.options}) < max(2, len(self.options)):
            raise ValueError(f"options {self.options!r} must be at least two, and all different")

    @property
    def needs_reference(self) -> bool:
        """Whether the check can say nothing without a reference."""
        return True

    def __call__(self, subject: Subject, /) -> Outcome:
        """Label one answer."""
        wanted = reference_text(subject).strip()
        if wanted not in self.options:
            raise CheckError(f"reference {wanted!r} is not one of the options {', '.join(self.options)}")
        named = self._named(subject.text)
        return judged(named == [wanted], f"named {named!r}, wanted {wanted!r}")

    @property
    def _folds(self) -> bool:
        return self.ignore_case if self.ignore_case is not None else min(map(len, self.options)) > 1

    def _key(self, option: str) -> str:
        return option.casefold() if self._folds else option

    def _named(self, text: str) -> list[str]:
        ranked = sorted(self.options, key=len, reverse=True)
        pattern = "|".join(f"({re.escape(option)})" for option in ranked)
        word = re.compile(rf"(?<!\w)(?:{pattern})(?!\w)", re.IGNORECASE if self._folds else re.NOFLAG)

        def options_in(part: str) -> list[str]:
            return list(dict.fromkeys(ranked[(m.lastindex or 1) - 1] for m in word.finditer(part)))

        *before, last = re.split(r"(?i)\banswer(?:\s+is)?\s*:?", text)
        marked = options_in(last)[:1] if before else []
        return marked or options_in(text)


class Regex(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The answer matches a pattern: the one in the settings, or else the reference.

    Attributes:
        pattern: Python regular expression; None takes the reference as the pattern.
        match: Whether the whole answer must match, or any part of it.
        ignore_case: Match without regard to case.
        ignore_space: Drop all white space of the answer first.
        unfence: Take only the content of the first Markdown code fence, where there is one.
    """

    version: ClassVar[str] = "1"
    pattern: str | None = None
    match: Literal["whole", "part"] = "part"
    ignore_case: bool = False
    ignore_space: bool = False
    unfence: bool = False

    def __post_init__(self) -> None:
        if self.pattern is not None:
            self._compiled(self.pattern)

    @property
    def needs_reference(self) -> bool:
        """Whether the check can say nothing without a reference."""
        return self.pattern is None

    def __call__(self, subject: Subject, /) -> Outcome:
        """Label one answer."""
        pattern = self._compiled(self.pattern if self.pattern is not None else reference_text(subject))
        text = unfenced(subject.text).strip("`") if self.unfence else subject.text.strip()
        text = re.sub(r"\s+", "", text) if self.ignore_space else text
        found: Any = pattern.fullmatch(text) if self.match == "whole" else pattern.search(text)
        return judged(bool(found), f"{text[:200]!r} against /{pattern.pattern}/")

    def _compiled(self, pattern: str) -> re.Pattern[str]:
        try:
            return re.compile(pattern, re.IGNORECASE if self.ignore_case else re.NOFLAG)
        except re.error as error:
            raise CheckError(f"pattern {pattern!r} is not a regular expression: {error}") from error
