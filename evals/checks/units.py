"""Units of measure beside numbers, as people write them.

Invariant: a number is converted only between units of the same dimension. Each currency is a dimension of its
own, since a rate is no constant. The names known are pint's, and the currencies below; the registry takes
half a second to read, so it is read when the first unit is met, and once.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from stepdown.errors import CheckError

if TYPE_CHECKING:
    import pint

SYMBOLS = {"$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "₹": "INR"}
CURRENCIES = {
    "USD": ("dollar", "dollars", "bucks", "usd"),
    "EUR": ("euro", "euros", "eur"),
    "GBP": ("gbp", "quid"),
    "JPY": ("yen", "jpy"),
    "INR": ("rupee", "rupees", "inr"),
    "CNY": ("yuan", "rmb", "cny"),
    "CHF": ("chf", "francs"),
}
PARTS = ("cent = 0.01 * USD = _ = cents", "KB = 1000 * byte = _ = kB")
ALIASES = {"fl oz": "fluid_ounce", "fluid ounces": "fluid_ounce", "fluid ounce": "fluid_ounce"}
POUNDS = {"pound", "pounds"}
# Words of a sentence that are also units: they count only where nothing follows them.
COMMON = frozenset("in a at as are an per so to of is and or min mil bar are rad rod link point".split())
MARKUP = re.compile(r"\\(?:text|mathrm|mathbf|rm|[,;! ])|[*_{}$~\\`]")
UNIT = re.compile(r"[^\W\d_°%](?:[\w°µμΩ·*/^²³⁻¹ -]*[\w°²³¹])?|%|°[CFK]?")
POWER = re.compile(r"(?<=[A-Za-z)}])(?:\^|\*\*)\{?(-?)([1-3])\}?(?!\d)")
RAISED = str.maketrans("-123", "⁻¹²³")
UNSAFE = re.compile(r"\d\d|\*\*|\^[^-\d]|\^-?\d[\d^]")
WORDS = 4


class Measured(NamedTuple):
    """The unit beside a number.

    Attributes:
        unit: None where none is known there.
        followed_by: The word after the number, for evidence.
    """

    unit: pint.Unit | None
    followed_by: str


def raised(text: str) -> str:
    """The text with powers of units written with raised digits, so that they are no numbers of their own."""
    return POWER.sub(lambda match: (match[1] + match[2]).translate(RAISED), text)


@cache
def registry() -> Any:
    """The one registry: units of two registries do not meet."""
    import pint

    units: Any = pint.UnitRegistry(cache_folder=None)
    for code, names in CURRENCIES.items():
        units.define(f"{code} = [currency_{code}] = _ = {' = '.join(names)}")
    for part in PARTS:
        units.define(part)
    return units


def named_unit(name: str) -> pint.Unit:
    """The unit of that name.

    Raises:
        CheckError: No such unit is known.
    """
    unit = _parsed(SYMBOLS.get(name.strip(), name.strip()))
    if unit is None:
        raise CheckError(f"unit {name!r} is not known; write it as `km`, `mile/hour`, `kg*m/s^2`, `USD`, `%`")
    return unit


def unit_beside(symbol: str, after: str, wanted: pint.Unit | None = None) -> Measured:
    """The unit of a number in a text.

    Args:
        symbol: The money sign before the number, or empty.
        after: The text after the number.
        wanted: A unit of this dimension is preferred to a longer name of another one.
    """
    tail = MARKUP.sub(" ", after[:80])
    segment = re.split(r"[\n,;:!?()=\"']|\.(?!\w)", tail, maxsplit=1)[0]
    words = segment.strip().removeprefix("-").split()
    followed_by = words[0] if words else ""
    if symbol in SYMBOLS:
        return Measured(_parsed(SYMBOLS[symbol]), followed_by)
    if wanted is not None and followed_by.casefold() in POUNDS and "GBP" in str(wanted):
        return Measured(_parsed("GBP"), followed_by)
    named = (_named(words, count) for count in range(min(WORDS, len(words)), 0, -1))
    found = [unit for unit in named if unit is not None]
    fitting = [u for u in found if wanted is None or u.dimensionality == wanted.dimensionality]
    return Measured(next(iter(fitting or found), None), followed_by)


def converted(value: float, unit: pint.Unit, wanted: pint.Unit) -> float | None:
    """The value in the unit wanted; None where it is of another dimension."""
    if unit.dimensionality != wanted.dimensionality:
        return None
    return float(registry().Quantity(value, unit).to(wanted).magnitude)


def _named(words: list[str], count: int) -> pint.Unit | None:
    name = " ".join(words[:count])
    if name.casefold() in COMMON and count < len(words):
        return None
    return _parsed(name)


@cache
def _parsed(name: str) -> pint.Unit | None:
    if len(name) > 40 or not UNIT.fullmatch(name) or UNSAFE.search(name):
        return None
    name = ALIASES.get(name.casefold(), name)
    for spelling in dict.fromkeys((name, name.casefold())):
        try:
            unit: pint.Unit = registry().parse_units(spelling)
        except Exception:  # of many kinds, as the text is anybody's: it is no unit
            continue
        return unit
    return None
