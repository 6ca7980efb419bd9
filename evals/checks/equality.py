"""Equality of JSON values, with tolerances by path.

Invariant: a boolean equals only itself, and numbers are equal by value (`1` and `1.0`). A path names where a
value lies: `total`, `items[0].price`; in a pattern `items[].price` is that of all items, and a name with a
dot in it is quoted, `["unit.price"]`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

Path = tuple[str | int | None, ...]  # None is any place of a list
STEP = re.compile(r'(?:^|\.)([^.\[\]"]+)|\[(\d*)\]|(?:^|\.)?\["((?:[^"\\]|\\.)*)"\]')
SHARE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*%\s*")
ROUNDING = 1e-9


class Tolerance(NamedTuple):
    """Largest difference that still counts as equal: as such, and as a share of what is wanted."""

    absolute: float = ROUNDING
    relative: float = 0.0

    def allows(self, got: float, wanted: float) -> bool:
        """Whether two numbers are near enough."""
        try:
            return abs(got - wanted) <= max(self.absolute, self.relative * abs(wanted))
        except OverflowError:  # an integer beyond all floats
            return False


def parse_path(pattern: str) -> Path:
    """The steps of a path or of a pattern of paths.

    Raises:
        ValueError: It is none.
    """
    steps: list[str | int | None] = []
    at = 0
    while match := STEP.match(pattern, at):
        name, place, quoted = match.groups()
        if name is None and quoted is None:
            steps.append(int(place) if place else None)
        else:
            steps.append(quoted if name is None else name)
        at = match.end()
    if at < len(pattern) or not steps:
        raise ValueError(f"path {pattern!r} must be like `total`, `items[].price` or `a.b[0]`")
    return tuple(steps)


def parse_tolerance(value: float | str) -> Tolerance:
    """A tolerance: a number is a difference, and text like `1%` a share.

    Raises:
        ValueError: It is negative, or is neither.
    """
    if isinstance(value, str):
        if not (match := SHARE.fullmatch(value)):
            raise ValueError(f"tolerance {value!r} must be a number, or a share such as '1%'")
        return Tolerance(relative=float(match[1]) / 100)
    if not value >= 0 or math.isinf(value):
        raise ValueError(f"tolerance {value!r} must not be negative or infinite")
    return Tolerance(absolute=value)


def fits(path: Path, pattern: Path) -> bool:
    """Whether a path is one that the pattern names."""
    return len(path) == len(pattern) and all(
        wanted == step or (wanted is None and isinstance(step, int))
        for step, wanted in zip(path, pattern, strict=True)
    )


def values_at(value: Any, pattern: Path) -> Iterator[tuple[Path, Any]]:
    """The values that a pattern names, each with its path; what is not there is left out."""
    if not pattern:
        yield (), value
        return
    step, rest = pattern[0], pattern[1:]
    places: list[tuple[str | int, Any]] = []
    if isinstance(value, dict) and isinstance(step, str):
        places = [(step, value[step])] if step in value else []
    elif isinstance(value, list) and not isinstance(step, str):
        places = [(i, v) for i, v in enumerate(value) if step is None or step == i]
    for place, inner in places:
        yield from (((place, *path), found) for path, found in values_at(inner, rest))


@dataclass(frozen=True, slots=True)
class Equality:
    """How values are compared.

    Attributes:
        ignore_case: Whether texts are compared without regard to case and to space around them.
        tolerance: Of numbers that no pattern of `tolerances` names.
        unordered: Patterns of the lists whose order does not count; True for all lists.
    """

    ignore_case: bool
    tolerance: Tolerance
    tolerances: Mapping[Path, Tolerance]
    unordered: bool | tuple[Path, ...] = False

    @classmethod
    def of(
        cls,
        ignore_case: bool,
        tolerance: float,
        tolerances: Mapping[str, float | str],
        unordered: bool | tuple[str, ...],
    ) -> Self:
        """The comparison that the settings of a check ask for.

        Args:
            ignore_case: As here.
            tolerance: Largest relative difference of numbers that no path names.
            tolerances: By path; a number is an absolute difference, `"1%"` a relative.
            unordered: Paths of the lists; True for all lists.

        Raises:
            ValueError: A tolerance is negative, or a path or a tolerance cannot be read.
        """
        if tolerance < 0:
            raise ValueError(f"tolerance {tolerance!r} must not be negative")
        return cls(
            ignore_case,
            Tolerance(relative=tolerance),
            {parse_path(path): parse_tolerance(value) for path, value in tolerances.items()},
            unordered if isinstance(unordered, bool) else tuple(map(parse_path, unordered)),
        )

    def equal(self, got: Any, wanted: Any, at: Path = ()) -> bool:
        """Whether two values are equal, of which the one wanted lies at this path."""
        if isinstance(wanted, bool) or isinstance(got, bool):
            return got is wanted
        if isinstance(wanted, int | float) and isinstance(got, int | float):
            return got == wanted or self._tolerance(at).allows(got, wanted)
        if isinstance(wanted, str) and isinstance(got, str) and self.ignore_case:
            return got.strip().casefold() == wanted.strip().casefold()
        if isinstance(wanted, list) and isinstance(got, list):
            return len(got) == len(wanted) and self._equal_lists(got, wanted, at)
        if isinstance(wanted, dict) and isinstance(got, dict):
            same = (self.equal(got[k], wanted[k], (*at, k)) for k in wanted)
            return got.keys() == wanted.keys() and all(same)
        return bool(got == wanted)

    def _equal_lists(self, got: list[Any], wanted: list[Any], at: Path) -> bool:
        patterns = self.unordered
        free = patterns if isinstance(patterns, bool) else any(fits(at, pattern) for pattern in patterns)
        if not free:
            return all(self.equal(g, w, (*at, i)) for i, (g, w) in enumerate(zip(got, wanted, strict=True)))
        return matched(
            [[j for j, w in enumerate(wanted) if self.equal(g, w, (*at, j))] for g in got], len(wanted)
        )

    def _tolerance(self, at: Path) -> Tolerance:
        found = (tolerance for pattern, tolerance in self.tolerances.items() if fits(at, pattern))
        return next(found, self.tolerance)


def matched(choices: list[list[int]], places: int) -> bool:
    """Whether each may have a place of its own among those it fits; Kuhn's algorithm.

    With a tolerance the first place that fits may be one that another needs, so taking it is not enough.
    """
    taken: list[int | None] = [None] * places

    def settle(who: int, tried: set[int]) -> bool:
        for place in choices[who]:
            if place in tried:
                continue
            tried.add(place)
            before = taken[place]
            if before is None or settle(before, tried):
                taken[place] = who
                return True
        return False

    return all(settle(who, set()) for who in range(len(choices)))
