"""Personal data in text: found by rules, and replaced by placeholders that say what was there.

Found are e-mail addresses, telephone numbers in an international or a usual national form, card numbers
(Luhn's checksum, ISO/IEC 7812-1), account numbers (IBAN, checksum of ISO 13616) and keys of well-known
services. Names and street addresses are not: no rule finds those.

Invariant: within one example the same value has the same placeholder, in the prompt and in the answer, and
what was redacted shows nothing more to redact. Pure.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from distill.dataset.example import Chat

EMAIL, PHONE, CARD, ACCOUNT, KEY = "EMAIL", "PHONE", "CARD", "ACCOUNT", "KEY"
KINDS = (KEY, EMAIL, ACCOUNT, CARD, PHONE)  # what is found first hides the rest

_KEYS = (
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]+?-----END [A-Z ]*PRIVATE KEY-----",
    r"(?<![\w-])(?:sk|rk|pk)[-_](?:[A-Za-z]+[-_])*[A-Za-z0-9]{16,}(?:[-_][A-Za-z0-9]+)*",
    r"(?<!\w)(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{40,}|glpat-[\w-]{20,}|hf_[A-Za-z0-9]{30,})",
    r"(?<!\w)(?:AKIA|ASIA)[A-Z0-9]{16}(?!\w)",
    r"(?<!\w)AIza[\w-]{35}",
    r"(?<!\w)xox[abeoprs]-[\w-]{10,}",
    r"(?<!\w)eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}",
)
_RULES = {
    KEY: "|".join(_KEYS),
    EMAIL: r"(?<![\w.+-])[\w.+-]{1,64}@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+[^\W\d_]{2,24}",
    ACCOUNT: r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?: ?[A-Za-z0-9]){11,30}(?![A-Za-z0-9])",
    CARD: r"(?<![\d.,])[2-6]\d{3}(?:[ -]?\d{2,6}){2,4}(?![\d]|[.,]\d)",
    PHONE: r"(?<![\w+.])\+[1-9](?:[ ./-]?\(?\d\)?){7,14}(?!\w)"
    r"|(?<![\w+.-])(?:\(\d{2,5}\) ?\d{2,4}[ -]?\d{3,8}|\d{3}([.-])\d{3}\1\d{4}"
    r"|0[1-9]\d{0,3}[ /-]\d{2,4}(?:[ -]?\d{2,4}){1,3})(?![\w-])",
}
_rules = {kind: re.compile(_RULES[kind]) for kind in KINDS}
_PLACEHOLDER = re.compile(rf"\[(?:{'|'.join(KINDS)})_(\d+)\]")
_IBAN_LENGTHS = range(15, 35)
_CARD_LENGTHS = range(13, 20)
LEAST_PHONE_DIGITS = 8


class Found(NamedTuple):
    """A piece of personal data in a text."""

    start: int
    end: int
    kind: str
    value: str


def find(text: str) -> list[Found]:
    """The personal data in a text, in its order; no two pieces overlap."""
    if not _worth_a_look(text):
        return []
    found: list[Found] = []
    for kind in KINDS:
        for piece in _found(kind, text):
            if all(piece.end <= other.start or other.end <= piece.start for other in found):
                found.append(piece)
    return sorted(found)


class Redactor:
    """Replaces personal data in the texts of one example.

    Attributes:
        seen: Distinct values that were replaced, by their kind.
    """

    def __init__(self, texts: Sequence[str] = ()) -> None:
        self.seen: Counter[str] = Counter()
        self._names: dict[tuple[str, str], str] = {}
        taken = (int(number) for text in texts for number in _PLACEHOLDER.findall(text))
        self._after = max(taken, default=0)  # placeholders that were there before mean something else

    def text(self, text: str) -> str:
        """The text with placeholders for what was found."""
        pieces, at = [], 0
        for found in find(text):
            pieces += [text[at : found.start], self._name(found)]
            at = found.end
        return "".join([*pieces, text[at:]]) if pieces else text

    def json(self, value: Any) -> Any:
        """The same for every text in a JSON value; a number that is personal becomes a text."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self.json(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.json(inner) for inner in value]
        if isinstance(value, int) and not isinstance(value, bool):
            redacted = self.text(str(value))
            return value if redacted == str(value) else redacted
        return value

    def _name(self, found: Found) -> str:
        key = (found.kind, _canonical(found))
        if key not in self._names:
            self.seen[found.kind] += 1
            self._names[key] = f"[{found.kind}_{self.seen[found.kind] + self._after}]"
        return self._names[key]


class Redacted(NamedTuple):
    """Messages without personal data, and how many distinct values of each kind there were."""

    messages: list[Chat]
    seen: Mapping[str, int]


def redact(messages: Sequence[Chat]) -> Redacted:
    """Replace the personal data of a conversation; the same value by the same placeholder throughout."""
    redactor = Redactor([message["content"] for message in messages])
    return Redacted([_redacted(message, redactor) for message in messages], dict(redactor.seen))


def _redacted(message: Chat, redactor: Redactor) -> Chat:
    changed = {**message, "content": redactor.text(message["content"])}
    if calls := message.get("tool_calls"):
        changed["tool_calls"] = [_redacted_call(call, redactor) for call in calls]
    return changed


def _redacted_call(call: Chat, redactor: Redactor) -> Chat:
    function = call.get("function") or {}
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        return call
    try:
        before = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, UnicodeError):
        return {**call, "function": {**function, "arguments": redactor.text(arguments)}}
    after = redactor.json(before)
    if after == before:
        return call  # and keeps its own spacing
    return {**call, "function": {**function, "arguments": msgspec.json.encode(after).decode()}}


def _worth_a_look(text: str) -> bool:
    """Whether a text has what all rules need: an at sign, or a digit; keys have either."""
    return "@" in text or "-----BEGIN" in text or _digit.search(text) is not None


_digit = re.compile(r"\d|(?:sk|rk|pk)[-_]|eyJ|AIza|xox|gh[pousr]_|hf_|AKIA|ASIA|glpat")


def _found(kind: str, text: str) -> Iterator[Found]:
    if kind == EMAIL and "@" not in text:
        return
    for match in _rules[kind].finditer(text):
        value = match.group()
        end = match.end()
        if kind == ACCOUNT:
            value = _longest_iban(value)
            end = match.start() + len(value)
        if value and _CHECKS[kind](value):
            yield Found(match.start(), end, kind, value)


def luhn(digits: str) -> bool:
    """Whether digits have Luhn's checksum."""
    doubled = (int(d) * (1 + place % 2) for place, d in enumerate(reversed(digits)))
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def iban(account: str) -> bool:
    """Whether letters and digits are an IBAN by length and checksum."""
    if len(account) not in _IBAN_LENGTHS or not account.isascii():
        return False
    turned = account[4:] + account[:4]
    return int("".join(str(int(c, 36)) for c in turned)) % 97 == 1


def _longest_iban(value: str) -> str:
    """The longest beginning that is an IBAN: the words after one look like more of it. Empty if none is."""
    return next((value[:end] for end in range(len(value), 14, -1) if _is_iban(value[:end])), "")


def _is_iban(value: str) -> bool:
    return not value.endswith(" ") and iban(value.replace(" ", ""))


def _is_card(value: str) -> bool:
    digits = _digits(value)
    return len(digits) in _CARD_LENGTHS and len(set(digits)) > 1 and luhn(digits)


def _is_phone(value: str) -> bool:
    digits = _digits(value)
    return len(digits) >= LEAST_PHONE_DIGITS and len(set(digits)) > 1


def _digits(value: str) -> str:
    return "".join(character for character in value if character in "0123456789")


_CHECKS: dict[str, Callable[[str], bool]] = {
    KEY: bool,
    EMAIL: bool,
    ACCOUNT: _is_iban,
    CARD: _is_card,
    PHONE: _is_phone,
}


def _canonical(found: Found) -> str:
    if found.kind in (CARD, PHONE):
        return _digits(found.value)
    if found.kind in (EMAIL, ACCOUNT):
        return found.value.casefold().replace(" ", "")
    return found.value
