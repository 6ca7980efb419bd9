"""Checks that compare text: exact and normalised, a choice of options, a pattern."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
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


# Characters that look alike and mean the same: quotation marks, apostrophes, dashes, the ellipsis.
ALIKE = {
    **dict.fromkeys(map(ord, "\u2018\u2019\u201a\u201b\u2032\u00b4\u02bc"), "'"),
    **dict.fromkeys(map(ord, "\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb"), '"'),
    **dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"), "-"),
}
ARTICLES = {
    "en": "a an the",
    "de": "der die das den dem des ein eine einen einem einer eines",
    "fr": "le la les l' un une des du",
    "es": "el la los las un una unos unas",
    "it": "il lo la i gli le l' un uno una un'",
    "pt": "o a os as um uma uns umas",
    "nl": "de het een",
}


class Exact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The answer equals the reference, after the normalisation that the settings ask for.

    Always: Unicode's compatibility forms (NFKC) are one, invisible characters (soft hyphens, zero-width
    ones, marks of direction) are dropped, and quotation marks and dashes of all shapes are plain ones. A
    reference may be a list: any of its texts is right.

    Attributes:
        ignore_case: Compare without regard to case (Unicode case folding).
        ignore_punctuation: Drop every punctuation character first.
        ignore_space: Drop all white space; otherwise runs of it become one blank.
        ignore_accents: Compare letters without their accents.
        ignore_articles: Drop the articles of this language (`en`, `de`, `fr`, `es`, `it`, `pt`, `nl`).
        strip: Characters to strip from both ends of both texts.
    """

    version: ClassVar[str] = "2"
    ignore_case: bool = True
    ignore_punctuation: bool = False
    ignore_space: bool = False
    ignore_accents: bool = False
    ignore_articles: Literal["en", "de", "fr", "es", "it", "pt", "nl"] | None = None
    strip: str = " \t\r\n`'\".*"

    @property
    def needs_reference(self) -> bool:
        """Whether the check can say nothing without a reference."""
        return True

    def __call__(self, subject: Subject, /) -> Outcome:
        """Label one answer."""
        wanted = [self._normal(text) for text in _accepted(subject)]
        got = self._normal(unfenced(subject.text))
        return judged(got in wanted, f"got {got!r}, wanted {' or '.join(map(repr, wanted))}")

    def _normal(self, text: str) -> str:
        text = unicodedata.normalize("NFKC", text).translate(ALIKE)
        text = "".join(c for c in text if unicodedata.category(c) != "Cf").strip(self.strip)
        if self.ignore_case:
            text = unicodedata.normalize("NFKC", text.casefold())
        if self.ignore_accents:
            text = _without(text, "M")
        if self.ignore_articles:
            text = self._without_articles(text)
        if self.ignore_punctuation:
            text = _without(text, "P")
        return re.sub(r"\s+", "" if self.ignore_space else " ", text).strip()

    def _without_articles(self, text: str) -> str:
        articles = ARTICLES[self.ignore_articles or "en"].split()
        forms = "|".join(re.escape(a) if a.endswith("'") else rf"{a}\b" for a in articles)
        return re.sub(rf"(?<!\w)(?:{forms})", " ", text, flags=re.IGNORECASE)


def _without(text: str, category: str) -> str:
    """The text without the characters of a Unicode category; accents are characters when taken apart."""
    apart = unicodedata.normalize("NFD", text) if category == "M" else text
    kept = "".join(c for c in apart if not unicodedata.category(c).startswith(category))
    return unicodedata.normalize("NFC", kept) if category == "M" else kept


def _accepted(subject: Subject) -> list[str]:
    if isinstance(subject.reference, list) and subject.reference:
        return [reference_text(replace(subject, reference=one)) for one in subject.reference]
    return [reference_text(subject)]


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
